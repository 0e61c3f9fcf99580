#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares carat with llama.cpp on the same weights, in alternating runs.

    bench/compare_llama.py [--carat build/carat] [--variant e2b] [--type q4_0] [--pairs 5]
                           [--prompt 512] [--gen 48] [--depth 0] [--threads N] [--json FILE]
    bench/compare_llama.py --model FILE.gguf ...

Without --model, a model with random weights in the real shapes is written into the cache
(tools/make_synthetic_gguf.py; E2B: 2.6 GB). llama.cpp 0.5.0 comes prebuilt in the npm package
node-llama-cpp 3.22.1, installed into the cache with its scripts off; npm must be there.
Each pair runs both programs once, one after the other, each in a process of its own; the order
alternates. Ratios are carat / llama.cpp pair by pair. Quote figures from a quiet machine only: the
load average at the start is printed.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "node-llama-cpp@3.22.1"


def cache_dir():
    return Path(subprocess.run([str(ROOT / "tools/cache_dir.sh")], check=True, capture_output=True, text=True).stdout.strip())


def fail(message, status=1):
    print(f"compare_llama: {message}", file=sys.stderr)
    sys.exit(status)


def bring_llama(cache):
    """The folder with llama.cpp's libraries."""
    home = cache / "peer"
    libraries = home / "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"
    if not libraries.is_dir():
        if not shutil.which("npm"):
            fail("npm is needed to bring llama.cpp; install npm", 5)
        home.mkdir(parents=True, exist_ok=True)
        print(f"bringing {PACKAGE} ...", file=sys.stderr)
        (home / "package.json").write_text('{"name": "peer", "private": true}\n')
        run = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE],
                             cwd=home, capture_output=True, text=True)
        if run.returncode or not libraries.is_dir():
            fail(f"{PACKAGE} cannot be had: {run.stderr.strip()[-300:]}", 5)
    return libraries


def build_bench(cache):
    source, program = ROOT / "bench/peer/llama_bench.cc", cache / "peer/llama_bench"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["g++", "-std=c++20", "-O2", str(source), "-o", str(program), "-ldl"], check=True)
    return program


def synthetic(cache, variant, kind):
    path = cache / f"peer/{variant}-{kind}.gguf"
    if not path.exists():
        print(f"writing {path.name} ...", file=sys.stderr)
        part = path.with_suffix(".part")
        subprocess.run(["/usr/bin/python3", str(ROOT / "tools/make_synthetic_gguf.py"), "--variant", variant,
                        "--type", kind, "--out", str(part)], check=True)
        part.rename(path)
    return path


def run_json(command):
    run = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if run.returncode:
        fail(f"{command[0]} failed with {run.returncode}: {run.stderr.strip()[-500:]}")
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carat", default=str(ROOT / "build/carat"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--variant", default="e2b")
    parser.add_argument("--type", default="q4_0")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=48)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="of both; default: what carat chooses")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    args = parser.parse_args()

    cache = cache_dir()
    libraries = bring_llama(cache)
    bench = build_bench(cache)
    model = args.model or synthetic(cache, args.variant, args.type)
    print(f"load average {os.getloadavg()[0]:.2f}", file=sys.stderr)

    runs = {"carat": [], "llama.cpp": []}
    threads = args.threads

    def carat():
        command = [args.carat, "bench", model, "--prompt", args.prompt, "--gen", args.gen, "--depth", args.depth,
                   "--reps", 1, "--json"]
        runs["carat"].append(run_json(command + (["--threads", threads] if threads else [])))

    def llama():
        runs["llama.cpp"].append(run_json([bench, libraries, model, threads, args.prompt, args.gen, args.depth]))

    for pair in range(args.pairs):
        if not threads:
            carat()
            threads = runs["carat"].pop()["threads"]
        for one in (carat, llama) if pair % 2 == 0 else (llama, carat):
            one()
        print(f"pair {pair + 1} of {args.pairs}", file=sys.stderr)

    result = {"model": model.name, "threads": threads, "pairs": args.pairs, "prompt": args.prompt, "gen": args.gen,
              "depth": args.depth, "isa": runs["carat"][0]["isa"]}
    for key in ("prefill_tok_s", "decode_tok_s", "load_s", "peak_rss_bytes"):
        a, b = ([r[key] for r in runs[name]] for name in ("carat", "llama.cpp"))
        ratios = [x / y for x, y in zip(a, b)]
        result[key] = {"carat": statistics.median(a), "llama.cpp": statistics.median(b),
                       "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
        print(f"{key:16} carat {statistics.median(a):14.2f}  llama.cpp {statistics.median(b):14.2f}  "
              f"ratio {result[key]['ratio']:.3f} [{min(ratios):.3f} .. {max(ratios):.3f}]")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

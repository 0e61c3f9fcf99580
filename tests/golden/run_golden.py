#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the program with reference outputs.

    run_golden.py [--carat build/carat] [--modes exact,fast] [--only PART] [--jobs 2] DIR

DIR is laid out like tests/golden: any subset of text/, gguf/, real/ and media/; what is absent is
named as skipped. One line a check; the last line is "N passed, N failed". Exit status 0 if none
failed, 1 if any did or none ran, 2 for wrong usage.
"""
import argparse
import concurrent.futures
import contextlib
import os
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from runner import gguf, media, real, text  # noqa: E402
from runner.program import FAILED, PASSED, SKIPPED, Outcome, Program  # noqa: E402


def skipped(name, why):
    return lambda: [Outcome(name, SKIPPED, why)]


def gguf_cases(root, program, args, stack):
    if (root / "tiny" / "index.json").exists():
        yield from gguf.tiny_cases(root / "tiny", program, args.modes)
    else:
        yield skipped("gguf/tiny", "absent")
    weird = stack.enter_context(gguf.folder_or_archive(root, "weird"))
    bad = stack.enter_context(gguf.folder_or_archive(root, "bad"))
    if bad is None:
        yield skipped("gguf/bad", "absent")
    elif weird is None:
        yield skipped("gguf/bad", "needs weird/base.gguf, which is absent")
    else:
        yield from gguf.bad_cases(bad, weird, program, args.jobs)
    if weird is None:
        yield skipped("gguf/weird", "absent")
    else:
        yield from gguf.weird_cases(weird, program, args.jobs)
    tensor_test = Path(program.path).parent / "src" / "tensor_test"
    if not (root / "dequant" / "index.json").exists():
        yield skipped("gguf/dequant", "absent")
    elif not tensor_test.exists():
        yield skipped("gguf/dequant", f"no {tensor_test}")
    else:
        yield lambda: [gguf.check_dequant(root / "dequant", tensor_test)]
    yield skipped("gguf/quantise", "the program has no quantiser" if (root / "quantise").is_dir()
                  else "absent")


def real_cases(root, program, args):
    if real.model_path() is None:
        yield skipped("real", f"the model {real.MODEL} is not in the cache; "
                              "tools/fetch_model.py brings it")
    else:
        yield from real.cases(root, program, args.modes)


def media_cases(root, program, args):
    yield from media.cases(root, program, args.modes)
    for name in ("inputs", "preprocess", "towers"):
        if (root / name).is_dir():
            yield skipped(f"media/{name}", "the program has no media encoders")


def all_cases(args, program, stack):
    makers = {
        "text": lambda root: text.cases(root, program, args.modes),
        "gguf": lambda root: gguf_cases(root, program, args, stack),
        "real": lambda root: real_cases(root, program, args),
        "media": lambda root: media_cases(root, program, args),
    }
    for part, maker in makers.items():
        if args.only and part not in args.only:
            continue
        if (args.golden / part).is_dir():
            yield from maker(args.golden / part)
        else:
            yield skipped(part, "absent")


def report(outcome, verbose):
    # Hundreds of hostile and odd files: only what went wrong is worth a line.
    quiet = outcome.name.startswith(("gguf/bad/", "gguf/weird/", "real/tokens"))
    if outcome.status != PASSED or verbose or not quiet:
        print(f"{outcome.status:7} {outcome.name}: {outcome.text}", flush=True)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden", type=Path, metavar="DIR")
    parser.add_argument("--carat", type=Path, default=Path("build/carat"))
    parser.add_argument("--modes", type=lambda text: text.split(","), default=["exact", "fast"])
    parser.add_argument("--only", action="append", choices=["text", "gguf", "real", "media"])
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time")
    parser.add_argument("--verbose", action="store_true", help="a line for every file")
    args = parser.parse_args(argv)
    if not args.golden.is_dir():
        parser.error(f"{args.golden}: no such folder")
    if not args.carat.is_file():
        parser.error(f"{args.carat}: no such program; `make build` makes it")
    if set(args.modes) - {"exact", "fast"} or args.jobs < 1:
        parser.error("--modes takes exact, fast or both; --jobs at least 1")
    return args


def main(argv=None):
    args = parse(argv)
    program = Program(args.carat.resolve(), threads=max(1, (os.cpu_count() or 1) // args.jobs))
    counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
    start = time.monotonic()
    with contextlib.ExitStack() as stack, \
            concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for outcomes in pool.map(lambda case: case(), all_cases(args, program, stack)):
            for outcome in outcomes:
                counts[outcome.status] += 1
                report(outcome, args.verbose)
    print(f"golden: {time.monotonic() - start:.0f} s, {counts[SKIPPED]} parts skipped")
    print(f"{counts[PASSED]} passed, {counts[FAILED]} failed")
    return 1 if counts[FAILED] or not counts[PASSED] else 0


if __name__ == "__main__":
    sys.exit(main())

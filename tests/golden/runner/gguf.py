# SPDX-License-Identifier: Apache-2.0
"""gguf/: tiny quantised models, hostile and odd files, values of every tensor type."""
import contextlib
import json
import os
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from runner.program import FAILED, Outcome, ProgramError, judged, measure
from runner.tensors import relative_error

TINY_TOLERANCE = 1e-4   # exact mode, largest difference over largest magnitude
LEAST_GAP = 0.01        # models with experts count up to the first position with a smaller gap
FAST_FACTOR = 1.1       # fast mode may be this much farther off than llama.cpp
MAX_SECONDS, MAX_BYTES = 1.0, 64 << 20
BAD_FILE = 3            # the program's exit status


def logits_of(program, model, ids, mode):
    source = {"prompt0.ids": np.asarray(ids, np.int32)}
    got = program.trace(model, source, "prompt0", mode)
    if "prompt0.logits" not in got:
        raise ProgramError("trace writes no prompt0.logits")
    return got["prompt0.logits"]


def load_expected(path, positions, vocabulary):
    """One array [positions, vocabulary] for each prompt."""
    values = np.fromfile(path, "<f4").reshape(sum(positions), vocabulary)
    return np.split(values, np.cumsum(positions)[:-1])


def check_tiny(root, program, entry, mode):
    name = f"gguf/tiny/{entry['name']} {mode}"
    prompts = json.loads((root / "prompts.json").read_text())[entry["arch"]]
    want = load_expected(root / entry["expected"], entry["positions"], entry["vocabulary"])
    try:
        got = [logits_of(program, root / entry["files"][0], prompt["ids"], mode) for prompt in prompts]
    except ProgramError as error:
        return judged(name, [str(error)])
    if [g.shape for g in got] != [w.shape for w in want]:
        return judged(name, [f"shapes {[g.shape for g in got]}, expected {[w.shape for w in want]}"])
    if mode == "exact":
        cuts = [len(w) for w in want]
        if "route" in entry:
            gaps = json.loads((root / entry["route"]).read_text())
            cuts = [int(np.argmax(np.append(np.asarray(gap) < LEAST_GAP, True))) for gap in gaps]
        errors = [relative_error(g[:cut], w[:cut]) if cut else 0.0
                  for g, w, cut in zip(got, want, cuts)]
        text = ", ".join(f"{error:.1e} of {cut} rows" for error, cut in zip(errors, cuts))
        return judged(name, [f"at most {TINY_TOLERANCE:.0e}"] if max(errors) > TINY_TOLERANCE else [],
                      text)
    difference = np.concatenate([np.abs(np.float64(g) - w) for g, w in zip(got, want)])
    figures = {"rms_difference": float(np.sqrt((difference ** 2).mean())),
               "median_of_position_max": float(np.median(difference.max(-1)))}
    problems = [f"{key} {value:.4g}, at most {FAST_FACTOR} x {entry['llama_cpp'][key]}"
                for key, value in figures.items()
                if not value <= FAST_FACTOR * entry["llama_cpp"][key]]
    text = ", ".join(f"{key} {value / entry['llama_cpp'][key]:.2f} of llama.cpp's"
                     for key, value in figures.items())
    return judged(name, problems, text)


def tiny_cases(root, program, modes):
    for entry in json.loads((root / "index.json").read_text()):
        for mode in modes:
            yield lambda e=entry, m=mode: [check_tiny(root, program, e, m)]


@contextlib.contextmanager
def folder_or_archive(root, name):
    """The folder root/name, or a temporary one with what root/name.tar.xz holds, or None."""
    if (root / name).is_dir():
        yield root / name
    elif (root / f"{name}.tar.xz").is_file():
        with tempfile.TemporaryDirectory(prefix="golden-") as folder:
            with tarfile.open(root / f"{name}.tar.xz") as archive:
                archive.extractall(folder)
            # The archive may hold the files or one folder with them.
            yield next((path.parent for path in sorted(Path(folder).rglob("index.json"))), None)
    else:
        yield None


def file_to_open(folder, entry):
    path = folder / entry["file"]
    return path / entry["open"] if "open" in entry else path


def inspect_command(program, folder, weird, entry, level):
    command = [program.path, "inspect", "--as", level]
    if level == "adapter":
        command += ["--base", weird / "base.gguf"]
    return command + [file_to_open(folder, entry)]


def resource_problems(run):
    if run["seconds"] > MAX_SECONDS:
        yield f"takes {run['seconds']:.2f} s, at most {MAX_SECONDS:g}"
    if run["max_rss_bytes"] > MAX_BYTES:
        yield f"takes {run['max_rss_bytes'] / 2**20:.0f} MiB, at most {MAX_BYTES >> 20}"


def judge_bad(folder, entry, run):
    lines = run["stderr"].splitlines()
    problems = list(resource_problems(run))
    if run["status"] != BAD_FILE:
        problems.append(f"exit status {run['status']}, expected {BAD_FILE}")
    if len(lines) != 1:
        problems.append(f"{len(lines)} lines on standard error, expected 1")
    # A set of files may be refused for any of them.
    names = {path.name for path in (folder / entry["file"]).glob("*")} | {Path(entry["file"]).name}
    if lines and not any(name in lines[0] for name in names):
        problems.append("message without the file's name")
    said = f"; it says: {lines[0][:200]}" if problems and lines else ""
    return judged(f"gguf/bad/{entry['file']}", [p + said for p in problems[:1]] + problems[1:],
                  entry["wrong"] if problems else "")


def check_bad(folder, weird, program, entries):
    runs = measure([inspect_command(program, folder, weird, entry, entry["level"])
                    for entry in entries])
    return [judge_bad(folder, entry, run) for entry, run in zip(entries, runs)]


def weird_level(entry):
    return "split" if "open" in entry else entry["kind"]


def check_weird(folder, program, entries):
    runs = measure([inspect_command(program, folder, folder, entry, weird_level(entry))
                    for entry in entries])
    outcomes = []
    base = json.loads((folder / "base.json").read_text())
    want = np.fromfile(folder / base["expected"], "<f4").reshape(len(base["ids"]), base["vocabulary"])
    for entry, run in zip(entries, runs):
        problems = list(resource_problems(run))
        if run["status"]:
            problems.append(f"refused, exit status {run['status']}: {run['stderr'].strip()[-200:]}")
        text = ""
        if entry["kind"] == "model" and not problems:
            try:
                got = logits_of(program, file_to_open(folder, entry), base["ids"], "exact")
                if not entry["same_logits_as_base"]:
                    problems += [] if np.isfinite(got).all() else ["logits are not finite"]
                elif got.shape != want.shape:
                    problems.append(f"logits have shape {got.shape}, expected {want.shape}")
                else:
                    error = relative_error(got, want)
                    text = f"{error:.1e}"
                    problems += [f"at most {TINY_TOLERANCE:.0e}"] if error > TINY_TOLERANCE else []
            except ProgramError as error:
                problems.append(str(error))
        outcomes.append(judged(f"gguf/weird/{entry['file']}", problems, text or entry["unusual"]))
    return outcomes


def chunks(entries, count):
    return [entries[i::count] for i in range(count)]


def bad_cases(root, weird, program, jobs):
    entries = json.loads((root / "index.json").read_text())
    for part in chunks(entries, jobs):
        yield lambda p=part: check_bad(root, weird, program, p)


def weird_cases(root, program, jobs):
    entries = json.loads((root / "index.json").read_text())
    for part in chunks(entries, jobs):
        yield lambda p=part: check_weird(root, program, p)


def check_dequant(root, binary):
    """The unit test of the dequantisers, on this folder's data."""
    name = "gguf/dequant (tensor_test)"
    golden = root.parents[1]
    run = subprocess.run([binary, "--gtest_filter=DequantGolden.*"], capture_output=True, text=True,
                         env={**os.environ, "CARAT_GOLDEN": str(golden)})
    ran = re.search(r"\[==========\] (\d+) tests? from", run.stdout)
    if not ran or ran[1] == "0":
        return Outcome(name, FAILED, f"{binary} has no test for it")
    problems = [] if run.returncode == 0 else [run.stdout[-500:]]
    return judged(name, problems, f"{ran[1]} tests")

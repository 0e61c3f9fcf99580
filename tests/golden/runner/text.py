# SPDX-License-Identifier: Apache-2.0
"""text/: tiny checkpoints in Hugging Face form against float64 values of every layer."""
import functools
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from runner.program import ProgramError, judged
from runner.tensors import read_safetensors, relative_error, same_until

TOLERANCE = 5e-5      # exact mode: logits and inner values
LEAST_MARGIN = 1e-3   # greedy tokens count up to the first smaller margin
LEAST_GAP = 1e-4      # expert choices count where the router's relative gap is larger
LIMITS = Path(__file__).resolve().parents[1] / "limits.json"


def limits_from_readme(path):
    """{checkpoint: [bfloat16 error of each prompt]} from the table of measured differences."""
    limits, column = {}, None
    for line in path.read_text().splitlines() if path.exists() else ():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "checkpoint" and "logits bfloat16" in cells:
            column = cells.index("logits bfloat16")
        elif column is not None and not line.startswith("|"):
            column = None
        elif column is not None and len(cells) > column and re.match(r"\d[\d., e-]*$", cells[column]):
            limits[cells[0]] = [float(value) for value in cells[column].split(",")]
    return limits


def fast_limit(folder, prefix):
    """The official bfloat16 run's error on this prompt of this very checkpoint, or None."""
    known = json.loads(LIMITS.read_text()).get(folder.name)
    values = None
    if known and known["sha256"] == sha256_of(folder / "expected.safetensors"):
        values = known["logits_bfloat16"]
    else:
        values = limits_from_readme(folder.parent / "README.md").get(folder.name)
    index = int(re.sub(r"\D", "", prefix) or 0)
    return values[index] if values and index < len(values) else None


@functools.lru_cache(None)
def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def has_experts(expected):
    return any(".experts." in name for name in expected)


def compare_experts(got, want, gap):
    sure = np.ones(len(want), bool) if gap is None else gap.reshape(len(want), -1).min(-1) > LEAST_GAP
    same = (np.sort(got, -1) == np.sort(want, -1)).all(-1)
    wrong = np.flatnonzero(sure & ~same)
    return [f"experts differ at position {wrong[0]} ({len(wrong)} of {len(want)})"] if len(wrong) else []


def is_compared(name):
    return name in ("logits", "ple", "greedy") or name.split(".")[0] in (
        "hidden", "experts", "expert_weights")


def compare_exact(got, expected, prefix):
    """Compares every tensor `prefix.NAME` that both are meant to have: (problems, text)."""
    problems, worst_inner, notes = [], 0.0, []
    for key in sorted(expected):
        name = key[len(prefix) + 1:]
        if not key.startswith(prefix + ".") or not is_compared(name):
            continue
        want = expected[key]
        if key not in got:
            problems.append(f"{name} is missing")
            continue
        if got[key].shape != want.shape:
            problems.append(f"{name} has shape {got[key].shape}, expected {want.shape}")
        elif name == "greedy":
            steps, wrong = same_until(got[key], want, expected[f"{prefix}.greedy_margin"], LEAST_MARGIN)
            notes.append(f"greedy {steps}")
            if wrong is not None:
                problems.append(f"greedy differs at step {wrong} of {steps}")
        elif name.startswith("experts."):
            gap = expected.get(f"{prefix}.expert_gap.{name.split('.')[1]}")
            problems += [f"{name}: {text}" for text in compare_experts(got[key], want, gap)]
        else:
            error = relative_error(got[key], want)
            if name == "logits":
                notes.append(f"logits {error:.1e}")
            else:
                worst_inner = max(worst_inner, error)
            if error > TOLERANCE:
                problems.append(f"{name} off by {error:.1e}, at most {TOLERANCE:.0e}")
    return problems, ", ".join(notes + [f"inner {worst_inner:.1e}"])


def check_exact(program, folder, expected, prefix, variant):
    name = f"text/{folder.name} {prefix} exact" + (f" {variant}" if variant else "")
    full = f"{prefix}.{variant}" if variant else prefix
    extra = ("--variant", variant) if variant else ()
    try:
        got = program.trace(folder, folder / "expected.safetensors", prefix, "exact",
                            len(expected.get(f"{full}.greedy", ())), extra)
    except ProgramError as error:
        return judged(name, [str(error)])
    return judged(name, *compare_exact(got, expected, full))


def check_fast(program, folder, expected, prefix):
    name = f"text/{folder.name} {prefix} fast"
    greedy = expected.get(f"{prefix}.greedy", ())
    try:
        got = program.trace(folder, folder / "expected.safetensors", prefix, "fast", len(greedy))
        error = relative_error(got[f"{prefix}.logits"], expected[f"{prefix}.logits"])
    except (ProgramError, KeyError, ValueError) as problem:
        return judged(name, [str(problem)])
    text = f"logits {error:.1e}"
    if len(greedy):
        same = int(np.cumprod(got[f"{prefix}.greedy"] == greedy).sum())
        text += f", greedy equal for {same} of {len(greedy)}"
    limit = None if has_experts(expected) else fast_limit(folder, prefix)
    if limit is None:
        # Experts flip with any rounding; elsewhere nothing is recorded to hold it against.
        return judged(name, [] if np.isfinite(error) else ["not finite"], text + ", no limit")
    return judged(name, [] if error <= limit else [f"at most {limit}"], text)


def cases(root, program, modes):
    """Functions to call, each giving the outcomes of one prompt in one mode."""
    for folder in sorted(path.parent for path in root.glob("*/expected.safetensors")):
        if folder.name.endswith("-assistant"):
            continue  # a drafter, no decoder of its own
        expected = read_safetensors(folder / "expected.safetensors")
        for prefix in sorted(name[:-4] for name in expected if name.endswith(".ids")):
            if "exact" in modes:
                yield lambda f=folder, e=expected, p=prefix: [check_exact(program, f, e, p, "")]
                if f"{prefix}.bf16scale.logits" in expected:
                    yield lambda f=folder, e=expected, p=prefix: [
                        check_exact(program, f, e, p, "bf16scale")]
            if "fast" in modes:
                yield lambda f=folder, e=expected, p=prefix: [check_fast(program, f, e, p)]

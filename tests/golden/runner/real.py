# SPDX-License-Identifier: Apache-2.0
"""real/: the real Gemma 3 270M: token ids, perplexities, greedy continuations."""
import json
import os
from pathlib import Path

import numpy as np

from runner.program import ProgramError, judged

MODEL = "gemma3-270m"
EXACT_PERPLEXITY = 0.0002   # relative, from the reference
FAST_PERPLEXITY = 0.003     # relative, from exact
MEAN_KL = 0.003             # fast from exact
EXACT_MARGIN = 0.01         # steps with a smaller recorded margin may differ
FAST_MARGIN = 0.5
METHODS = {"windows-512": "windows_512", "window-2048": "window_2048"}


def model_path():
    """The model file in the cache, or None."""
    cache = os.environ.get("CARAT_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "carat")
    return next(Path(cache, "models", MODEL).glob("*.gguf"), None)


def check_tokens(program, model, prompt):
    name = f"real/tokens {prompt['name']}"
    try:
        got = program.run_json("tokenize", model, "-", "--bos", "--json", stdin=prompt["text"])["ids"]
    except (ProgramError, KeyError, TypeError) as error:
        return judged(name, [str(error)])
    want = prompt["ids"]
    if got == want:
        return judged(name, [])
    first = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    return judged(name, [f"{len(got)} ids, expected {len(want)}, first difference at {first}"])


def check_perplexity(program, model, root, method, modes):
    """The exact and, compared with it, the fast perplexity of one method."""
    want = json.loads((root / "perplexity.json").read_text())["reference"][METHODS[method]]
    mode = ("fast", "--compare", "exact") if "fast" in modes else ("exact",)
    try:
        got = program.run_json("perplexity", model, root / "text.txt", "--method", method, "--json",
                               "--threads", program.threads, "--mode", *mode)
        exact = got["exact_perplexity" if "fast" in modes else "perplexity"]
    except (ProgramError, KeyError) as error:
        return [judged(f"real/perplexity {method}", [repr(error)])]
    off = exact / want["perplexity"] - 1
    problems = [] if abs(off) <= EXACT_PERPLEXITY else [f"at most {EXACT_PERPLEXITY:.2%}"]
    if got["predictions"] != want["predictions"]:
        problems.append(f"{got['predictions']} predictions, expected {want['predictions']}")
    outcomes = [judged(f"real/perplexity {method} exact", problems,
                       f"{exact:.5f}, {off:+.4%} from the reference")]
    if "fast" in modes:
        off, kl = got["perplexity"] / exact - 1, got["mean_kl"]
        problems = [] if abs(off) <= FAST_PERPLEXITY else [f"at most {FAST_PERPLEXITY:.1%}"]
        # The limit is stated for the longer text.
        if method == "windows-512" and not kl <= MEAN_KL:
            problems.append(f"mean KL divergence at most {MEAN_KL}")
        outcomes.append(judged(f"real/perplexity {method} fast", problems,
                               f"{got['perplexity']:.5f}, {off:+.3%} from exact, mean KL {kl:.5f}, "
                               f"largest {got['max_kl']:.3f}, "
                               f"top-1 agreement {got['top1_agreement']:.2%}"))
    return outcomes


def teacher_forced(program, model, prompt, greedy, mode):
    """The arg-max at each step of the recorded continuation."""
    ids = np.asarray(prompt["ids"] + greedy[:-1], np.int32)
    first = len(prompt["ids"]) - 1
    extra = ["--no-hidden"] + (["--logits-from", first] if program.can_choose_rows else [])
    logits = program.trace(model, {"prompt0.ids": ids}, "prompt0", mode, extra=extra)["prompt0.logits"]
    if len(logits) == len(ids):
        logits = logits[first:]
    if len(logits) != len(greedy):
        raise ProgramError(f"{len(logits)} rows of logits, expected {len(greedy)}")
    return np.array([int(row.argmax()) for row in logits])


def check_greedy(program, model, prompt, reference, mode):
    """(outcome, steps that agree, steps)"""
    name = f"real/greedy {prompt['name']} {mode}"
    greedy, margin = np.array(reference["greedy"]), np.array(reference["margin"])
    try:
        got = teacher_forced(program, model, prompt, reference["greedy"], mode)
    except (ProgramError, KeyError) as error:
        return judged(name, [repr(error)])
    least = EXACT_MARGIN if mode == "exact" else FAST_MARGIN
    differ = np.flatnonzero(got != greedy)
    wrong = [step for step in differ if margin[step] >= least]
    problems = [f"differs at step {wrong[0]}, margin {margin[wrong[0]]}"] if wrong else []
    text = f"{len(greedy) - len(differ)} of {len(greedy)} steps agree"
    if len(differ):
        text += f", largest margin at a difference {margin[differ].max():.3f}"
    return judged(name, problems, text)


def cases(root, program, modes):
    model = model_path()
    prompts = json.loads((root / "prompts.json").read_text())
    references = json.loads((root / "reference.json").read_text())
    yield lambda: [check_tokens(program, model, prompt) for prompt in prompts]
    for method in METHODS:
        yield lambda m=method: check_perplexity(program, model, root, m, modes)
    for prompt, reference in zip(prompts, references):
        for mode in modes:
            yield lambda p=prompt, r=reference, m=mode: [check_greedy(program, model, p, r, m)]

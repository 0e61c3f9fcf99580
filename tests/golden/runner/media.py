# SPDX-License-Identifier: Apache-2.0
"""media/: the decoder on recorded soft rows of pictures, sounds and videos.

The encoders that make such rows from files are not part of this program, so their stages
(inputs, preprocess, towers) are named as skipped; the decoder's half of e2e and the text models of
mmproj (the same weights as GGUF) are checked.
"""
import json

import numpy as np

from runner.program import ProgramError, judged
from runner.tensors import read_safetensors, relative_error, same_until

TOLERANCE = 5e-5
LEAST_MARGIN = 1e-3


def comparable_steps(folder, expected):
    """How many steps of the recorded continuation anybody who takes the likeliest token agrees with.

    The official code goes other ways at an end token, which it was told not to take, and after a
    token that stands for a picture or sound, which it embeds as the padding token.
    """
    config = json.loads((folder / "config.json").read_text())
    media = [config.get(f"{kind}_token_id") for kind in ("image", "audio", "video")]
    for step, id in enumerate(expected["continuation"]):
        if id != expected["continuation_top8_ids"][step][0]:
            return step
        if id in media:
            return step + 1
    return len(expected["continuation"])


def check_case(program, model, path, label):
    name = f"media/{label} {path.stem} exact"
    expected = read_safetensors(path)
    source = {"prompt0.ids": expected["input_ids"],
              "prompt0.mm_token_type_ids": expected["mm_token_type_ids"]}
    if len(expected["soft_positions"]):
        source["prompt0.soft.positions"] = expected["soft_positions"]
        source["prompt0.soft.rows"] = expected["soft_rows"]
    try:
        got = program.trace(model, source, "prompt0", "exact", len(expected["continuation"]),
                            ("--no-hidden",))
        error = relative_error(got["prompt0.logits"][expected["text_positions"]], expected["logits"])
        steps = comparable_steps(path.parents[1], expected)
        steps, wrong = same_until(got["prompt0.greedy"], expected["continuation"][:steps],
                                  expected["margins"], LEAST_MARGIN)
    except (ProgramError, KeyError, ValueError, IndexError) as problem:
        return judged(name, [repr(problem)])
    problems = [] if error <= TOLERANCE else [f"at most {TOLERANCE:.0e}"]
    if wrong is not None:
        problems.append(f"greedy differs at step {wrong} of {steps}")
    return judged(name, problems, f"logits {error:.1e}, greedy {steps}")


def cases(root, program, modes):
    if "exact" not in modes:
        return
    for folder in sorted(path.parent for path in root.glob("e2e/*/expected")):
        models = [(folder, f"e2e/{folder.name}")]
        text_model = root / "mmproj" / f"{folder.name}.text.f32.gguf"
        if text_model.exists():
            models.append((text_model, f"mmproj/{text_model.name}"))
        for path in sorted(folder.glob("expected/*.safetensors")):
            for model, label in models:
                yield lambda m=model, p=path, l=label: [check_case(program, m, p, l)]

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run_golden.py passes a program that is right and finds each way of being wrong.

The program is a stand-in that returns recorded tensors, spoilt as a test asks for.
"""
import contextlib
import io
import json
import os
import stat
import sys
import tarfile
import tempfile
import textwrap
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import numpy as np  # noqa: E402

import run_golden  # noqa: E402
from runner.tensors import read_safetensors, write_safetensors  # noqa: E402
from runner.text import limits_from_readme  # noqa: E402

# Answers `trace` from MODEL.answer.MODE (safetensors), `inspect` from FILE.answer (JSON).
STAND_IN = f"""\
#!/usr/bin/python3
import json, sys
sys.dont_write_bytecode = True
from pathlib import Path
arguments = sys.argv[1:]
if arguments[0] == "inspect":
    answer = json.loads(Path(arguments[-1] + ".answer").read_text())
    sys.stderr.write(answer["stderr"])
    blob = b"x" * answer.get("bytes", 0)
    sys.exit(answer["status"])
assert arguments[0] == "trace", arguments
sys.path.insert(0, {str(HERE)!r})
import numpy as np
from runner.tensors import read_safetensors, write_safetensors
option = dict(zip(arguments[3::2], arguments[4::2]))
ids = read_safetensors(arguments[2])[option["--name"] + ".ids"]
answer = read_safetensors(f"{{arguments[1]}}.answer.{{option['--mode']}}")
key = str(len(ids)) + "."  # which prompt it is shows in its length
out = {{name[len(key):]: np.array(value) for name, value in answer.items() if name.startswith(key)}}
write_safetensors(option["--out"], out)
"""


class GoldenTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = Path(holder.name) / "golden"
        self.root.mkdir()
        self.program = Path(holder.name) / "carat"
        self.program.write_text(STAND_IN)
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        os.environ["CARAT_CACHE"] = holder.name  # no real model there
        self.rng = np.random.default_rng(1)

    def run_golden(self, *options):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = run_golden.main([str(self.root), "--carat", str(self.program), *options])
        self.out = out.getvalue()
        passed, _, failed, _ = self.out.splitlines()[-1].split()
        self.assertEqual(status, 1 if int(failed) or not int(passed) else 0)
        return int(passed), int(failed)

    def assertFails(self, word, *options):
        _, failed = self.run_golden(*options)
        self.assertEqual(failed, 1, self.out)
        line = next(line for line in self.out.splitlines() if line.startswith("FAILED"))
        self.assertIn(word, line)

    def floats(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    # text/

    def checkpoint(self, name="moe"):
        """A checkpoint with one prompt, and the right answer to it."""
        folder = self.root / "text" / name
        folder.mkdir(parents=True)
        self.expected = {
            "ids": np.arange(5, dtype=np.int32), "logits": self.floats(5, 9),
            "hidden.0": self.floats(5, 4), "hidden.final": self.floats(5, 4), "ple": self.floats(5, 2, 3),
            "greedy": np.array([3, 1, 4, 1], np.int32),
            "greedy_margin": np.array([1, 1, 0.0005, 1], np.float32),
        }
        self.experts = {"experts.0": np.array([[0, 1]] * 5, np.int32),
                        "expert_weights.0": self.floats(5, 2),
                        "expert_gap.0": np.array([1, 1, 1, 1e-5, 1], np.float32)}
        return folder

    def write_checkpoint(self, folder, answer=None, fast=None):
        write_safetensors(folder / "expected.safetensors",
                          {f"prompt0.{key}": value for key, value in self.expected.items()})
        for mode, tensors in (("exact", answer), ("fast", fast)):
            tensors = self.expected if tensors is None else tensors
            write_safetensors(f"{folder}.answer.{mode}",
                              {f"5.prompt0.{key}": value for key, value in tensors.items()})

    def test_text_passes(self):
        folder = self.checkpoint()
        self.expected.update(self.experts)
        self.write_checkpoint(folder)
        self.assertEqual(self.run_golden(), (2, 0), self.out)
        for part in ("gguf", "real", "media"):
            self.assertRegex(self.out, f"SKIPPED +{part}: absent")

    def test_text_finds_errors(self):
        folder = self.checkpoint()
        self.expected.update(self.experts)
        greedy, experts = self.expected["greedy"], self.expected["experts.0"]
        for key, wrong, word in (
                ("logits", self.expected["logits"] * np.float32(1.0001), "logits off"),
                ("hidden.final", self.expected["hidden.final"] + np.float32(1e-3), "hidden.final off"),
                ("ple", np.full_like(self.expected["ple"], np.nan), "ple off by inf"),
                ("hidden.0", self.expected["hidden.0"][:4], "shape"),
                ("hidden.0", None, "hidden.0 is missing"),
                ("greedy", greedy + np.array([0, 1, 0, 0], np.int32), "step 1"),
                ("greedy", greedy[:1], "greedy has shape"),
                ("experts.0", experts + np.array([[0, 0]] * 4 + [[0, 1]], np.int32), "position 4"),
                ("expert_weights.0", self.experts["expert_weights.0"] + np.float32(0.1), "expert_weights"),
        ):
            answer = {**self.expected, key: wrong}
            if wrong is None:
                del answer[key]
            with self.subTest(word):
                self.write_checkpoint(folder, answer)
                self.assertFails(word, "--modes", "exact")

    def test_text_allows_what_margins_and_gaps_allow(self):
        folder = self.checkpoint()
        self.expected.update(self.experts)
        answer = {**self.expected,
                  "greedy": self.expected["greedy"] + np.array([0, 0, 1, 1], np.int32),
                  "experts.0": self.expected["experts.0"] +
                  np.array([[0, 0]] * 3 + [[0, 1], [0, 0]], np.int32)}
        self.write_checkpoint(folder, answer)
        self.assertEqual(self.run_golden("--modes", "exact"), (1, 0), self.out)

    def test_variant_is_compared(self):
        folder = self.checkpoint()
        self.expected["bf16scale.logits"] = self.floats(5, 9)
        self.write_checkpoint(folder)
        self.assertEqual(self.run_golden("--modes", "exact"), (2, 0), self.out)
        self.write_checkpoint(folder, {**self.expected, "bf16scale.logits": self.floats(5, 9)})
        self.assertFails("exact bf16scale", "--modes", "exact")

    def test_fast_is_held_against_the_table(self):
        folder = self.checkpoint("e4b")
        (self.root / "text" / "README.md").write_text(textwrap.dedent("""\
            | checkpoint | logits float32 | logits bfloat16 |
            |---|---|---|
            | e4b | 1.6e-06 | 0.07 |
            """))
        for factor, failed in ((1.06, 0), (1.08, 1)):
            answer = {**self.expected, "logits": self.expected["logits"] * np.float32(factor)}
            self.write_checkpoint(folder, fast=answer)
            self.assertEqual(self.run_golden("--modes", "fast"), (1 - failed, failed), self.out)
        self.expected.update(self.experts)  # rounding moves tokens to other experts
        answer = {**self.expected, "logits": self.expected["logits"] * np.float32(1.5)}
        self.write_checkpoint(folder, fast=answer)
        self.assertEqual(self.run_golden("--modes", "fast"), (1, 0), self.out)
        answer["logits"] = self.expected["logits"] * np.float32(np.inf)
        self.write_checkpoint(folder, fast=answer)
        self.assertFails("not finite", "--modes", "fast")

    def test_recorded_limits_are_those_of_the_table(self):
        table = limits_from_readme(HERE / "text" / "README.md")
        limits = json.loads((HERE / "limits.json").read_text())
        self.assertEqual({name: entry["logits_bfloat16"] for name, entry in limits.items()}, table)
        self.assertEqual(table["dense31"], [0.04, 0.07, 0.20, 0.06, 0.18])

    # gguf/

    def tiny_model(self, exact=None, fast=None, route=False):
        folder = self.root / "gguf" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        self.want = [self.floats(4, 6), self.floats(3, 6)]
        np.concatenate(self.want).tofile(folder / "m.f32")
        entry = {"name": "m", "files": ["m.gguf"], "arch": "gemma4", "expected": "m.f32",
                 "positions": [4, 3], "vocabulary": 6,
                 "llama_cpp": {"rms_difference": 0.1, "median_of_position_max": 0.1}}
        if route:
            entry["route"] = "m.route.json"
            (folder / "m.route.json").write_text(json.dumps([[1, 1, 0.005, 1], [1, 1, 1]]))
        (folder / "index.json").write_text(json.dumps([entry]))
        (folder / "prompts.json").write_text(json.dumps(
            {"gemma4": [{"ids": [1, 2, 3, 4]}, {"ids": [1, 2, 3]}]}))
        for mode, change in (("exact", exact), ("fast", fast)):
            got = [want.copy() for want in self.want]
            if change:
                change(got)
            write_safetensors(folder / f"m.gguf.answer.{mode}",
                              {f"{len(g)}.prompt0.logits": g for g in got})

    def test_tiny(self):
        def spoil(first_row, by):
            def change(got):
                got[0][first_row:] += np.float32(by)
            return change

        self.tiny_model()
        self.assertEqual(self.run_golden(), (2, 0), self.out)
        self.tiny_model(exact=spoil(1, 1e-3))
        self.assertFails("at most 1e-04", "--modes", "exact")
        self.tiny_model(exact=spoil(2, 1), route=True)
        self.assertEqual(self.run_golden("--modes", "exact"), (1, 0), self.out)
        self.tiny_model(exact=spoil(1, 1), route=True)
        self.assertFails("at most", "--modes", "exact")
        self.tiny_model(fast=spoil(0, 0.1))
        self.assertEqual(self.run_golden("--modes", "fast"), (1, 0), self.out)
        self.tiny_model(fast=spoil(0, 0.2))
        self.assertFails("median_of_position_max", "--modes", "fast")
        self.tiny_model(fast=spoil(3, 1))
        self.assertFails("rms_difference", "--modes", "fast")
        self.tiny_model(fast=spoil(3, np.nan))
        self.assertFails("rms_difference", "--modes", "fast")

    def files(self, bad=None, weird=None):
        """One bad and one odd file, with the program's answers to them."""
        folder = self.root / "gguf"
        answers = {"bad/b.gguf": bad or {"status": 3, "stderr": "b.gguf: magic is X, expected GGUF\n"},
                   "weird/base.gguf": weird or {"status": 0, "stderr": ""}}
        for name, answer in answers.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.answer").write_text(json.dumps(answer))
        (folder / "bad" / "index.json").write_text(json.dumps(
            [{"file": "b.gguf", "level": "container", "wrong": "magic"}]))
        (folder / "weird" / "index.json").write_text(json.dumps(
            [{"file": "base.gguf", "kind": "model", "unusual": "", "same_logits_as_base": True}]))
        (folder / "weird" / "base.json").write_text(json.dumps(
            {"ids": [1, 2], "vocabulary": 3, "expected": "base.f32"}))
        logits = self.floats(2, 3)
        logits.tofile(folder / "weird" / "base.f32")
        write_safetensors(folder / "weird" / "base.gguf.answer.exact", {"2.prompt0.logits": logits})

    def test_bad_and_weird(self):
        self.files()
        self.assertEqual(self.run_golden(), (2, 0), self.out)
        for answer, word in (
                ({"status": 0, "stderr": ""}, "exit status 0, expected 3"),
                ({"status": 1, "stderr": "b.gguf: x\n"}, "exit status 1, expected 3"),
                ({"status": 3, "stderr": "b.gguf: x\nb.gguf: y\n"}, "2 lines"),
                ({"status": 3, "stderr": "bad magic\n"}, "without the file's name"),
                ({"status": 3, "stderr": "b.gguf: x\n", "bytes": 100 << 20}, "MiB, at most 64"),
        ):
            with self.subTest(word):
                self.files(bad=answer)
                self.assertFails(word)
        self.files(weird={"status": 3, "stderr": "base.gguf: no\n"})
        self.assertFails("refused")
        self.files()
        write_safetensors(self.root / "gguf" / "weird" / "base.gguf.answer.exact",
                          {"2.prompt0.logits": self.floats(2, 3)})
        self.assertFails("at most 1e-04")

    def test_archives_are_unpacked(self):
        self.files(bad={"status": 0, "stderr": ""})
        folder = self.root / "gguf"
        for name in ("bad", "weird"):
            with tarfile.open(folder / f"{name}.tar.xz", "w:xz") as archive:
                archive.add(folder / name, name)
            (folder / name).rename(self.root / name)
        self.assertFails("gguf/bad/b.gguf")

    # media/

    def test_media(self):
        folder = self.root / "media" / "e2e" / "m"
        (folder / "expected").mkdir(parents=True)
        (folder / "config.json").write_text('{"image_token_id": 7}')
        logits = self.floats(6, 5)

        def steps(recorded, likeliest, got):
            write_safetensors(folder / "expected" / "image.safetensors", {
                "input_ids": np.arange(6, dtype=np.int32), "mm_token_type_ids": np.zeros(6, np.int32),
                "soft_positions": np.array([2], np.int32), "soft_rows": self.floats(1, 4),
                "text_positions": np.array([0, 5], np.int32), "logits": logits[[0, 5]],
                "continuation": np.array(recorded, np.int32), "margins": np.ones(3, np.float32),
                "continuation_top8_ids": np.array([[id, 9] for id in likeliest], np.int32)})
            write_safetensors(f"{folder}.answer.exact", {
                "6.prompt0.logits": logits, "6.prompt0.greedy": np.array(got, np.int32)})

        steps([1, 2, 3], [1, 2, 3], [1, 2, 3])
        self.assertEqual(self.run_golden(), (1, 0), self.out)
        steps([1, 2, 3], [1, 2, 3], [1, 2, 4])
        self.assertFails("step 2")
        steps([1, 7, 3], [1, 7, 3], [1, 7, 4])  # 7 stands for a picture
        self.assertEqual(self.run_golden(), (1, 0), self.out)
        steps([1, 2, 3], [1, 5, 3], [1, 5, 4])  # 5 was not to be taken
        self.assertEqual(self.run_golden(), (1, 0), self.out)
        logits = logits + np.float32(0.1)
        write_safetensors(f"{folder}.answer.exact", {
            "6.prompt0.logits": logits, "6.prompt0.greedy": np.array([1, 5, 3], np.int32)})
        self.assertFails("at most 5e-05")

    # the rest

    def test_nothing_to_run_is_a_failure(self):
        self.assertEqual(self.run_golden(), (0, 0), self.out)

    def test_safetensors_survive_a_round_trip(self):
        tensors = {"a": self.floats(2, 3), "b": np.arange(4, dtype=np.int32), "c": self.floats(0)}
        write_safetensors(self.root / "x", tensors)
        for name, value in read_safetensors(self.root / "x").items():
            np.testing.assert_array_equal(value, tensors[name])


if __name__ == "__main__":
    unittest.main()

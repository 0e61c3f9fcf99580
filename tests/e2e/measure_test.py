#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""carat perplexity, bench and trace."""
import json
import math
import signal
import struct
import subprocess
import unittest
from pathlib import Path

import numpy as np

from harness import BASE, CARAT, GGUF, ROOT, Case

TYPES = {"F32": "<f4", "I32": "<i4"}


def read_tensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


class Perplexity(Case):
    def text_of(self, tokens):
        """A file whose text has at least that many tokens, and its ids."""
        text = "".join(chr(97 + i * i % 23) + " \n"[i % 7 == 0] for i in range(2 * tokens))
        path = self.folder / "text"
        path.write_text(text)
        return path, self.ok_json("tokenize", BASE, "-", "--json", stdin=text)["ids"]

    def nll_by_trace(self, windows):
        """The sum by way of the program's own logits."""
        total = 0.0
        for window in windows:
            header = json.dumps({"w.ids": {"dtype": "I32", "shape": [len(window)],
                                           "data_offsets": [0, 4 * len(window)]}}).encode()
            (self.folder / "in.st").write_bytes(struct.pack("<Q", len(header)) + header +
                                                np.asarray(window, "<i4").tobytes())
            self.ok("trace", BASE, "in.st", "--name", "w", "--mode", "exact", "--no-hidden", "--out",
                    "out.st")
            logits = read_tensors(self.folder / "out.st")["w.logits"].astype(np.float64)
            top = logits.max(-1)
            lse = top + np.log(np.exp(logits - top[:, None]).sum(-1))
            total += sum(lse[i] - logits[i, window[i + 1]] for i in range(len(window) - 1))
        return total

    def test_windows_of_512(self):
        path, ids = self.text_of(1100)
        got = self.ok_json("perplexity", BASE, path, "--method", "windows-512", "--mode", "exact",
                           "--json")
        count = len(ids) // 511
        self.assertGreaterEqual(count, 2)
        self.assertEqual((got["tokens"], got["predictions"]), (len(ids), 511 * count))
        want = self.nll_by_trace([[2] + ids[511 * w:511 * (w + 1)] for w in range(count)])
        self.assertAlmostEqual(got["nll_sum"] / want, 1, delta=1e-5)
        self.assertAlmostEqual(got["perplexity"],
                               math.exp(got["nll_sum"] / got["predictions"]), delta=1e-6)

    def test_window_of_2048(self):
        path, ids = self.text_of(2100)
        got = self.ok_json("perplexity", BASE, path, "--method", "window-2048", "--mode", "exact",
                           "--json")
        self.assertEqual(got["predictions"], 2047)
        self.assertAlmostEqual(got["nll_sum"] / self.nll_by_trace([[2] + ids[:2047]]), 1, delta=1e-5)

    def test_compared_with_the_exact_mode(self):
        path, _ = self.text_of(520)
        flags = ("perplexity", BASE, path, "--method", "windows-512", "--json")
        exact = self.ok_json(*flags, "--mode", "exact")
        same = self.ok_json(*flags, "--mode", "exact", "--compare", "exact")
        self.assertEqual((same["mean_kl"], same["max_kl"], same["top1_agreement"]), (0, 0, 1))
        self.assertEqual(same["nll_sum"], exact["nll_sum"])
        fast = self.ok_json(*flags, "--mode", "fast", "--compare", "exact")
        self.assertEqual(fast["exact_nll_sum"], exact["nll_sum"])
        self.assertGreaterEqual(fast["max_kl"], fast["mean_kl"])
        self.assertGreater(fast["mean_kl"], 0)
        self.assertLessEqual(fast["top1_agreement"], 1)

    def test_a_short_text_is_wrong_usage(self):
        path = self.folder / "short"
        path.write_text("too short")
        self.assertIn("511", self.refused(2, "perplexity", BASE, path, "--method", "windows-512"))

    def test_tells_its_progress_in_lines_and_ends_on_ctrl_c(self):
        path, _ = self.text_of(40000)
        run = subprocess.Popen([CARAT, "perplexity", BASE, path, "--method", "windows-512", "--compare",
                                "exact"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(run.stdout.close)
        self.addCleanup(run.stderr.close)
        self.addCleanup(run.kill)
        self.assertRegex(run.stderr.readline().decode(), r"^perplexity: 10 %, [\d:]+ left$")
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
        self.assertEqual(run.returncode, 130)


class Bench(Case):
    def test_json(self):
        got = self.ok_json("bench", BASE, "--prompt", "40", "--gen", "5", "--depth", "10", "--reps", "2",
                           "--threads", "1", "--json")
        self.assertEqual((got["prompt_tokens"], got["gen_tokens"], got["depth"], got["threads"]),
                         (40, 5, 10, 1))
        for key in ("load_s", "prefill_tok_s", "decode_tok_s", "ttft_s", "rss_bytes"):
            self.assertGreater(got[key], 0, key)
        self.assertGreaterEqual(got["peak_rss_bytes"], got["rss_bytes"])
        self.assertIn(got["isa"], self.ok("--version"))

    def test_the_memory_plan_foretells_the_peak(self):
        cache = subprocess.run([ROOT / "tools" / "cache_dir.sh"], stdout=subprocess.PIPE, text=True, check=True)
        real = Path(cache.stdout.strip()) / "models" / "gemma3-270m"
        models = [BASE, GGUF] + ([real] if real.is_dir() else [])
        if not real.is_dir():
            print("SKIPPED for the real model: it is not in the cache")
        for model in models:
            for mode in ("fast", "exact"):
                got = self.ok_json("bench", model, "--mode", mode, "--prompt", "700", "--gen", "4", "--reps", "1",
                                   "--json")
                peak, plan = got["peak_rss_bytes"], got["plan_peak_bytes"]
                self.assertLess(abs(peak - plan), max(0.05 * peak, 32e6), f"{model} {mode}: {peak} of {plan}")

    def test_text_for_people(self):
        self.assertIn("tokens/s", self.ok("bench", BASE, "--prompt", "4", "--gen", "2", "--reps", "1"))


class Trace(Case):
    SOURCE = BASE / "expected.safetensors"

    def trace(self, *flags):
        out = self.folder / "out.safetensors"
        self.assertEqual(self.ok("trace", BASE, self.SOURCE, "--name", "prompt0", "--mode", "exact",
                                 "--out", out, *flags), "")
        return read_tensors(out)

    def test_names_and_shapes(self):
        got = self.trace("--greedy", "3")
        want = read_tensors(self.SOURCE)
        for name in ("logits", "hidden.0", "hidden.10", "hidden.final", "ple"):
            self.assertEqual(got[f"prompt0.{name}"].shape, want[f"prompt0.{name}"].shape, name)
        np.testing.assert_array_equal(got["prompt0.greedy"], want["prompt0.greedy"][:3])
        for name in ("greedy_margin", "greedy_top"):
            np.testing.assert_allclose(got[f"prompt0.{name}"], want[f"prompt0.{name}"][:3], atol=1e-3)

    def test_leaves_out_what_is_not_wanted(self):
        got = self.trace("--no-hidden", "--logits-from", "3")
        whole = self.trace()
        self.assertEqual(list(got), ["prompt0.logits"])
        np.testing.assert_array_equal(got["prompt0.logits"], whole["prompt0.logits"][3:])

    def test_chunks_change_nothing(self):
        np.testing.assert_array_equal(self.trace("--chunk", "1")["prompt0.logits"],
                                      self.trace()["prompt0.logits"])

    def test_variant_has_its_own_names(self):
        got = self.trace("--variant", "bf16scale", "--no-hidden")
        self.assertEqual(list(got), ["prompt0.bf16scale.logits"])

    def test_says_what_is_missing(self):
        out = self.folder / "out.safetensors"
        said = self.refused(3, "trace", BASE, self.SOURCE, "--name", "nothing", "--out", out)
        self.assertIn("nothing.ids", said)
        self.assertFalse(out.exists())
        said = self.refused(2, "trace", BASE, self.SOURCE, "--name", "prompt0", "--out", out,
                            "--logits-from", "5")
        self.assertIn("below 5", said)


if __name__ == "__main__":
    unittest.main()

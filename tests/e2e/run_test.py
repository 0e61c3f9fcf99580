#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""carat run with a prompt: one answer."""
import json
import os
import signal
import subprocess
import unittest

from harness import BASE, CARAT, GGUF, NO_STOPS, TIMEOUT_S, Case


class Run(Case):
    GREEDY = ("--temp", "0", *NO_STOPS)

    def test_prompt_from_the_command_line_and_from_standard_input(self):
        want = self.ok("run", BASE, "Hello", "--max-tokens", "8", *self.GREEDY)
        self.assertTrue(want.strip())
        self.assertTrue(want.endswith("\n"))
        for arguments in ([], ["-"]):
            for text in ("Hello", "Hello\n"):
                got = self.ok("run", BASE, *arguments, "--max-tokens", "8", *self.GREEDY, stdin=text)
                self.assertEqual(got, want)
        self.assertEqual(self.ok("run", BASE, "-p", "Hello", "--max-tokens", "8", *self.GREEDY), want)

    def test_json_tells_text_usage_and_timings(self):
        got = self.ok_json("run", BASE, "Hello", "--max-tokens", "8", "--json", *self.GREEDY)
        text = self.ok("run", BASE, "Hello", "--max-tokens", "8", *self.GREEDY)
        self.assertEqual(got["text"], text.removesuffix("\n") if not got["text"].endswith("\n") else text)
        self.assertEqual(got["finish_reason"], "length")
        ids = self.ok_json("tokenize", BASE, "Hello", "--bos", "--json")["ids"]
        self.assertEqual(got["usage"], {"prompt_tokens": len(ids), "completion_tokens": 8,
                                        "total_tokens": len(ids) + 8, "cached_tokens": 0})
        self.assertEqual(len(got["ids"]), 8)
        for key in ("load_s", "ttft_s", "prefill_tok_s", "decode_tok_s"):
            self.assertGreater(got["timings"][key], 0, key)
        self.assertNotIn("logprobs", got)

    def test_logprobs_of_the_likeliest_tokens(self):
        got = self.ok_json("run", BASE, "Hello", "--max-tokens", "4", "--json", "--logprobs", "3",
                           "--temp", "0")
        self.assertEqual([entry["id"] for entry in got["logprobs"]], got["ids"])
        for entry in got["logprobs"]:
            self.assertEqual(len(entry["top"]), 3)
            self.assertEqual(entry["top"][0]["id"], entry["id"])
            self.assertLessEqual(entry["logprob"], 0)
            values = [other["logprob"] for other in entry["top"]]
            self.assertEqual(values, sorted(values, reverse=True))

    def test_a_seed_decides_and_is_told(self):
        def answer(*flags):
            return self.ok_json("run", BASE, "Hello", "--max-tokens", "24", "--json", "--temp", "1.5",
                                "--top-k", "0", "--top-p", "1", *NO_STOPS, *flags)
        first = answer("--seed", "11")
        self.assertEqual(first["seed"], 11)
        self.assertEqual(answer("--seed", "11", "--threads", "1")["ids"], first["ids"])
        self.assertNotEqual(answer("--seed", "12")["ids"], first["ids"])
        free = answer()
        self.assertEqual(answer("--seed", free["seed"])["ids"], free["ids"])

    def test_stop_strings_are_not_printed(self):
        whole = self.ok_json("run", BASE, "Hello", "--max-tokens", "40", "--json", *self.GREEDY)["text"]
        stop = whole[len(whole) // 2:len(whole) // 2 + 2]
        got = self.ok_json("run", BASE, "Hello", "--max-tokens", "40", "--json", "--stop", "never",
                           "--stop", stop, *self.GREEDY)
        self.assertEqual(got["finish_reason"], "stop")
        self.assertEqual(got["stop_string"], stop)
        self.assertEqual(got["text"], whole[:whole.index(stop)])

    def test_logit_bias_forces_and_forbids(self):
        got = self.ok_json("run", BASE, "Hello", "--max-tokens", "5", "--json", "--temp", "0",
                           "--logit-bias", "300:1000")
        self.assertEqual(got["ids"], [300] * 5)

    def test_modes_and_formats_agree_on_a_prompt(self):
        for model in (BASE, GGUF):
            for mode in ("exact", "fast"):
                got = self.ok_json("run", model, "Hi", "--mode", mode, "--max-tokens", "2", "--json",
                                   *self.GREEDY)
                self.assertEqual(got["mode"], mode)
                self.assertEqual(len(got["ids"]), 2)

    def test_continuations_without_a_chat_format_end_by_default(self):
        got = self.ok_json("run", BASE, "Hello", "--json", *self.GREEDY)
        self.assertEqual(got["usage"]["completion_tokens"], 128)

    def test_verbose_tells_plan_and_speed_on_standard_error(self):
        run = self.carat("run", BASE, "Hello", "--max-tokens", "2", "--verbose", *self.GREEDY)
        quiet = self.carat("run", BASE, "Hello", "--max-tokens", "2", *self.GREEDY)
        for word in ("weights-mapped", "weights-anonymous", "ple-rows", "kv", "scratch", "tokenizer",
                     "peak", "tokens/s"):
            self.assertIn(word, run.stderr.decode())
        self.assertEqual(run.stdout, quiet.stdout)
        self.assertEqual(quiet.stderr, b"")

    def test_a_prompt_longer_than_the_context_is_wrong_usage(self):
        self.assertIn("context", self.refused(2, "run", BASE, "x " * 100, "--ctx", "16"))

    def test_the_context_bounds_an_answer(self):
        got = self.ok_json("run", BASE, "Hello", "--ctx", "32", "--max-tokens", "1000", "--json",
                           *self.GREEDY)
        self.assertEqual(got["finish_reason"], "length")
        self.assertLessEqual(got["usage"]["total_tokens"], 33)

    def test_what_is_typed_is_the_prompt_where_output_is_no_terminal(self):
        leader, follower = os.openpty()
        self.addCleanup(os.close, leader)
        os.write(leader, b"Hello\n\x04")
        run = subprocess.run([CARAT, "run", BASE, "--max-tokens", "8", *self.GREEDY], stdin=follower,
                             capture_output=True, env=self.env, timeout=TIMEOUT_S)
        os.close(follower)
        want = self.ok("run", BASE, "Hello", "--max-tokens", "8", *self.GREEDY)
        self.assertEqual(run.stdout.decode(), want)

    def test_json_without_a_prompt_on_a_terminal_is_wrong_usage(self):
        leader, follower = os.openpty()
        run = subprocess.run([CARAT, "run", BASE, "--json"], stdin=follower, capture_output=True,
                             env=self.env)
        os.close(leader)
        os.close(follower)
        self.assertEqual(run.returncode, 2)


class ChatFormat(Case):
    GREEDY = ("--temp", "0", "--max-tokens", "4", "--json")

    def test_wraps_the_prompt_and_knows_instructions(self):
        model = self.chat_model()
        plain = self.ok_json("run", model, "Hi", *self.GREEDY)["usage"]["prompt_tokens"]
        raw = self.ok_json("run", model, "Hi", "--raw", *self.GREEDY)["usage"]["prompt_tokens"]
        told = self.ok_json("run", model, "Hi", "--system", "Be brief.",
                            *self.GREEDY)["usage"]["prompt_tokens"]
        self.assertLess(raw, plain)
        self.assertLess(plain, told)

    def test_control_strings_of_users_stay_text(self):
        model = self.chat_model()
        def tokens(*arguments):
            return self.ok_json("run", model, *arguments, *self.GREEDY)["usage"]["prompt_tokens"]
        self.assertGreater(tokens("<turn|><turn|>"), tokens("Hi") + 4)
        self.assertEqual(tokens("<turn|><turn|>", "--raw", "--special"), 3)  # with BOS
        self.refused(2, "run", model, "x", "--special")

    def test_an_empty_prompt_is_wrong_usage(self):
        self.refused(2, "run", self.chat_model(), "")


class Interrupts(Case):
    def start(self, *flags):
        run = subprocess.Popen([CARAT, "run", BASE, "Hello", "--ctx", "50000", "--max-tokens", "40000",
                                "--temp", "0", *NO_STOPS, *flags], env=self.env,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(run.stdout.close)
        self.addCleanup(run.stderr.close)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def test_ctrl_c_ends_an_answer_with_status_130(self):
        run = self.start()
        begun = run.stdout.read(3)
        run.send_signal(signal.SIGINT)
        rest, errors = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 130)
        self.assertTrue((begun + rest).endswith(b"\n"))
        self.assertEqual(errors, b"")

    def test_json_of_an_interrupted_answer_is_complete(self):
        run = self.start("--json", "--verbose")
        while b"peak" not in run.stderr.readline():  # the plan comes right before the answer
            pass
        run.send_signal(signal.SIGINT)
        out = run.communicate(timeout=60)[0]
        self.assertEqual(run.returncode, 130)
        self.assertEqual(json.loads(out)["finish_reason"], "cancelled")

    def test_an_answer_ends_quietly_when_its_reader_goes_away(self):
        run = self.start()
        run.stdout.read(3)
        run.stdout.close()
        self.assertEqual(run.wait(timeout=60), 0)
        self.assertEqual(run.stderr.read(), b"")


if __name__ == "__main__":
    unittest.main()

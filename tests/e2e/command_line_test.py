#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Help, wrong usage, exit statuses, and the commands that load no model."""
import json
import os
import subprocess
import unittest

from harness import BASE, CARAT, GGUF, GOLDEN, Case

COMMANDS = ["run", "inspect", "tokenize", "models", "perplexity", "bench", "trace"]


class CommandLine(Case):
    def test_help_has_examples_everywhere(self):
        top = self.ok("--help")
        for command in COMMANDS:
            self.assertIn(command, top)
            text = self.ok(command, "--help")
            self.assertIn("Examples:\n  carat ", text)
            self.assertIn(f"Usage: carat {command}", text)

    def test_wrong_usage_is_status_2_and_one_line(self):
        for arguments in ([], ["--nonsense"], ["nonsense"], ["run", "--nonsense"], ["inspect"],
                          ["run", BASE, "x", "--temp", "-1"], ["run", BASE, "x", "--temp", "nan"],
                          ["run", BASE, "x", "--top-p", "1.5"], ["run", BASE, "x", "--top-k", "-3"],
                          ["run", BASE, "x", "--threads", "0"], ["run", BASE, "x", "--mode", "slow"],
                          ["run", BASE, "x", "--logit-bias", "7"], ["run", BASE, "x", "y"],
                          ["run", BASE, "x", "--logprobs", "2"], ["run", BASE, "x", "-p", "y"],
                          ["run", BASE, "x", "--max-tokens", "0"], ["run", BASE, "x", "--stop", ""],
                          ["run", BASE, "x", "--seed", "-1"], ["run", BASE, "x", "--seed", "1.5"], ["models", "--version"],
                          ["run", BASE, "x", "--system", "s"], ["inspect", GGUF, "--as", "zip"],
                          ["run", BASE, "x", "--logit-bias", "100000:1"],
                          ["perplexity", BASE, "f"], ["bench", BASE, "--gen", "1"],
                          ["tokenize", BASE, "--decode", "1,-2"],
                          ["tokenize", BASE, "--decode", "999999"],
                          ["tokenize", BASE, "text", "--decode", "1"]):
            with self.subTest(arguments):
                self.refused(2, *arguments)

    def test_messages_stay_on_one_line_whatever_they_quote(self):
        self.assertIn("nosuch\\x0amodel", self.refused(5, "run", "nosuch\nmodel", "x"))
        self.assertIn("'1 2'", self.refused(2, "run", BASE, "x", "--temp", "1\n2"))

    def test_missing_files_are_status_5(self):
        self.assertIn("nosuch", self.refused(5, "run", "nosuch", "x"))
        self.assertIn("/no/such.gguf", self.refused(5, "inspect", "/no/such.gguf"))
        self.assertIn("/no/text", self.refused(5, "perplexity", BASE, "/no/text", "--method",
                                               "windows-512"))

    def test_bad_files_are_status_3(self):
        bad = self.folder / "bad.gguf"
        bad.write_bytes(b"GGUF" + bytes(100))
        for command in (["inspect"], ["tokenize"], ["bench"]):
            self.assertIn("bad.gguf", self.refused(3, *command, bad))
        self.assertIn("bad.gguf", self.refused(3, "run", bad, "x"))

    def test_too_little_memory_is_status_4(self):
        said = self.refused(4, "run", BASE, "x", "--ctx", str(1 << 30))
        self.assertRegex(said, r"\d")

    def test_names_the_way_to_the_default_model(self):
        self.assertIn("fetch_model.py", self.refused(5, "run", "-p", "x"))

    def test_takes_the_default_model_from_the_environment(self):
        self.env["CARAT_MODEL"] = str(BASE)
        self.ok("run", "-p", "x", "--max-tokens", "1")

    def test_version(self):
        facts = self.ok_json("--version", "--json")
        self.assertEqual(set(facts), {"version", "commit", "compiler", "isa"})
        text = self.ok("--version")
        for fact in facts.values():
            self.assertIn(fact, text)

    def test_refuses_an_unknown_instruction_set(self):
        self.env["CARAT_ISA"] = "mmx"
        self.assertIn("mmx", self.refused(2, "--version"))

    def test_colours_need_a_terminal(self):
        self.env["TERM"] = "xterm"
        self.assertNotIn("\033", self.refused(5, "run", "nosuch", "x"))


class Inspect(Case):
    def test_json_of_a_model(self):
        facts = self.ok_json("inspect", GGUF, "--json", "--ctx", "64")
        self.assertEqual(facts["kind"], "model")
        self.assertNotIn("tensors", facts)
        for line in ("weights-mapped", "weights-anonymous", "ple-rows", "kv", "scratch", "tokenizer",
                     "peak"):
            self.assertIsInstance(facts["memory_plan"][line], int, line)
        self.assertGreater(len(self.ok_json("inspect", GGUF, "--json", "--tensors")["tensors"]), 10)

    def test_kinds(self):
        self.assertEqual(self.ok_json("inspect", BASE, "--json")["kind"], "model")
        self.assertEqual(self.ok_json("inspect", BASE / "model.safetensors", "--json")["kind"],
                         "safetensors")
        self.assertEqual(self.ok_json("inspect", GGUF, "--as", "container", "--json")["kind"],
                         "container")
        self.assertIn("found", self.refused(3, "inspect", GGUF, "--as", "adapter"))

    def test_text_for_people(self):
        text = self.ok("inspect", GGUF)
        for word in ("gemma4", "Q4_0", "memory plan", "peak", "chat format"):
            self.assertIn(word, text)


class Models(Case):
    def test_lists_the_cache_and_finds_models_by_name(self):
        self.assertEqual(self.ok_json("models", "--json"), [])
        folder = self.folder / "cache" / "models" / "tiny"
        folder.mkdir(parents=True)
        (folder / GGUF.name).symlink_to(GGUF)
        listed = self.ok_json("models", "--json")
        self.assertEqual(listed, [{"name": "tiny", "path": str(folder / GGUF.name),
                                   "bytes": GGUF.stat().st_size}])
        self.assertIn("tiny", self.ok("models"))
        self.assertEqual(self.ok_json("inspect", "tiny", "--json")["path"], str(folder / GGUF.name))


class Tokenize(Case):
    PROMPTS = json.loads((BASE / "prompts.json").read_text())

    def test_ids_of_the_golden_prompts(self):
        checked = 0
        for prompt in self.PROMPTS if isinstance(self.PROMPTS, list) else self.PROMPTS.values():
            if "text" not in prompt:
                continue
            got = self.ok_json("tokenize", BASE, "-", "--special", "--bos", "--json",
                               stdin=prompt["text"])
            self.assertEqual(got["ids"], prompt["ids"])
            self.assertEqual(got["count"], len(prompt["ids"]))
            checked += 1
        self.assertGreater(checked, 0)

    def test_text_and_standard_input_are_the_same(self):
        text = "ab  c\n\nd €\n"
        ids = self.ok_json("tokenize", BASE, text, "--json")["ids"]
        self.assertEqual(self.ok_json("tokenize", BASE, "--json", stdin=text)["ids"], ids)
        self.assertEqual(self.ok_json("tokenize", BASE, "-", "--json", stdin=text)["ids"], ids)
        joined = ",".join(map(str, ids))
        self.assertEqual(self.ok_json("tokenize", BASE, "--decode", joined, "--json"), {"text": text})
        self.assertEqual(self.ok("tokenize", BASE, "--decode", "-", stdin=str(ids)), text + "\n")

    def test_control_strings_only_on_request(self):
        self.assertIn(105, self.ok_json("tokenize", BASE, "<|turn>", "--special", "--json")["ids"])
        self.assertNotIn(105, self.ok_json("tokenize", BASE, "<|turn>", "--json")["ids"])
        self.assertEqual(self.ok("tokenize", BASE, "--decode", "105", "--special"), "<|turn>\n")
        self.assertEqual(self.ok("tokenize", BASE, "--decode", "105"), "\n")

    def test_one_token_a_line_for_people(self):
        lines = self.ok("tokenize", BASE, "a\nb\\ \u20ac").splitlines()
        self.assertIn("107\t\\n", lines)
        for line in lines:
            self.assertRegex(line, r"^\d+\t\S* *\S*$")

    def test_bytes_that_are_not_text(self):
        run = subprocess.run([CARAT, "tokenize", BASE, "-", "--json"], input=b"\xff\xfe", env=self.env,
                             capture_output=True)
        self.assertEqual(len(json.loads(run.stdout)["ids"]), 2)


class Streams(Case):
    def test_a_reader_that_goes_away_is_no_error(self):
        read, write = os.pipe()
        os.close(read)
        run = subprocess.run([CARAT, "--help"], stdout=write, stderr=subprocess.PIPE, env=self.env)
        os.close(write)
        self.assertEqual((run.returncode, run.stderr), (0, b""))

    def test_a_full_disk_is_an_error(self):
        with open("/dev/full", "w") as full:
            run = subprocess.run([CARAT, "--help"], stdout=full, stderr=subprocess.PIPE, env=self.env)
        self.assertEqual(run.returncode, 1)
        self.assertIn(b"No space left", run.stderr)

    def test_closed_standard_streams_are_not_mixed_up_with_files(self):
        command = f"'{CARAT}' tokenize '{BASE}' Hi"
        run = subprocess.run(["sh", "-c", command + " >&-"], stderr=subprocess.PIPE, env=self.env)
        self.assertEqual(run.returncode, 1)
        self.assertIn(b"standard output", run.stderr)
        run = subprocess.run(["sh", "-c", command + " <&- 2>&-"], stdout=subprocess.PIPE, env=self.env)
        self.assertEqual(run.returncode, 0)
        self.assertEqual(run.stdout.decode(), self.ok("tokenize", BASE, "Hi"))


if __name__ == "__main__":
    unittest.main()

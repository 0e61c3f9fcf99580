#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""carat run at a terminal: a conversation through a pseudo-terminal."""
import json
import unittest

import pexpect

from harness import BASE, CARAT, NO_STOPS, TIMEOUT_S, Case

READY = ">>> "


class Terminal(Case):
    TERM = "xterm"

    def chat(self, model, *flags, **env):
        """The program at its first prompt."""
        child = pexpect.spawn(str(CARAT), ["run", str(model), "--temp", "0", *map(str, flags)],
                              env={**self.env, "TERM": self.TERM, "NO_COLOR": "1", **env},
                              cwd=str(self.folder), timeout=TIMEOUT_S, encoding="utf-8",
                              codec_errors="replace", dimensions=(50, 200))
        self.addCleanup(child.close, force=True)
        child.expect_exact(READY)
        return child

    def ask(self, child, line):
        """Types a line and returns what is shown until the next prompt."""
        child.sendline(line)
        child.expect_exact(READY)
        return child.before

    def saved(self, child, name="saved.json"):
        self.assertIn("saved", self.ask(child, f"/save {name}"))
        return json.loads((self.folder / name).read_text())

    def leave(self, child, line="/exit"):
        child.sendline(line)
        child.expect(pexpect.EOF)
        child.close()
        self.assertEqual((child.exitstatus, child.signalstatus), (0, None))


class Chat(Terminal):
    FLAGS = ("--max-tokens", "6")

    def test_keeps_the_history(self):
        child = self.chat(self.chat_model(), *self.FLAGS)
        self.ask(child, "Hello")
        self.ask(child, "And w\u00f6rld?")
        messages = self.saved(child)["messages"]
        self.assertEqual([m["role"] for m in messages], ["user", "assistant"] * 2)
        self.assertEqual([m["content"] for m in messages[::2]], ["Hello", "And w\u00f6rld?"])
        self.leave(child)

    def test_reuses_what_the_cache_holds(self):
        child = self.chat(self.chat_model(), *self.FLAGS, "--verbose")
        self.assertIn("(0 from the cache)", self.ask(child, "Hello"))
        self.assertNotIn("(0 from the cache)", self.ask(child, "Again"))
        self.leave(child)

    def test_system_reset_save_and_load(self):
        child = self.chat(self.chat_model(), *self.FLAGS, "--system", "One.")
        self.assertIn("One.", self.ask(child, "/system"))
        self.ask(child, "/system Be brief.")
        self.ask(child, "Hello")
        first = self.saved(child)
        self.assertEqual(first["system"], "Be brief.")
        self.assertEqual(len(first["messages"]), 2)
        self.ask(child, "/reset")
        self.ask(child, "/system -")
        empty = self.saved(child, "empty.json")
        self.assertEqual((empty["system"], empty["messages"]), ("", []))
        self.assertIn("2 messages", self.ask(child, "/load saved.json"))
        self.assertEqual(self.saved(child, "again.json"), first)
        self.leave(child)

    def test_help_and_mistakes_do_not_end_it(self):
        child = self.chat(self.chat_model(), *self.FLAGS)
        for word in ("/system", "/reset", "/save", "/load", "/exit"):
            self.assertIn(word, self.ask(child, "/help"))
        self.assertIn("carat: no command /nonsense", self.ask(child, "/nonsense"))
        self.assertIn("needs a file name", self.ask(child, "/save"))
        self.assertIn("No such file", self.ask(child, "/load nosuch.json"))
        self.assertIn("cannot write", self.ask(child, "/save no/such/folder.json"))
        (self.folder / "bad.json").write_text("{}")
        self.assertIn("bad.json: format: expected", self.ask(child, "/load bad.json"))
        self.leave(child)

    def test_several_lines(self):
        child = self.chat(self.chat_model(), *self.FLAGS)
        child.sendline("one\\")
        child.expect_exact("... ")
        self.ask(child, "two")
        child.sendline('"""')
        child.expect_exact("... ")
        child.sendline("")
        child.expect_exact("... ")
        child.sendline("/three")
        child.expect_exact("... ")
        self.ask(child, '"""')
        contents = [m["content"] for m in self.saved(child)["messages"][::2]]
        self.assertEqual(contents, ["one\ntwo", "\n/three"])
        self.leave(child)

    def test_a_full_context_is_told_and_survived(self):
        child = self.chat(self.chat_model(), *self.FLAGS, "--ctx", "48")
        self.assertIn("context", self.ask(child, "long " * 60))
        self.assertEqual(self.saved(child)["messages"], [])
        self.ask(child, "Hi")
        self.assertEqual(len(self.saved(child)["messages"]), 2)
        self.leave(child)

    def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(self):
        child = self.chat(self.chat_model(), "--ctx", "50000", *NO_STOPS)
        child.sendline("Hello")
        child.expect_exact("Hello")
        child.expect(r"\S")
        child.sendintr()
        child.sendintr()  # one too many
        child.expect_exact("[stopped]")
        child.expect_exact(READY)
        messages = self.saved(child)["messages"]
        self.assertIn(len(messages), (0, 2))  # nothing, where it came before the first word
        self.ask(child, "/help")
        self.leave(child)

    def test_ctrl_c_at_the_prompt_asks_before_it_leaves(self):
        child = self.chat(self.chat_model(), *self.FLAGS)
        child.send("half a line")
        child.sendintr()
        child.expect_exact("leaves")
        child.expect_exact(READY)
        self.ask(child, "Hello")  # the half line is gone, and the warning is forgotten
        self.assertEqual(self.saved(child)["messages"][0]["content"], "Hello")
        child.sendintr()
        child.expect_exact(READY)
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
        self.assertEqual(child.exitstatus, 0)

    def test_ctrl_d_leaves(self):
        child = self.chat(self.chat_model(), *self.FLAGS)
        child.sendeof()
        child.expect(pexpect.EOF)
        child.close()
        self.assertEqual(child.exitstatus, 0)

    def test_colours_on_a_terminal_only_without_no_color(self):
        child = self.chat(self.chat_model(), *self.FLAGS)
        self.assertNotIn("\033[1;31m", self.ask(child, "/nonsense"))
        self.leave(child)


class PlainTerminal(Chat):
    """The same where lines cannot be edited."""
    TERM = "dumb"


class BaseModel(Terminal):
    FLAGS = ("--max-tokens", "6", *NO_STOPS)

    def test_continues_a_growing_text(self):
        child = self.chat(BASE, *self.FLAGS)
        self.ask(child, "Once upon a time")
        first = self.saved(child)
        self.assertEqual(first["format"], "carat-text")
        self.assertTrue(first["text"].startswith("Once upon a time"))
        self.ask(child, "")
        second = self.saved(child)["text"]
        self.assertTrue(second.startswith(first["text"]))
        self.assertGreater(len(second), len(first["text"]))
        self.ask(child, "New line")
        self.assertIn("\nNew line", self.saved(child)["text"])
        self.leave(child)

    def test_goes_on_with_a_saved_text(self):
        child = self.chat(BASE, *self.FLAGS)
        self.ask(child, "Once")
        text = self.saved(child)["text"]
        self.ask(child, "/reset")
        self.assertEqual(self.saved(child, "empty.json")["text"], "")
        self.ask(child, "/load saved.json")
        self.ask(child, "")
        self.assertTrue(self.saved(child)["text"].startswith(text))
        self.leave(child)

    def test_takes_no_instructions(self):
        child = self.chat(BASE, *self.FLAGS)
        self.assertIn("base model", self.ask(child, "/system Be brief."))
        self.leave(child)


if __name__ == "__main__":
    unittest.main()

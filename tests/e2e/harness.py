# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the program, small models, terminals.

Environment: CARAT_BIN the program (default build/carat), CARAT_GOLDEN a folder laid out like
tests/golden (default: that one).
"""
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CARAT = Path(os.environ.get("CARAT_BIN") or ROOT / "build" / "carat").resolve()
GOLDEN = Path(os.environ.get("CARAT_GOLDEN") or ROOT / "tests" / "golden").resolve()
BASE = GOLDEN / "text" / "e2b"  # a Hugging Face folder without a chat template
GGUF = GOLDEN / "gguf" / "tiny" / "e2b-Q4_0.gguf"

# Random weights end at once or never; without their stop tokens they never end.
NO_STOPS = [word for token in (1, 50, 106) for word in ("--logit-bias", f"{token}:-1000")]
TIMEOUT_S = 120


class Case(unittest.TestCase):
    """A test with a folder of its own and an environment without the user's settings."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="carat-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith("CARAT_") and key not in ("NO_COLOR", "LC_ALL", "LANG")}
        self.env |= {"CARAT_CACHE": str(self.folder / "cache"), "HOME": str(self.folder)}
        if os.environ.get("CARAT_ISA"):
            self.env["CARAT_ISA"] = os.environ["CARAT_ISA"]

    def carat(self, *arguments, stdin="", **options):
        """Runs the program to its end; texts are decoded as UTF-8."""
        return subprocess.run([CARAT, *map(str, arguments)], input=stdin.encode(), timeout=TIMEOUT_S,
                              capture_output=True, env=self.env, cwd=self.folder, **options)

    def ok(self, *arguments, stdin=""):
        run = self.carat(*arguments, stdin=stdin)
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        return run.stdout.decode()

    def ok_json(self, *arguments, stdin=""):
        return json.loads(self.ok(*arguments, stdin=stdin))

    def refused(self, status, *arguments, stdin=""):
        """The one line on standard error of a run that fails with `status`."""
        run = self.carat(*arguments, stdin=stdin)
        said = run.stderr.decode()
        self.assertEqual(run.returncode, status, said)
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertTrue(said.startswith("carat: "), said)
        self.assertEqual(run.stdout, b"")
        return said

    def chat_model(self):
        """A copy of BASE that speaks Gemma 4's chat format."""
        model = self.folder / "chat-model"
        model.mkdir()
        for file in BASE.iterdir():
            if file.name != "expected.safetensors":
                (model / file.name).symlink_to(file)
        (model / "chat_template.jinja").write_text("{{ bos_token }}<|turn>user\n...<turn|>")
        return model

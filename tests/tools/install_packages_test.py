#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/install_packages.sh with stand-ins for dpkg-query and apt-get."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "install_packages.sh"


class InstallPackagesTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.bin = Path(holder.name)
        self.calls = self.bin / "calls"
        self.list = self.bin / "list.txt"
        # As the real one: a line for each name that was ever known, status 1 if one was not.
        self.tool("dpkg-query", 'printf "ii \\tg++\\nii \\tcmake\\nrc \\tfmt\\n"; exit 1')
        self.tool("apt-get", f'echo "$@" >>{self.calls}; case "$*" in *broken*) exit 100;; esac')
        self.tool("sudo", 'exec "$@"')

    def tool(self, name, body):
        (self.bin / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.bin / name).chmod(0o755)

    def install(self, packages):
        self.list.write_text(packages)
        run = subprocess.run([SCRIPT, self.list], capture_output=True, text=True,
                             env={**os.environ, "PATH": f"{self.bin}:/usr/bin:/bin"})
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        return run, calls

    def test_nothing_is_done_when_all_are_there(self):
        run, calls = self.install("# compilers\ng++\ncmake  # 3.25\n\nnone command=sh\n")
        self.assertEqual((run.returncode, run.stdout, calls), (0, "", []))

    def test_only_what_is_missing_is_installed(self):
        run, calls = self.install("g++\nfmt\nninja command=no-such-command\n")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stdout, "Installing Debian packages: fmt ninja\n")
        self.assertEqual(len(calls), 2)
        self.assertTrue(calls[0].endswith(" update"), calls)
        self.assertTrue(calls[1].endswith(" install fmt ninja"), calls)

    def test_failure_of_apt_is_ours(self):
        run, _ = self.install("broken\n")
        self.assertEqual(run.returncode, 1)
        self.assertIn("could not install: broken", run.stderr)

    def test_wrong_usage(self):
        self.assertEqual(subprocess.run([SCRIPT], stderr=subprocess.DEVNULL).returncode, 2)


if __name__ == "__main__":
    unittest.main()

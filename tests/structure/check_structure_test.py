#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of check_structure.py finds what it is for, and nothing in a clean tree."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).with_name("check_structure.py")
KERNELS = Path(__file__).with_name("check_kernel_objects.py")
CPP = "// SPDX-License-Identifier: Apache-2.0\n"
CLEAN = {
    "src/base/a.h": CPP + "#pragma once\n#include <tl/expected.hpp>\n",
    "src/base/a.cc": CPP + '#include "base/a.h"\n#include <nlohmann/json.hpp>\n',
    "src/tensor/b.h": CPP + '#pragma once\n#include <sys/mman.h>\n#include "base/a.h"\n',
    "src/runtime/r.cc": CPP + '#include "tensor/b.h"\n#include "carat/carat.h"\n',
    "include/carat/carat.h": CPP + "#pragma once\n#include <vector>\n",
    "apps/carat/main.cc": CPP + '#include "args.h"\n#include "base/a.h"\n#include "carat/carat.h"\n',
    "apps/carat/args.h": CPP + "#pragma once\n",
    "tools/x.sh": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n",
    "tests/golden/data.bin": "x" * 200_000,
}


class StructureTest(unittest.TestCase):
    def findings(self, rule, changes):
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**CLEAN, **changes}.items():
                path = Path(root) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            run = subprocess.run([sys.executable, CHECK, "--root", root, rule],
                                 stdout=subprocess.PIPE, text=True)
        lines = run.stdout.splitlines()
        self.assertEqual(run.returncode, 1 if lines else 0)
        return lines

    def assertFinds(self, rule, name, text, line, word):
        lines = self.findings(rule, {name: text})
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith(f"{name}:{line}: "), lines)
        self.assertIn(word, lines[0])

    def test_clean_tree_has_no_findings(self):
        for rule in ("layers", "headers", "sizes", "golden_size", "licence", "words"):
            self.assertEqual(self.findings(rule, {}), [])

    def test_layers(self):
        for name, include in (("src/base/x.cc", "tensor/b.h"), ("src/text/x.cc", "tensor/b.h"),
                              ("src/io/x.h", "runtime/r.h"), ("apps/carat/x.cc", "tensor/b.h"),
                              ("include/carat/x.h", "base/a.h")):
            self.assertFinds("layers", name, CPP + f'#include "{include}"\n', 2, "may not include")
        self.assertFinds("layers", "src/tensor/x.cc", CPP + '\n#include "b.h"\n', 3, "start at src")
        self.assertFinds("layers", "src/tensor/x.cc", '#include "base/none.h"\n', 1, "no such file")
        self.assertFinds("layers", "src/novel/x.cc", CPP, 1, "layer table")

    def test_headers(self):
        self.assertFinds("headers", "src/base/x.h", CPP, 1, "pragma")
        self.assertFinds("headers", "src/base/x.h", "#pragma once\n#include <CLI/CLI.hpp>\n", 2, "CLI")

    def test_sizes(self):
        self.assertFinds("sizes", "src/base/x.cc", CPP + "int x;\n" * 800, 801, "801 lines")
        self.assertFinds("sizes", "docs/x.svg", "x" * 100_001, 1, "100001 bytes")
        lines = self.findings("golden_size", {"tests/golden/y.bin": "x" * 39_800_001})
        self.assertEqual(len(lines), 1)

    def test_licence(self):
        self.assertFinds("licence", "src/base/x.cc", "#pragma once\n" + CPP, 1, "SPDX")
        self.assertFinds("licence", "tools/y.py", "#!/usr/bin/env python3\nprint()\n", 1, "SPDX")
        self.assertFinds("licence", "src/base/x.cc", "", 1, "SPDX")

    def test_words(self):
        self.assertFinds("words", "README.md", "a\nTO" + "DO: b\n", 2, "unfinished")
        self.assertFinds("words", "src/base/x.cc", 'auto x = "/wo' + 'rk/main";\n', 1, "machine")
        self.assertFinds("words", ".ci/run", "curl https://py" + "pi.org/simple\n", 1, "host")
        self.assertEqual(self.findings("words", {"README.md": "a network/wo" + "rk/load\n"}), [])

    def test_kernel_objects(self):
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "kernels/x86"
            folder.mkdir(parents=True)

            def check(source):
                (folder / "k.cc").write_text(source)
                subprocess.run(["c++", "-O0", "-c", "k.cc", "-o", "k_avx2.cc.o"], check=True,
                               cwd=folder)
                return subprocess.run([sys.executable, KERNELS, root], stdout=subprocess.PIPE,
                                      text=True)

            empty = subprocess.run([sys.executable, KERNELS, root], stdout=subprocess.DEVNULL)
            self.assertEqual(empty.returncode, 77)
            self.assertEqual(check("int F(int x) { return x; }").returncode, 0)
            weak = check("inline int G(int x) { return x; } int F(int x) { return G(x); }")
            self.assertIn("weak symbol G(int)", weak.stdout)
            self.assertEqual(weak.returncode, 1)
            start = check("int G(); int x = G();")
            self.assertIn("start-up", start.stdout)
            self.assertEqual(start.returncode, 1)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks rules of the source tree that no compiler checks.

    check_structure.py [--root DIR] RULE...
    check_structure.py --list

Each rule is a function below; what it finds is printed as file:line: message. Exit status 1 if
anything is found, 2 for an unknown rule.
"""
import argparse
import re
import subprocess
import sys
from pathlib import Path

# The modules of src/, lowest layer first: what each may include besides itself and include/carat.
# base <- tensor <- {kernels <- ops, io}; base <- text; ops + io <- model; model + text <- runtime.
MODULES = {
    "base": set(),
    "tensor": {"base"},
    "kernels": {"tensor", "base"},
    "ops": {"kernels", "tensor", "base"},
    "io": {"tensor", "base"},
    "text": {"base"},
    "model": {"ops", "io", "kernels", "tensor", "base"},
    "runtime": {"model", "text", "ops", "io", "kernels", "tensor", "base"},
}
# The program is a user of the public interface; nothing inside carat is closed to tests, fuzz
# targets and benchmarks.
APPS_MAY = {"base"}
# Third-party headers that headers of ours may include: the result type's two, and forward
# declarations.
HEADERS_MAY = {"fmt/core.h", "tl/expected.hpp", "nlohmann/json_fwd.hpp"}

MAX_LINES = 800
# Tables that a program wrote or that are data, not code.
LONG_ALLOWED = {"src/tensor/iq_grids.cc"}
MAX_BYTES = 100_000

CODE = {".h", ".cc", ".inl", ".cmake", ".py", ".sh", ".case"}
SPDX = "SPDX-License-Identifier: Apache-2.0"
# Written so that this file does not match itself.
FORBIDDEN = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b"), "unfinished work"),
    (re.compile(r"(?<![\w.])/(work|farm|root)(/|\b)"), "path of one machine"),
    (re.compile(r"/tmp/(brief|bash_jobs|build-)"), "path of one machine"),
    (re.compile(r"pypi\.o" r"rg|pythonhos" r"ted|registry\.np" r"mjs|deb\.debi" r"an"), "package host"),
]


def files_of(root):
    """Every file that is, or would be, under version control, relative to the root."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if git.returncode == 0:
        names = [name for name in git.stdout.decode().split("\0") if name]
        return sorted(Path(name) for name in set(names) if (root / name).is_file())
    return sorted(path.relative_to(root) for path in root.rglob("*")
                  if path.is_file() and not re.match(r"build|\.git", path.relative_to(root).parts[0]))


def is_golden_data(path):
    return path.parts[:2] == ("tests", "golden") and path.suffix != ".py"


def is_code(path):
    return (path.suffix in CODE or path.name in ("CMakeLists.txt", "Makefile") or
            path == Path(".ci/run")) and not is_golden_data(path)


def lines_of(root, path):
    try:
        return (root / path).read_text().splitlines()
    except UnicodeDecodeError:
        return []


def includes_of(root, path):
    """(line number, header, in quotes?) for each #include."""
    for number, line in enumerate(lines_of(root, path), 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)', line)
        if match:
            yield number, match[2], match[1] == '"'


def check_layers(root, files):
    """Includes go down the layers only, and start at src/ or include/."""
    for path in files:
        if path.suffix not in (".h", ".cc", ".inl"):
            continue
        area = path.parts[0]
        if area == "src" and len(path.parts) > 2:
            module = path.parts[1]
            if module not in MODULES:
                yield path, 1, f"module {module} is not in the layer table of this check"
                continue
            allowed = MODULES[module] | {module, "carat"}
        elif area == "apps":
            allowed = APPS_MAY | {"carat"}
        elif area == "include":
            allowed = {"carat"}
        else:
            continue
        for number, header, quoted in includes_of(root, path):
            if not quoted:
                continue
            first = header.split("/")[0]
            if area == "apps" and "/" not in header:
                continue  # a neighbour, or generated
            if ".." in header.split("/") or "/" not in header:
                yield path, number, f'"{header}" does not start at src/ or include/'
            elif first not in allowed:
                yield path, number, f'{"/".join(path.parts[:2])} may not include "{header}"'
            elif not ((root / "src" / header).is_file() or (root / "include" / header).is_file()):
                yield path, number, f'"{header}": no such file'


def check_headers(root, files):
    """Headers have #pragma once and no third-party headers but the few allowed ones."""
    for path in files:
        if path.suffix != ".h" or path.parts[0] not in ("src", "include", "apps"):
            continue
        # *.inl.h is included once per instruction set, on purpose.
        if "#pragma once" not in lines_of(root, path) and not path.name.endswith(".inl.h"):
            yield path, 1, "no #pragma once"
        for number, header, quoted in includes_of(root, path):
            third_party = not quoted and "/" in header and not header.startswith(("sys/", "linux/"))
            # Helpers of tests are part of tests.
            if third_party and header not in HEADERS_MAY and "test" not in path.stem:
                yield path, number, f"<{header}> belongs in a .cc file"


def check_sizes(root, files):
    """No source file above 800 lines, no file above 100 kB outside tests/golden."""
    for path in files:
        if path.parts[:2] == ("tests", "golden") and path.suffix != ".py":
            continue
        long = str(path) in LONG_ALLOWED
        count = len(lines_of(root, path))
        if is_code(path) and count > MAX_LINES and not long:
            yield path, count, f"{count} lines, at most {MAX_LINES}"
        size = (root / path).stat().st_size
        if size > MAX_BYTES and not long:
            yield path, 1, f"{size} bytes, at most {MAX_BYTES}"


def check_golden_size(root, files):
    """tests/golden stays below 40 MB."""
    total = sum((root / path).stat().st_size for path in files
                if path.parts[:2] == ("tests", "golden"))
    if total > 40_000_000:
        yield Path("tests/golden"), 1, f"{total} bytes, at most 40000000"


def check_licence(root, files):
    """The licence identifier is the first line (the second after #!)."""
    for path in files:
        if not is_code(path):
            continue
        lines = lines_of(root, path)[:2]
        first = lines[1:] if lines and lines[0].startswith("#!") else lines[:1]
        if not (first and SPDX in first[0]):
            yield path, 1, f"does not begin with {SPDX}"


def check_words(root, files):
    """No machine paths, package hosts or marks of unfinished work."""
    for path in files:
        if is_golden_data(path) or path.name == "LICENSE":
            continue
        for number, line in enumerate(lines_of(root, path), 1):
            for pattern, what in FORBIDDEN:
                match = pattern.search(line)
                if match:
                    yield path, number, f"{what}: {match[0]}"


RULES = {
    "layers": check_layers,
    "headers": check_headers,
    "sizes": check_sizes,
    "golden_size": check_golden_size,
    "licence": check_licence,
    "words": check_words,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--list", action="store_true", help="print the rules")
    parser.add_argument("rules", nargs="*", metavar="RULE", help="default: all")
    args = parser.parse_args()
    if args.list:
        for name, rule in RULES.items():
            print(f"{name}: {rule.__doc__}")
        return 0
    unknown = [name for name in args.rules if name not in RULES]
    if unknown:
        print(f"unknown rule: {', '.join(unknown)}", file=sys.stderr)
        return 2
    files = files_of(args.root)
    found = 0
    for name in args.rules or RULES:
        for path, number, message in RULES[name](args.root, files):
            print(f"{path}:{number}: {message}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

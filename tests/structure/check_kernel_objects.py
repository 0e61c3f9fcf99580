#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks into the object files of kernels that are compiled for one instruction set.

    check_kernel_objects.py BUILD_DIR

Such an object may hold no weak symbol: the linker could pick its copy of an inline function, with
instructions that the machine may lack, for the whole program. It may hold no code that runs at
start-up either. Exit status 1 on a finding, 77 where no such object was built.
"""
import re
import subprocess
import sys
from pathlib import Path

ISA_OBJECT = re.compile(r"kernels/x86/.*_(avx2|avx512\w*)\.cc\.o$")


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def findings(path):
    for line in output_of("nm", "--demangle", path).splitlines():
        # "address kind name"; W, w, V, v: weak; u: unique to the whole program.
        match = re.match(r"[0-9a-f]*\s+([WwVvu])\s+(.*)", line)
        if match:
            yield f"weak symbol {match[2]}"
    for line in output_of("readelf", "--sections", "--wide", path).splitlines():
        if re.search(r"\.(init_array|ctors)\b", line):
            yield "code that runs at start-up (.init_array)"


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    objects = sorted(path for path in Path(sys.argv[1]).rglob("*.o") if ISA_OBJECT.search(str(path)))
    if not objects:
        print(f"{sys.argv[1]}: no kernel object for one instruction set here")
        return 77
    found = 0
    for path in objects:
        for finding in findings(path):
            print(f"{path.name}: {finding}")
            found += 1
    print(f"{len(objects)} objects, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

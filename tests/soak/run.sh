#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every case of this folder: `run.sh long` for `make soak`, `run.sh short` for CI.
#
# A case is an executable file tests/soak/NAME.case, called in the repository root with the word
# `short` or `long`. Its environment has CARAT (the program) and CARAT_BUILD (the build folder).
# Exit status 0: passed, 77: skipped (it says why), other: failed.
set -u
length=${1:-short}
cd "$(dirname "$0")/../.." || exit 1
CARAT_BUILD=${CARAT_BUILD:-$PWD/build}
CARAT=${CARAT:-$CARAT_BUILD/carat}
export CARAT CARAT_BUILD

passed=0 failed=0 skipped=0
for case in tests/soak/*.case; do
  [ -e "$case" ] || continue
  name=$(basename "$case" .case)
  start=$(date +%s)
  "$case" "$length"
  status=$?
  case $status in
    0) passed=$((passed + 1)) word=passed ;;
    77) skipped=$((skipped + 1)) word=SKIPPED ;;
    *) failed=$((failed + 1)) word="FAILED, status $status" ;;
  esac
  echo "soak ($length) $name: $word, $(($(date +%s) - start)) s"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

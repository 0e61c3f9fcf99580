#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Brings what tests use and the repository does not hold: the real model and the vocabulary derived
# from a public tokenizer. Exit status 0 also without a network (status 5 of the two scripts): the
# tests that need the data then report themselves as skipped.
set -u
cd "$(dirname "$0")/.." || exit 1

bring() {
  "$@" >/dev/null
  status=$?
  case $status in
    0) ;;
    5) echo "WARNING: $2 could not be brought; tests that need it will be SKIPPED" >&2 ;;
    *) echo "$0: $2 failed with status $status" >&2; exit 1 ;;
  esac
}

bring /usr/bin/python3 tools/fetch_model.py gemma3-270m
bring /usr/bin/python3 tools/derive_vocabulary.py

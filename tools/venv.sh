#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the project's virtual environment in the cache folder, where it is missing or broken, and
# prints its interpreter. It is made with Debian's interpreter, because another python3 on PATH may
# not see Debian's modules (numpy, pexpect), which tests use.
set -eu
cache=$("$(dirname "$0")/cache_dir.sh")
venv=$cache/venv
python=$venv/bin/python
if ! "$python" -c 'import pip' 2>/dev/null; then
  mkdir -p "$cache"
  rm -rf "$venv"
  /usr/bin/python3 -m venv --system-site-packages "$venv" >&2 || {
    echo "$0: cannot make $venv (Debian package python3-venv)" >&2
    exit 1
  }
fi
echo "$python"

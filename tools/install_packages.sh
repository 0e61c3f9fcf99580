#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs those Debian packages of the given lists that are missing:
#     tools/install_packages.sh .ci/packages-build.txt [LIST...]
# Nothing is downloaded, and no root needed, when all of them are there.
# A list has one package a line; "NAME command=CMD" is skipped where CMD exists. "#" starts a comment.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 LIST..." >&2; exit 2; }
command -v dpkg-query >/dev/null || {
  echo "$0: this is no Debian system; install by hand what is named in: $*" >&2
  exit 1
}

wanted=$(sed -e 's/#.*//' "$@" | while read -r name condition; do
  [ -n "$name" ] || continue
  case "$condition" in
    command=*) ! command -v "${condition#command=}" >/dev/null 2>&1 || continue ;;
  esac
  echo "$name"
done)
# The first column is "ii " for an installed package; dpkg-query fails if it knows none of a name.
present=$(dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\n' $wanted 2>/dev/null |
          sed -n 's/^.i \t//p' || true)
missing=
for name in $wanted; do
  echo "$present" | grep -qxF -- "$name" || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "$0: needs root or sudo to install:$missing" >&2
    exit 1
  }
  root="sudo"
fi
echo "Installing Debian packages:$missing"
apt() {
  $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
    -o APT::Install-Recommends=false -o Dpkg::Use-Pty=0 "$@" </dev/null
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt update && apt install $missing; } >"$log" 2>&1; then
  tail -n 25 "$log" >&2
  echo "$0: apt-get could not install:$missing" >&2
  exit 1
fi

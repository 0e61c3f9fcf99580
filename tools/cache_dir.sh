#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the cache folder: $CARAT_CACHE, else $XDG_CACHE_HOME/carat, else ~/.cache/carat.
if [ -n "${CARAT_CACHE:-}" ]; then
  echo "$CARAT_CACHE"
else
  echo "${XDG_CACHE_HOME:-$HOME/.cache}/carat"
fi

#!/usr/bin/env bash
# Puts virtme-ng (PyPI) into a Python environment of its own, outside the tree, where it is missing.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=1.42
venv=$cache/venv
if [ ! -x "$venv/bin/vng" ]; then
  say "installing virtme-ng $version"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "virtme-ng==$version" ||
    die "pip cannot install virtme-ng $version; see its message above"
fi

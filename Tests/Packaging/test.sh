#!/usr/bin/env bash
# test.sh: what `make ship` has built, as it is installed: its files, and the Debian package under systemd.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
Tests/Packaging/install.sh
packages=$(Tests/Packaging/deb.sh)
Tests/Packaging/library.sh $(sed 1d <<< "$packages")
Tests/Kernel/systemd/boot.sh next Tests/Kernel/systemd/package.sh "${packages%%$'\n'*}"

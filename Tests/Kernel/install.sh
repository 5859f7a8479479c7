#!/usr/bin/env bash
# install.sh PACKAGE...: installs those Debian packages that are missing, and asks for nothing else.
set -euo pipefail

missing=()
for package in "$@"; do
  # A package can be there under another's name (`Provides`): what is installed answers "ii".
  dpkg-query -W -f='${db:Status-Abbrev}\n' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
[ "$(id -u)" = 0 ] || root=(sudo)
echo "installing: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Lists that cannot be refreshed may still serve.
if ! { "${root[@]}" apt-get update -q || echo "apt-get update failed, going on with the lists at hand"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } > "$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "error: apt-get could not install ${missing[*]}; install them by hand and try again" >&2
  exit 1
fi

#!/usr/bin/env bash
# library.sh PACKAGE...: installs liblinuxheaps0 and liblinuxheaps-dev by dpkg, over this machine's file system, copy-on-write. README's
# program and the examples are compiled as they say, and run; without the packages nothing is left. The same program with what install.sh
# puts into /usr/local. Needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [ -z "${LIBRARY_TEST:-}" ]; then
  LIBRARY_TEST=$(mktemp -d)
  export LIBRARY_TEST
  trap 'rmdir "$LIBRARY_TEST"' EXIT
  unshare --mount "$0" "$@"
  exit
fi
mount -t tmpfs tmp "$LIBRARY_TEST"
for folder in usr etc var; do
  mkdir -p "$LIBRARY_TEST"/{new,work}/$folder
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$LIBRARY_TEST/new/$folder,workdir=$LIBRARY_TEST/work/$folder" /$folder
done
work=$LIBRARY_TEST/program
mkdir "$work"
architecture=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
packages=($(for package in "$@"; do dpkg-deb -f "$package" Package; done))

dpkg -i "$@" > "$work/log" || { cat "$work/log" >&2; exit 1; }
cp Examples/C/service.{c,cpp} "$work"
sed -n '/^```c$/,/^```$/{/^```$/q;/^```/!p}' README.md > "$work/program.c"
# As README says it, which has the examples, too.
grep -oE '(cc|c\+\+) .*\$\(pkg-config --cflags --libs linuxheaps\) -o [a-z]+' README.md > "$work/commands"
[ "$(wc -l < "$work/commands")" = 3 ]
while read -r command; do
  (cd "$work" && bash -euc "$command")
  program=$work/${command##* }
  [[ $(ldd "$program") == */$architecture/liblinuxheaps.so.0\ * ]]
  if [ "$program" = "$work/program" ]; then
    "$program"
    continue
  fi
  rm -f "$program.sock"
  "$program" "$program.sock" > /dev/null &
  service=$!
  python3 Tests/Interface/client.py "$program.sock"
  kill "$service"
  wait "$service" || true
done < "$work/commands"

dpkg -P "${packages[@]}" > "$work/log" || { cat "$work/log" >&2; exit 1; }
left=$(cd "$LIBRARY_TEST/new" && find . -name '*linuxheaps*' ! -type c ! -path './var/lib/dpkg/*')
[ -z "$left" ] || { echo "left by ${packages[*]}: $left" >&2; exit 1; }
echo "${packages[*]}: installed, used, and gone"

export PREFIX=/usr/local
packaging/install.sh install
(cd "$work" && bash -euc "$(head -n 1 commands)" && [[ $(ldd program) == */usr/local/lib/liblinuxheaps.so.0\ * ]] && ./program)
packaging/install.sh uninstall
if ldconfig -p | grep liblinuxheaps; then exit 1; fi
echo "$PREFIX: installed, used, and gone"

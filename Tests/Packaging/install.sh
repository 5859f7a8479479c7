#!/usr/bin/env bash
# install.sh: what `make install` puts where, that `make uninstall` takes it away again, and that
# heapd's page has the options that heapd has. Needs what packaging/ship.sh has built.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
ship=${SHIP:-.build-ship}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
# expect WHAT SEEN EXPECTED
expect() {
  [ "$2" = "$3" ] && echo "pass  install: $1" && return
  echo "FAIL  install: $1"
  diff <(echo "$3") <(echo "$2") | sed 's/^/      /'
  failed=1
}
files() { (cd "$1" && find . -mindepth 1 ! -type d -printf '%m %P\n' | LC_ALL=C sort -k2); }
root="$work/a folder"
# A make below another says which folder it enters, unless it is told not to.
run() { make -s --no-print-directory "$1" DESTDIR="$root" "${@:2}" 2>&1; }

verbs=$("$ship/dynamic/heapctl" --help | awk '/^SUBCOMMANDS/ {on = 1; next} on && /^  [a-z]/ {print $1}' | grep -v '^See$')
pages=$(for verb in $verbs; do echo "644 usr/local/share/man/man1/heapctl-$verb.1"; done)
expected=$(LC_ALL=C sort -k2 << EOF
644 etc/heapd.conf
755 usr/local/bin/heapctl
755 usr/local/bin/heapd
644 usr/local/lib/linux-heaps/liblinuxheaps-preload.so
644 usr/local/include/dmabufheap.h
644 usr/local/include/linuxheaps.h
644 usr/local/include/linuxheaps.hpp
644 usr/local/lib/liblinuxheaps.a
777 usr/local/lib/liblinuxheaps.so
644 usr/local/lib/liblinuxheaps.so.0
644 usr/local/lib/pkgconfig/linuxheaps.pc
644 usr/local/lib/systemd/system/heapd-metrics.socket
644 usr/local/lib/systemd/system/heapd-observer.socket
644 usr/local/lib/systemd/system/heapd.service
644 usr/local/lib/systemd/system/heapd.socket
644 usr/local/lib/sysusers.d/dmaheap.conf
644 usr/local/lib/sysusers.d/heapd.conf
644 usr/local/lib/udev/rules.d/00-linux-heaps.rules
644 usr/local/share/bash-completion/completions/heapctl
644 usr/local/share/doc/linux-heaps/examples/61-linux-heaps-video.rules
644 usr/local/share/fish/vendor_completions.d/heapctl.fish
$pages
644 usr/local/share/man/man1/heapctl.1
644 usr/local/share/man/man8/heapd.8
644 usr/local/share/zsh/site-functions/_heapctl
EOF
)
expect "nothing is said" "$(run install)" ""
expect "every file, and a page for each verb ($(echo $verbs))" "$(files "$root")" "$expected"
expect "the unit starts what is installed" \
  "$(grep ^ExecStart= "$root/usr/local/lib/systemd/system/heapd.service")" \
  "ExecStart=/usr/local/bin/heapd --store --config /etc/heapd.conf"
expect "heapctl runs" "$("$root/usr/local/bin/heapctl" --version | head -n 1 | cut -d' ' -f1)" heapctl
expect "the library needs C's alone" \
  "$(readelf -d "$root/usr/local/lib/linux-heaps/liblinuxheaps-preload.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')" libc.so.6
expect "it needs no library of Swift" "$(ldd "$root/usr/local/bin/heapctl" "$root/usr/local/bin/heapd" | grep -c swift)" 0

# The pages say what they should, and mandoc's macros are right.
for page in "$root"/usr/local/share/man/man?/*; do
  complaints=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 > /dev/null)
  expect "no complaint of $(basename "$page")" "$complaints" ""
done
expect "no page speaks of hidden verbs" "$(grep -rl demo-partner "$root/usr/local/share")" ""
expect "heapd's page has heapd's options" \
  "$(grep -o '^\.It Fl -[a-z-]*' "$root/usr/local/share/man/man8/heapd.8" | sed 's/.* -/--/' | sort)" \
  "$("$ship/dynamic/heapd" --help | grep -oE '^ +--[a-z-]+(, --[a-z-]+)?' | tr -d ' ' | tr ',' '\n' | sort)"

# The scripts are what their shells take.
completions=$root/usr/local/share
bash -n "$completions/bash-completion/completions/heapctl"
expect "bash reads its script" "$?" 0
zsh -n "$completions/zsh/site-functions/_heapctl"
expect "zsh reads its script" "$?" 0
expect "fish completes a verb" \
  "$(HOME=$work fish --no-config -c "source '$completions/fish/vendor_completions.d/heapctl.fish'; complete -C 'heapctl ver'" | cut -f1)" verify

echo "#mine" >> "$root/etc/heapd.conf"
run install > "$work/log"
expect "a changed configuration is kept" "$(tail -n 1 "$root/etc/heapd.conf")" "#mine"
# Pages of verbs that are gone.
touch "$root/usr/local/share/man/man1/heapctl-former.1"
expect "uninstall names what it keeps" "$(run uninstall)" "kept, for it was changed: $root/etc/heapd.conf"
expect "and keeps nothing else" "$(files "$root")" "644 etc/heapd.conf"
cp systemd/heapd.conf "$root/etc/heapd.conf"
# As a machine's files have them.
mkdir "$root/proc"
run uninstall > "$work/log"
expect "an unchanged one goes too, and folders but the system's" "$(cd "$root" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort | xargs)" \
  "etc proc usr usr/local usr/local/bin usr/local/include usr/local/lib usr/local/share usr/local/share/man"
run install PREFIX=/opt/heaps > "$work/log"
expect "another prefix" "$(files "$root" | grep -v ' opt/heaps/')" "644 etc/heapd.conf"
run uninstall PREFIX=/opt/heaps > "$work/log"
expect "all of which goes" "$(ls "$root/opt")" ""
run install PREFIX=/srv/heaps/ > "$work/log" && run uninstall PREFIX=/srv/heaps/ > "$work/log"
expect "also where it ends in a slash, and what it lies in stays" "$(find "$root/srv")" "$root/srv"
expect "a prefix that is no path from the root is refused" "$(run uninstall PREFIX=opt | head -n 1)" \
  "error: PREFIX begins with a slash: opt"
run install PREFIX=/opt/heaps > "$work/log"
expect "in the unit too" "$(grep -c '^ExecStart=/opt/heaps/bin/heapd ' "$root/opt/heaps/lib/systemd/system/heapd.service")" 1
expect "a prefix with a space is refused" "$(run install PREFIX="/opt/my heaps" | head -n 1)" \
  "error: PREFIX and LIBRARIES cannot have spaces, or one of & | \\ in them: /opt/my heaps, /opt/my heaps/lib"

# A source package has no repository: the commit is the environment's word, or not known.
mkdir "$work/source" && cp Package.swift "$work/source/"
commit() {
  (cd "$work/source" && GIT_CEILING_DIRECTORIES=$work "$@" swift package dump-package 2> /dev/null) |
    sed -n 's/.*BUILD_FACTS_COMMIT=\\"\(.*\)\\"".*/\1/p'
}
expect "no commit without a repository" "$(commit env -u LINUXHEAPS_COMMIT)" unknown
expect "but the environment's" "$(commit env LINUXHEAPS_COMMIT=v0.1.0)" v0.1.0

[ "$failed" = 0 ] && echo "install: passed"
exit "$failed"

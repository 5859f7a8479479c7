#!/usr/bin/env bash
# install.sh install|uninstall: puts the programs and what belongs to them into $DESTDIR, or takes
# them away. One list for both. `make install` calls it with
#   PREFIX   /usr/local; systemd, udev, man and the shells look there as they do in /usr
#   SHIP     the folder that ship.sh has filled
#   DESTDIR  where a package is made; empty for this machine
set -euo pipefail
verb=${1:?usage: install.sh install|uninstall}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$here"
: "${PREFIX:=/usr/local}" "${SHIP:=.build-ship}" "${DESTDIR:=}"
case $PREFIX in
/*) PREFIX=${PREFIX%/} ;;
*)
  echo "error: PREFIX begins with a slash: $PREFIX" >&2
  exit 64
  ;;
esac
: "${UNITS:=$PREFIX/lib/systemd/system}" "${RULES:=$PREFIX/lib/udev/rules.d}"
: "${ZSH:=$PREFIX/share/zsh/site-functions}" "${LIBRARIES:=$PREFIX/lib}"
config=/etc/heapd.conf
version=$(sed -n 's/.*static let version = "\(.*\)"/\1/p' Sources/BuildFacts/BuildFacts.swift)
examples=$PREFIX/share/doc/linux-heaps/examples
# Where heapctl looks for it: no place of the dynamic linker's.
preload=$PREFIX/lib/linux-heaps

# systemd splits a unit's words at them, as a compiler splits pkg-config's, and sed(1) below reads the others.
case $PREFIX$LIBRARIES in
*[[:space:]\&\|\\]*)
  echo "error: PREFIX and LIBRARIES cannot have spaces, or one of & | \\ in them: $PREFIX, $LIBRARIES" >&2
  exit 64
  ;;
esac

# put MODE SOURCE TARGET
if [ "$verb" = install ]; then
  put() { install -D -m "$1" "$2" "$DESTDIR$3"; }
  # As `put`, with the programs' folder in place of /usr/bin.
  put_unit() {
    put 644 "$1" "$2"
    sed -i "s|=/usr/bin/|=$PREFIX/bin/|" "$DESTDIR$2"
  }
  put_link() { ln -sf "$1" "$DESTDIR$2"; }
  put_pkgconfig() {
    put 644 "$1" "$2"
    sed -i -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBRARIES@|$LIBRARIES|" -e "s|@VERSION@|$version|" "$DESTDIR$2"
  }
  # A person's changes stay.
  put_config() { [ -e "$DESTDIR$2" ] || put 644 "$1" "$2"; }
else
  put() {
    rm -f "$DESTDIR$3"
    leave "$(dirname "$3")"
  }
  # Takes away a folder that is empty now, and those above it up to PREFIX, but for what systems have without this.
  leave() {
    local folder=$1 above
    above=$(dirname "$PREFIX")
    until is_systems "$folder" || [ "$folder" = "$above" ]; do
      rmdir "$DESTDIR$folder" 2> /dev/null || [ ! -e "$DESTDIR$folder" ] || break
      folder=$(dirname "$folder")
    done
  }
  is_systems() {
    case ${1/#\/usr\/local/\/usr} in
    / | /etc | /opt | /usr | /usr/bin | /usr/include | /usr/lib | /usr/share | /usr/share/man) ;;
    *) return 1 ;;
    esac
  }
  put_unit() { put 644 "$1" "$2"; }
  put_link() { put 644 "$1" "$2"; }
  put_pkgconfig() { put 644 "$1" "$2"; }
  put_config() {
    if cmp -s "$1" "$DESTDIR$2"; then put 644 "$1" "$2"; fi
    [ ! -e "$DESTDIR$2" ] || echo "kept, for it was changed: $DESTDIR$2" >&2
  }
fi

put 755 "$SHIP/dynamic/heapctl" "$PREFIX/bin/heapctl"
put 755 "$SHIP/dynamic/heapd" "$PREFIX/bin/heapd"
put 644 "$SHIP/dynamic/liblinuxheaps-preload.so" "$preload/liblinuxheaps-preload.so"
put 644 "$SHIP/dynamic/liblinuxheaps.a" "$LIBRARIES/liblinuxheaps.a"
put 644 "$SHIP/dynamic/liblinuxheaps.so.0" "$LIBRARIES/liblinuxheaps.so.0"
put_link liblinuxheaps.so.0 "$LIBRARIES/liblinuxheaps.so"
put_pkgconfig packaging/linuxheaps.pc "$LIBRARIES/pkgconfig/linuxheaps.pc"
for header in linuxheaps.h linuxheaps.hpp dmabufheap.h; do
  put 644 "Sources/CLinuxHeapsInterface/include/$header" "$PREFIX/include/$header"
done
for unit in heapd.service heapd.socket heapd-observer.socket heapd-metrics.socket; do
  put_unit "systemd/$unit" "$UNITS/$unit"
done
put 644 systemd/heapd.sysusers "$PREFIX/lib/sysusers.d/heapd.conf"
put 644 udev/dmaheap.sysusers "$PREFIX/lib/sysusers.d/dmaheap.conf"
put 644 udev/00-linux-heaps.rules "$RULES/00-linux-heaps.rules"
put 644 udev/61-linux-heaps-video.rules "$examples/61-linux-heaps-video.rules"
put_config systemd/heapd.conf "$config"
put 644 packaging/heapd.8 "$PREFIX/share/man/man8/heapd.8"
put 644 "$SHIP/completions/bash" "$PREFIX/share/bash-completion/completions/heapctl"
put 644 "$SHIP/completions/zsh" "$ZSH/_heapctl"
put 644 "$SHIP/completions/fish" "$PREFIX/share/fish/vendor_completions.d/heapctl.fish"
man=$PREFIX/share/man/man1
if [ "$verb" = install ]; then
  # Of verbs that a former version had, too.
  rm -f "$DESTDIR$man"/heapctl.1 "$DESTDIR$man"/heapctl-*.1
  for page in "$SHIP"/man/*.1; do put 644 "$page" "$man/$(basename "$page")"; done
else
  rm -f "$DESTDIR$man"/heapctl.1 "$DESTDIR$man"/heapctl-*.1
  leave "$man"
fi
# Outside of /lib and /usr/lib the dynamic linker finds a library by its cache alone.
if [ -z "$DESTDIR" ] && ! ldconfig 2> /dev/null && [ "$verb" = install ]; then
  echo "As root, for programs that link to $LIBRARIES/liblinuxheaps.so.0: ldconfig"
fi

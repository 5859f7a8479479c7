#!/usr/bin/env bash
# deb.sh: makes $SHIP/linux-heaps_VERSION_ARCHITECTURE.deb of what ship.sh has built, prints its path. With ARCH=arm64 in the
# environment of what ship.sh has built for that, in .build-ship/arm64, and beside it for this machine: manual pages, completions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SHIP=${SHIP:-.build-ship}
version=$(sed -n 's/.*static let version = "\(.*\)"/\1/p' Sources/BuildFacts/BuildFacts.swift)
architecture=${ARCH:-$(dpkg --print-architecture)}
seconds=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH=$seconds
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
umask 022
mkdir "$root"

native=$SHIP
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
  SHIP=$native/$architecture
  rm -rf "$SHIP/man" "$SHIP/completions"
  cp -r "$native/man" "$native/completions" "$SHIP/"
fi

# Debian's own places, where they differ.
DESTDIR=$root PREFIX=/usr UNITS=/lib/systemd/system RULES=/lib/udev/rules.d \
  ZSH=/usr/share/zsh/vendor-completions packaging/install.sh install
documents=$root/usr/share/doc/linux-heaps
install -D -m 644 packaging/debian/copyright "$documents/copyright"
{
  echo "linux-heaps ($version) unstable; urgency=medium"
  printf '\n  * What is new is in NEWS.md, beside this file.\n\n'
  echo " -- LinuxHeaps maintainers <maintainers@linux-heaps.invalid>  $(LC_ALL=C date -u -d "@$seconds" -R)"
} > "$documents/changelog"
install -m 644 CHANGELOG.md "$documents/NEWS.md"
gzip -9n "$documents/changelog" "$root"/usr/share/man/man?/*

# What the programs link to, by Debian's own symbol files.
mkdir -p "$work/debian"
printf 'Source: linux-heaps\n\nPackage: linux-heaps\nArchitecture: any\n' > "$work/debian/control"
# It warns of what is only there when Debian's own tools build.
programs=("$(realpath "$native")"/dynamic/{heapctl,heapd,liblinuxheaps-preload.so})
depends=$(cd "$work" && dpkg-shlibdeps -O "${programs[@]}" 2> said |
  sed -n 's/^shlibs:Depends=//p') || { cat "$work/said" >&2; exit 1; }
if [ "$native" != "$SHIP" ]; then
  # It knows this machine's libraries. The other architecture's programs are of the same source: only the C library that they
  # are linked to is another, and its versions are those of its symbols.
  libc=$(readelf -VW "$SHIP"/dynamic/{heapctl,heapd,liblinuxheaps-preload.so} | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
  depends=$(sed "s/libc6 ([^)]*)/libc6 (>= ${libc#GLIBC_})/" <<< "$depends")
fi

mkdir "$root/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@DEPENDS@/$depends/" \
  -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" packaging/debian/control > "$root/DEBIAN/control"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/"
echo /etc/heapd.conf > "$root/DEBIAN/conffiles"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
package=$SHIP/linux-heaps_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" > /dev/null
echo "$package"

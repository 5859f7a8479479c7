#!/usr/bin/env bash
# deb.sh: makes packages of what ship.sh has built, $SHIP/NAME_VERSION_ARCHITECTURE.deb, and prints their paths: linux-heaps,
# liblinuxheaps0, and liblinuxheaps-dev for who compiles for that. With ARCH=arm64 in the environment of what ship.sh has built for that,
# in .build-ship/arm64, and beside it for this machine: manual pages, completions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SHIP=${SHIP:-.build-ship}
version=$(sed -n 's/.*static let version = "\(.*\)"/\1/p' Sources/BuildFacts/BuildFacts.swift)
architecture=${ARCH:-$(dpkg --print-architecture)}
seconds=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH=$seconds
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/linux-heaps
umask 022
mkdir -p "$root" "$work/debian"

native=$(realpath "$SHIP")
SHIP=$native
if [ "$architecture" != "$(dpkg --print-architecture)" ]; then
  SHIP=$native/$architecture
  rm -rf "$SHIP/man" "$SHIP/completions"
  cp -r "$native/man" "$native/completions" "$SHIP/"
fi

# Debian's own places, where they differ.
triplet=$(dpkg-architecture -a "$architecture" -q DEB_HOST_MULTIARCH)
DESTDIR=$root PREFIX=/usr LIBRARIES=/usr/lib/$triplet UNITS=/lib/systemd/system RULES=/lib/udev/rules.d \
  ZSH=/usr/share/zsh/vendor-completions packaging/install.sh install
# The library's parts are packages of their own.
move() {
  for file in "${@:2}"; do
    mkdir -p "$work/$1$(dirname "$file")"
    mv "$root$file" "$work/$1$file"
  done
}
libraries=/usr/lib/$triplet
move liblinuxheaps0 "$libraries/liblinuxheaps.so.0"
move liblinuxheaps-dev "$libraries/liblinuxheaps.so" "$libraries/liblinuxheaps.a" "$libraries/pkgconfig/linuxheaps.pc" /usr/include
rmdir -p --ignore-fail-on-non-empty "$root$libraries/pkgconfig"
install -D -m 644 CHANGELOG.md "$root/usr/share/doc/linux-heaps/NEWS.md"
gzip -9n "$root"/usr/share/man/man?/*

# Other programs' packages learn from it since when each function is there. A function that is gone, or none that it knows, ends this.
mkdir "$work/liblinuxheaps0/DEBIAN"
printf 'Source: linux-heaps\n\nPackage: liblinuxheaps0\nArchitecture: any\n' > "$work/debian/control"
(cd "$work" && DEB_HOST_ARCH=$architecture dpkg-gensymbols -c4 -q -pliblinuxheaps0 -v"$version" -Pliblinuxheaps0 \
  -I"$OLDPWD/packaging/debian/liblinuxheaps0.symbols" -Oliblinuxheaps0/DEBIAN/symbols > said) || { cat "$work/said" >&2; exit 1; }
echo "liblinuxheaps 0 liblinuxheaps0 (>= $version)" > "$work/liblinuxheaps0/DEBIAN/shlibs"
echo "activate-noawait ldconfig" > "$work/liblinuxheaps0/DEBIAN/triggers"

# dependencies FILE...: what files of this machine's architecture are linked to, by Debian's own symbol files.
dependencies() {
  # It warns of what is only there when Debian's own tools build.
  local depends libc
  depends=$(cd "$work" && dpkg-shlibdeps -O "${@/#/$native/dynamic/}" 2> said | sed -n 's/^shlibs:Depends=//p') || { cat "$work/said" >&2; return 1; }
  if [ "$native" != "$SHIP" ]; then
    # It knows this machine's libraries. The other architecture's programs are of the same source: only the C library that they
    # are linked to is another, and its versions are those of its symbols.
    libc=$(cd "$SHIP/dynamic" && readelf -VW "$@" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    depends=$(sed "s/libc6 ([^)]*)/libc6 (>= ${libc#GLIBC_})/" <<< "$depends")
  fi
  # Relocations in DT_RELR ask for it by a version that no symbol has.
  if (cd "$SHIP/dynamic" && readelf -VW "$@" | grep -q GLIBC_ABI_DT_RELR); then
    libc=$(printf '%s\n' 2.36 "$(sed -n 's/.*libc6 (>= \([0-9.]*\)).*/\1/p' <<< "$depends")" | sort -V | tail -n 1)
    depends=$(sed "s/libc6 ([^)]*)/libc6 (>= $libc)/" <<< "$depends")
  fi
  echo "$depends"
}

# pack NAME DEPENDENCIES
pack() {
  local name=$1 depends=$2 root=$work/$1 documents=$work/$1/usr/share/doc/$1 package=$SHIP/$1_${version}_$architecture.deb
  install -D -m 644 packaging/debian/copyright "$documents/copyright"
  {
    echo "linux-heaps ($version) unstable; urgency=medium"
    printf '\n  * What is new is in NEWS.md, in the folder linux-heaps beside this one.\n\n'
    echo " -- LinuxHeaps maintainers <maintainers@linux-heaps.invalid>  $(LC_ALL=C date -u -d "@$seconds" -R)"
  } | gzip -9n > "$documents/changelog.gz"
  mkdir -p "$root/DEBIAN"
  sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@DEPENDS@/$depends/" \
    -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" "packaging/debian/$name.control" > "$root/DEBIAN/control"
  (cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
  dpkg-deb --root-owner-group --build "$root" "$package" > /dev/null
  echo "${package#"$PWD/"}"
}

mkdir -p "$root/DEBIAN"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/"
echo /etc/heapd.conf > "$root/DEBIAN/conffiles"
pack linux-heaps "$(dependencies heapctl heapd liblinuxheaps-preload.so)"
pack liblinuxheaps0 "$(dependencies liblinuxheaps.so.0)"
pack liblinuxheaps-dev "liblinuxheaps0 (= $version)"

#!/usr/bin/env bash
# arm64.sh COMMAND...: runs COMMAND in the root of swift-6.2.sh, in the package's folder, with what compiles for arm64: over the
# root GNU's cross compiler and linker (aarch64-linux-gnu-), in /arm64 Debian's arm64 libraries with those of Swift, and an SDK of
# both for SwiftPM (--swift-sdks-path /arm64/sdks --swift-sdk arm64). They are unpacked into the cache once, and installed nowhere.
# Needs root. /build is the folder $LINUXHEAPS_BUILD, or .build-ship/arm64. The environment is what packaging/ship.sh asks for.
. "$(dirname "${BASH_SOURCE[0]}")/sid.sh"

# Run on this machine; make, flex, bison and bc are for kernels (Tests/Kernel/image.sh).
tools=(binutils-aarch64-linux-gnu gcc-aarch64-linux-gnu make flex bison bc)
# Linked to; beside them swiftlang and libswiftlang, Swift's libraries. Of the C library the stable release's, which a program that is
# linked to it asks for: sid's would be too new for boards.
libraries=(libc6:arm64/trixie libc6-dev:arm64/trixie linux-libc-dev libgcc-s1:arm64 libdrm2:arm64 libdrm-dev:arm64 zlib1g:arm64
  zlib1g-dev:arm64 libstdc++6:arm64 libxml2-16:arm64)

# unpack TARGET DEB...
unpack() {
  local target=$1 deb
  for deb in "${@:2}"; do dpkg-deb -x "$deb" "$target" || die "cannot unpack $deb"; done
}

make_layer() {
  local target=$1 log=$1.log swift newest
  prepare_arm64_apt
  swift=$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Version}' swiftlang)
  newest=$(arm64_apt apt-cache policy swiftlang:arm64 | awk '/Candidate:/ {print $2}')
  # A module is read by no other compiler than its own; what follows + is a rebuild of the package alone.
  [ "${swift%+*}" = "${newest%+*}" ] ||
    die "Debian sid has swiftlang $newest for arm64, and $root has $swift. To fix it: delete that folder"
  # libgcc and libstdc++ by the version of the compiler that is the default.
  libraries+=($(arm64_apt apt-cache depends g++:arm64 | sed -nE 's/^ *Depends: g\+\+-([0-9]+).*/libgcc-\1-dev:arm64 libstdc++-\1-dev:arm64/p'))
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/tools/partial" "$work/debs" "$work/layer/arm64/usr/lib"
  say "downloading what compiles for arm64: Debian sid's packages"
  # What the root lacks of them and of what they need.
  arm64_apt apt-get -o "Dir::State::Status=$root/var/lib/dpkg/status" -o "Dir::Cache::Archives=$work/tools" \
    -o Debug::NoLocking=true --no-install-recommends --download-only -y install "${tools[@]}" > "$log" 2>&1 ||
    die "cannot download ${tools[*]}; see $log"
  (cd "$work/debs" && arm64_apt apt-get download "${libraries[@]}" {swiftlang,libswiftlang}":arm64=$newest") >> "$log" 2>&1 ||
    die "cannot download ${libraries[*]}; see $log"
  unpack "$work/layer" "$work"/tools/*.deb
  # Of the compiler the libraries alone, but those for machines without a system. The tests' is a shared one alone.
  dpkg-deb --fsys-tarfile "$work"/debs/swiftlang_*.deb |
    tar -x -C "$work/layer/arm64" --exclude=./usr/libexec/swift/lib/swift/{embedded,host,pm} \
      ./usr/libexec/swift/lib/{swift,swift_static,clang}
  rm "$work"/debs/swiftlang_*.deb
  # The C library's linker scripts name /lib, and the compiler looks for what begins a program where Swift is at home.
  ln -s usr/lib "$work/layer/arm64/lib"
  ln -s ../libexec/swift/lib/swift{,_static} "$work/layer/arm64/usr/lib/"
  unpack "$work/layer/arm64" "$work"/debs/*.deb
  write_sdk "$work/layer/arm64/sdks/arm64.artifactbundle"
  mv -T "$work/layer" "$target"
  rm -rf "$log" "$work"
  say "what compiles for arm64 is ready: $(du -sh "$target" | cut -f1)"
}

# write_sdk FOLDER: `arm64`, which links to the static libraries, and `arm64-shared`, by Swift Evolution's proposal 387. Debian's compiler is
# built with assertions: it stops where its own intermediate code is not as it should be for its checks, on code that the released ones
# compile.
write_sdk() {
  local name libraries
  mkdir -p "$1"
  cat > "$1/info.json" << 'END'
{"schemaVersion": "1.0", "artifacts": {
  "arm64": {"type": "swiftSDK", "version": "1", "variants": [{"path": "arm64"}]},
  "arm64-shared": {"type": "swiftSDK", "version": "1", "variants": [{"path": "arm64-shared"}]}}}
END
  for name in arm64 arm64-shared; do
    libraries=swift
    [ "$name" = arm64-shared ] || libraries=swift_static
    mkdir "$1/$name"
    echo '{"schemaVersion": "1.0", "swiftCompiler": {"extraCLIOptions": ["-Xfrontend", "-sil-verify-none"]}}' > "$1/$name/toolset.json"
    cat > "$1/$name/swift-sdk.json" << END
{"schemaVersion": "4.0", "targetTriples": {"aarch64-unknown-linux-gnu": {
  "sdkRootPath": "/arm64",
  "toolsetPaths": ["toolset.json"],
  "swiftResourcesPath": "/arm64/usr/libexec/swift/lib/$libraries",
  "swiftStaticResourcesPath": "/arm64/usr/libexec/swift/lib/swift_static"}}}
END
  done
}

build=$(realpath -m "${LINUXHEAPS_BUILD:-$tree/.build-ship/arm64}")
mkdir -p "$build"
prepare_swift_root
layer=$cache/arm64-$({ echo "$root" "${tools[@]}" "${libraries[@]}"; declare -f make_layer write_sdk; } | sha256sum | cut -c1-12)
[ -d "$layer" ] || make_layer "$layer"
[ -n "${LINUXHEAPS_BUILD:-}" ] || write_home
inside env SHIP=/build SWIFT_SDK=arm64 SWIFT_SDKS=/arm64/sdks GNU=/usr/bin/aarch64-linux-gnu- SYSROOT=/arm64 \
  PKG_CONFIG_PATH=/arm64/usr/lib/aarch64-linux-gnu/pkgconfig PKG_CONFIG_SYSROOT_DIR=/arm64 "$@"

#!/usr/bin/env bash
# build.sh: makes a root of Debian sid with programs and libraries that know nothing of this package, compiles in there what uses the C
# interface with them, into .build/applications, and prints the root's folder. Needs root, and .build-ship/dynamic.
. "$(dirname "${BASH_SOURCE[0]}")/../Toolchains/sid.sh"

packages=gcc,libc6-dev,pkgconf,libdrm-dev,libcamera-tools
packages+=,libgstreamer-plugins-base1.0-dev,gstreamer1.0-plugins-good,gstreamer1.0-plugins-bad,gstreamer1.0-tools
packages+=,libvulkan-dev,mesa-vulkan-drivers,glslang-tools
packages+=,cargo,bindgen
prepare_root applications "$packages"
build=$tree/.build/applications
mkdir -p "$build"
inside Tests/Applications/compile.sh >&2
echo "$root"

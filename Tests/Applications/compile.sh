#!/usr/bin/env bash
# compile.sh: runs inside Debian sid (build.sh), in the package's folder: compiles into /build what uses the C interface with its libraries.
set -euo pipefail
cp .build-ship/dynamic/{heapctl,heapd,liblinuxheaps.so.0,liblinuxheaps-preload.so} /build
ln -sf liblinuxheaps.so.0 /build/liblinuxheaps.so
include=-ISources/CLinuxHeapsInterface/include
options=(-std=gnu11 -O1 -g -Wall -Wextra -Werror "$include")
libraries=(-L/build -llinuxheaps -Wl,-rpath,/build)

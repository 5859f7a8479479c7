# Sourced in a booted kernel, in the package's folder: copies the test bundle with Swift's libraries, and the programs that are
# shipped, with the Swift library inside, into the guest's memory, into $build, where every user reaches them. Loaded over
# 9p each start of a program takes twice as long, and one that loads Swift's libraries takes fifty times as long as
# one that has them inside.
build=$(mktemp -d /tmp/programs.XXXXXX)
chmod 755 "$build"
cp .build/debug/linux-heapsPackageTests.xctest .build-ship/dynamic/{heapctl,heapd,liblinuxheaps-preload.so,liblinuxheaps.so.0} "$build"
# Examples, which tests run.
cp .build/debug/{swap-chain,heap-client} "$build"
export LD_LIBRARY_PATH=$build
ldd "$build/linux-heapsPackageTests.xctest" | awk '/swift/ && $3 ~ /^\// {print $3}' | sort -u | xargs cp -t "$build"

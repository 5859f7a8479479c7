# Sourced in a booted kernel, in the package's folder: copies the test bundle, the programs and Swift's libraries into
# the guest's memory, into $build, where every user reaches them. Loaded over 9p each start of a program takes twice
# as long, and the tests start them by the hundred.
build=$(mktemp -d /tmp/programs.XXXXXX)
chmod 755 "$build"
cp .build-guest/release/{linux-heapsPackageTests.xctest,heapctl,heapd} "$build"
export LD_LIBRARY_PATH=$build
ldd "$build"/* | awk '/swift/ && $3 ~ /^\// {print $3}' | sort -u | xargs cp -t "$build"

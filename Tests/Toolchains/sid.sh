# Shared by the scripts that compile in Debian sid, in a root of its own that is made once: with its own compiler of Swift, 6.2, or
# against its libraries. Sourced, not run. Needs root.
#
# The package is seen read-only at /source; what is built is kept in $build, which is /build there. What runs there has its own
# mounts and process numbers, so that nothing is mounted and nothing runs any more when it has ended.
. "$(dirname "${BASH_SOURCE[0]}")/../Kernel/lib.sh"

compiler='6\.2(\.|$)'
# Beside the compiler: what Package.swift links to, SwiftPM's git, and the tests' Python and setfacl(1).
swift_packages=swiftlang,libdrm-dev,zlib1g-dev,pkg-config,git,ca-certificates,python3,acl
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
tree=$(cd "$here/../.." && pwd)

skip() {
  say "not run: $*"
  exit 77
}

# apt that knows sid and nothing else.
sid_apt() { private_apt "$1" -o "Dir::Etc::SourceList=$cache/apt/sid.list" -o Dir::Etc::SourceParts=/dev/null "${@:2}"; }

# make_root TARGET PACKAGES [CHECK...]: CHECK... may skip it, once the lists are read.
make_root() {
  local target=$1 log=$1.log packages=$2 mirror
  [ -n "$(command -v mmdebstrap)" ] || die "mmdebstrap is missing: run 'apt-get install mmdebstrap'"
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
  mirror=$(debian_mirror)
  echo "deb [signed-by=$keyring] $mirror sid main" > "$cache/apt/sid.list"
  # A mirror that is a snapshot has lists that have expired.
  sid_apt apt-get -o Acquire::Check-Valid-Until=false update > "$log" 2>&1 || die "apt-get update failed; see $log"
  "${@:3}"
  say "installing $packages of Debian sid into a folder"
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mmdebstrap --mode=root --variant=minbase --include="$packages" --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    sid "$work/root" "$cache/apt/sid.list" > "$log" 2>&1 || die "mmdebstrap failed; see $log"
  mkdir "$work/root/source" "$work/root/build"
  mv -T "$work/root" "$target"
  rm -rf "$log" "$work"
  say "it is ready: $(du -sh "$target" | cut -f1)"
}

has_swift() {
  local candidate
  candidate=$(sid_apt apt-cache policy swiftlang | awk '/Candidate:/ {print $2}')
  [[ $candidate =~ ^$compiler ]] || skip "Debian sid has no Swift 6.2 here, but swiftlang ${candidate:-(none)}"
}

# The dependencies as this machine's own SwiftPM resolves and fetches them, so that a mirror that it is
# configured to use serves in there too: each one's address stands for the repository fetched.
write_home() {
  local name location repositories
  mkdir -p "$build/home"
  printf '[safe]\n\tdirectory = *\n' > "$build/home/.gitconfig"
  if [ -z "$(command -v swift)" ]; then
    # This machine has no SwiftPM: the root's fetches them. Which ones is written beside the manifest, which is read-only in there.
    [ -e "$tree/Package.resolved" ] || {
      inside bash -c 'mkdir -p /build/resolve && cp Package.swift /build/resolve && cd /build/resolve && swift package resolve' >&2
      mv "$build/resolve/Package.resolved" "$tree/"
    }
    return
  fi
  (cd "$tree" && swift package resolve) >&2
  while read -r location; do
    name=$(basename "$location" .git)
    repositories=("$tree/.build/repositories/$name-"????????)
    [ -d "${repositories[0]}" ] || die "SwiftPM has no repository of $name in .build/repositories"
    printf '[url "/source/.build/repositories/%s"]\n\tinsteadOf = %s\n' "$(basename "${repositories[0]}")" "$location"
  done < <(sed -n 's/.*"location" : "\(.*\)".*/\1/p' "$tree/Package.resolved") >> "$build/home/.gitconfig"
}

# inside COMMAND...: with the folder $layer over the root, where one is named.
inside() {
  cp -L /etc/resolv.conf "$root/etc/resolv.conf" || true
  ROOT=$root LAYER=${layer:-} TREE=$tree BUILD=$build unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
    # Itself a mount, so that a test can have mounts of its own in there.
    if [ -n "$LAYER" ]; then
      mount -t overlay overlay -o "lowerdir=$LAYER:$ROOT" "$ROOT"
    else
      mount --bind "$ROOT" "$ROOT"
    fi
    mount -t proc proc "$ROOT/proc"
    mount --rbind /sys "$ROOT/sys"
    mount --rbind /dev "$ROOT/dev"
    mount -t tmpfs -o mode=1777 tmp "$ROOT/tmp"
    mount --bind "$TREE" "$ROOT/source"
    mount -o remount,bind,ro "$ROOT/source"
    mount --bind "$BUILD" "$ROOT/build"
    # Not chroot(1): who is in one cannot make user namespaces (user_namespaces(7)).
    cd "$ROOT"
    pivot_root . .
    umount -l .
    cd /
    exec /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      HOME=/build/home LANG=C.UTF-8 TERM="${TERM:-dumb}" \
      bash -c "cd /source && exec \"\$@\"" bash "$@"' bash "$@"
}

# prepare_root NAME PACKAGES [CHECK...]: sets $root, and makes it where it is missing.
prepare_root() {
  [ "$(id -u)" = 0 ] || skip "this needs root: sudo LINUXHEAPS_CACHE=$cache and the same command"
  root=$cache/$1-root-$({ echo "$2"; declare -f make_root; } | sha256sum | cut -c1-12)
  [ -d "$root" ] || make_root "$root" "${@:2}"
}

prepare_swift_root() { prepare_root swift-6.2 "$swift_packages" has_swift; }

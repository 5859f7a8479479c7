# Shared by the scripts in this folder; sourced, not run.
set -euo pipefail
# A make that these scripts call is not one of the make that called them: it would say which folder it
# enters, also where its output is an answer.
unset MAKEFLAGS MAKELEVEL MFLAGS

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LINUXHEAPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/linux-heaps}
mkdir -p "$cache/kernels"

# All that these scripts tell goes to stderr, with the seconds since they began; stdout carries answers.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# apt with lists, cache and one more source of our own, so that the machine's apt is left as it is.
private_apt() {
  local tool=$1
  shift
  "$tool" -o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache" \
    -o "Dir::Etc::SourceList=$cache/apt/backports.list" -o APT::Sandbox::User=root \
    -o APT::Get::List-Cleanup=false -o Acquire::Retries=3 -q "$@"
}

# The first Debian archive that the machine itself uses.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  if [ -z "$mirror" ]; then
    # Before the first `apt-get update` no origin is known: the plainest guess is the first source.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  fi
  [ -n "$mirror" ] || die "apt knows no Debian archive: this machine's apt sources are empty"
  echo "$mirror"
}

prepare_apt() {
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
  # Once a day is often enough to learn of a newer kernel.
  if [ -n "$(find "$cache/apt/updated" -mmin -1440 2>/dev/null)" ]; then return; fi
  local mirror
  mirror=$(debian_mirror)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie-backports main" > "$cache/apt/backports.list"
  say "reading package lists (this machine's own apt sources and trixie-backports)"
  if private_apt apt-get update > "$cache/apt/update.log" 2>&1; then
    touch "$cache/apt/updated"
  else
    say "warning: apt-get update failed, going on with the lists at hand; see $cache/apt/update.log"
  fi
}

# fetch_package NAME DIRECTORY: downloads and unpacks without installing.
fetch_package() {
  local name=$1 directory=$2
  mkdir -p "$directory"
  say "downloading $name"
  (cd "$directory" && private_apt apt-get download "$name" > download.log 2>&1) ||
    die "cannot download $name; see $directory/download.log"
  dpkg-deb -x "$directory"/*.deb "$directory" || die "cannot unpack $name"
  rm -f "$directory"/*.deb
}

candidate_version() { private_apt apt-cache policy "$1" | awk '/Candidate:/ {print $2}'; }

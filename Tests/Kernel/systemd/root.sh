#!/usr/bin/env bash
# root.sh: prints the folder of a file system with a real systemd in it, making it first where it is
# not cached. The folder holds `root.ext4`, which boot.sh attaches copy-on-write, and `packages`.
# Its Debian is this machine's own release, so that a program built here runs there. Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# Beside systemd: what a Swift program links to, and Python for small services and clients.
packages=systemd,systemd-sysv,udev,dbus,libdrm2,libgcc-s1,libstdc++6,python3
unit_file=$here/systemd/linux-heaps-guest.service
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# A sources.list with those suites of this release that this machine uses, wherever they are.
debian_sources() {
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' |
    awk -v c="$codename" -v k="$keyring" \
      '$2 ~ "^" c "(-updates|-security)?$" {print "deb [signed-by=" k "] " $0}' | sort -u
}

# Nothing may start by itself and slow an emulated machine: timers, logins, and the caches that
# systemd rebuilds when it finds /etc or /var older than /usr.
quieten() {
  local root=$1 unit
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty.target systemd-logind.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  install -m 644 "$unit_file" "$root/etc/systemd/system/"
  systemctl --root="$root" enable "$(basename "$unit_file")" 2> /dev/null
  echo linux-heaps > "$root/etc/hostname"
  sha256sum < "$root/var/lib/dpkg/status" | cut -c1-32 > "$root/etc/machine-id"
  mkdir "$root/package"
  touch "$root/etc/.updated" "$root/var/.updated"
}

build() {
  local target=$1 log=$1.log
  [ "$(id -u)" = 0 ] || die "this needs root: sudo LINUXHEAPS_CACHE=$cache $0"
  [ -n "$version" ] && [ "$version" != "(none)" ] || die "apt knows no systemd: run 'apt-get update'"
  [ -n "$(command -v mmdebstrap)" ] || die "mmdebstrap is missing: run 'make setup-systemd'"
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/done"
  debian_sources > "$work/sources.list"
  [ -s "$work/sources.list" ] || die "apt knows no archive of '$codename': run 'apt-get update'"
  say "installing systemd $version of $codename into a folder"
  mmdebstrap --mode=root --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$codename" "$work/root" "$work/sources.list" > "$log" 2>&1 || die "mmdebstrap failed; see $log"
  quieten "$work/root"
  dpkg-query --admindir="$work/root/var/lib/dpkg" -W > "$work/done/packages"
  # Twice what is in it: the guest writes into the rest. No journal: a run's writes are thrown away.
  mke2fs -q -t ext4 -O ^has_journal -L root -d "$work/root" "$work/done/root.ext4" \
    "$(($(du -sm "$work/root" | cut -f1) * 2))M" >> "$log" 2>&1 || die "mke2fs failed; see $log"
  mv -T "$work/done" "$target"
  rm -f "$log"
  say "systemd $version is ready: $(du -h "$target/root.ext4" | cut -f1)"
}

codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
version=$(apt-cache policy systemd | awk '/Candidate:/ {print $2}')
target=$cache/systemd-root-$version-$(cat "${BASH_SOURCE[0]}" "$unit_file" | sha256sum | cut -c1-12)
if [ ! -d "$target" ]; then
  # In a process of its own: what it cannot download ends it, and not this script.
  set +e
  (set -e && build "$target")
  set -e
fi
if [ ! -d "$target" ]; then
  target=$(newest_cached "$cache" "systemd-root-*-${target##*-}")
  [ -n "$target" ] || die "a root with systemd can be neither made nor found in $cache"
  say "warning: going on with $(basename "$target"), which is at hand"
fi
echo "$target"

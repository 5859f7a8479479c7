import Foundation
import LinuxHeaps
import TestSupport
import Testing

/// Machines that are really broken, each in a mount namespace of its own, so that only heapctl sees it.
@Suite(.enabled(if: Guest.isOne, "needs root on a machine with real heaps"))
struct DoctorGuestTests {
  /// An empty /dev/dma_heap and a function that puts the kernel's heaps into it as the kernel would.
  private static let freshNodes = """
    mount -t tmpfs -o mode=755 tmpfs /dev/dma_heap
    make() { IFS=: read -r major minor < "/sys/class/dma_heap/$1/dev"; mknod -m 600 "/dev/dma_heap/${2:-$1}" c "$major" "$minor"; }
    all() { for heap in /sys/class/dma_heap/*; do make "${heap##*/}"; done; }

    """

  private static let video = "$(getent group video | cut -d: -f3)"

  @Test func `as it is, nothing is broken, and devices take buffers`() throws {
    let run = try DoctorRun()
    #expect(run.ids("broken") == [])
    #expect(run.status == 0)
    #expect(run.finding("heap.usable")?.seen.hasPrefix("root may use system") == true)
    #expect(run.finding("import.taken")?.seen.contains("vgem") == true)
  }

  @Test(.enabled(if: Guest.hasRegion, "needs a contiguous region"))
  func `the largest free piece is found, and given back`() throws {
    for _ in 0..<2 {
      let run = try DoctorRun("--probe")
      #expect(run.finding("contiguous.largest")?.severity == "ok")
    }
  }

  @Test func `nodes that were removed`() throws {
    try expect(["heap.node-missing"], Self.freshNodes)
  }

  @Test func `one node that was removed`() throws {
    let run = try expect(
      ["heap.node-missing"], Self.freshNodes + "all; rm /dev/dma_heap/system")
    #expect(run.finding("heap.node-missing")?.seen.hasPrefix("/dev/dma_heap/system is") == true)
  }

  @Test func `a node of another device`() throws {
    try expect(
      ["heap.wrong-device"],
      Self.freshNodes + "all; rm /dev/dma_heap/system; mknod -m 600 /dev/dma_heap/system c 1 3")
  }

  @Test func `a link to another heap`() throws {
    try expect(
      ["heap.wrong-device"], Self.freshNodes + "all; ln -s system '/dev/dma_heap/linux,cma'"
    )
  }

  /// UDMABUF_CREATE. No driver answers it ENOTTY.
  @Test(arguments: ["0x00050001", "0x80000000"])
  func `a seccomp filter that refuses udmabufs, or ends who makes them`(_ answer: String) throws {
    let prefix = Prefix.filter("0x40187542", answer)
    let refused = try Run.heapctl("alloc", "--heap", "udmabuf", "--size", "1M", through: prefix)
    #expect(refused.status == 77)
    #expect(refused.error.contains("UDMABUF_CREATE is refused: a seccomp filter"))
    let run = try DoctorRun(through: prefix)
    #expect(run.ids("broken") == [])
    let told = [
      run.finding("udmabuf.refused")?.seen, try Run.unusable("udmabuf", through: prefix),
      try Run.unusable("hugetlb", through: prefix),
    ]
    for text in told {
      #expect(text?.contains("UDMABUF_CREATE is refused: a seccomp filter") == true, "\(told)")
    }
    #expect(try Run.unusable("system", through: prefix) == nil)
    let other = try Run.heapctl("alloc", "--heap", "system", "--size", "1M", through: prefix)
    #expect(other.status == 0)
  }

  /// DMA_BUF_SET_NAME_B. It is what is refused, and not the allocation before it.
  @Test func `a seccomp filter that refuses a buffer's name`() throws {
    let prefix = Prefix.filter("0x40086201", "0x00050001")
    let run = try DoctorRun(through: prefix)
    let found = try #require(run.finding("heap.allocation-refused"))
    #expect(found.seen.contains("DMA_BUF_SET_NAME is refused"), "\(found.seen)")
    for heap in ["system", "udmabuf"] {
      let refused = try Run.heapctl("alloc", "--heap", heap, "--size", "1M", through: prefix)
      #expect(refused.status == 77)
      #expect(refused.error.contains("DMA_BUF_SET_NAME is refused: a seccomp"), "\(refused.error)")
    }
  }

  @Test(arguments: ["0x00050001", "0x00050019", "0x80000000"])
  func `a seccomp filter that refuses the allocation, or ends who makes it`(_ answer: String) throws
  {
    let prefix = Prefix.filter("0xC0184800", answer)
    let run = try DoctorRun(through: prefix)
    let found = try #require(run.finding("heap.allocation-refused"))
    #expect(found.why.contains("seccomp filter"))
    #expect(found.fix?.contains("mknod") == false)
    let refused = try Run.heapctl("alloc", "--heap", "system", "--size", "1M", through: prefix)
    #expect(refused.status == 77)
    let listed = try Run.unusable("system", through: prefix)
    for text in [refused.error, listed] {
      #expect(
        text?.contains("DMA_HEAP_IOCTL_ALLOC is refused: a seccomp filter") == true, "\(text ?? "")"
      )
    }
    #expect(try Run.unusable("udmabuf", through: prefix) == nil)
  }

  /// ENOMEM, EMFILE and ENFILE.
  @Test(arguments: [
    ("0x0005000C", "heap.full"), ("0x00050018", "limits.descriptors"),
    ("0x00050017", "limits.open-files"),
  ])
  func `a heap that was refused a page is not said to have given one`(
    _ answer: String, _ id: String
  ) throws {
    let run = try DoctorRun(through: Prefix.filter("0xC0184800", answer))
    #expect(run.finding(id)?.severity == "broken")
    #expect(run.finding("heap.usable") == nil)
  }

  @Test func `a node with no driver`() throws {
    try expect(
      ["heap.no-driver"],
      Self.freshNodes + "all; mknod -m 600 /dev/dma_heap/gone c \"$major\" 99")
  }

  @Test func `a file in the node's place`() throws {
    try expect(
      ["heap.not-a-device"],
      Self.freshNodes + "all; rm /dev/dma_heap/system; touch /dev/dma_heap/system")
  }

  @Test func `a file system without devices`() throws {
    try expect(
      ["heap.nodev-mount"], Self.freshNodes + "all; mount -o remount,nodev /dev/dma_heap")
  }

  @Test func `a closed directory`() throws {
    try expect(
      ["heap.directory-closed"], Self.freshNodes + "all; chmod 700 /dev/dma_heap",
      as: Prefix.nobody)
  }

  @Test func `no rule`() throws {
    try expect(["udev.no-rule"], Self.freshNodes + Self.withoutRules + "all", as: Prefix.nobody)
  }

  @Test func `a rule that came after the nodes`() throws {
    try expect(
      ["udev.rule-not-applied"], Self.freshNodes + Self.withoutRules + "all\n" + Self.rule,
      as: Prefix.nobody(in: Self.video))
  }

  @Test func `a rule that no udevd applies`() throws {
    try expect(
      ["udev.not-running"],
      Self.freshNodes + Self.withoutRules + "all\n" + Self.rule + """

        if [ -d /run/udev ]; then mount -t tmpfs tmpfs /run/udev; fi
        """,
      flags: ["--mount", "--pid", "--fork", "--mount-proc"], as: Prefix.nobody(in: Self.video))
  }

  @Test func `not in the group, and in it`() throws {
    let given =
      Self.freshNodes + Self.withoutRules
      + "all; chgrp video /dev/dma_heap/*; chmod 660 /dev/dma_heap/*"
    let run = try expect(["heap.not-in-group"], given, as: Prefix.nobody)
    #expect(
      run.finding("heap.not-in-group")?.fix
        == (run.report.container == nil
          ? "sudo usermod -aG video nobody  # then log in again"
          : "docker run --group-add \(unsafe getgrnam("video")!.pointee.gr_gid) …  # the group's number; podman: the same")
    )
    try expect([], given, as: Prefix.nobody(in: Self.video))
  }

  @Test func `a mode that shuts the group out`() throws {
    try expect(
      ["heap.wrong-mode"],
      Self.freshNodes + Self.withoutRules + "all; chgrp video /dev/dma_heap/*",
      as: Prefix.nobody(in: Self.video))
  }

  @Test(.enabled(if: Guest.hasRegion, "needs a contiguous region"))
  func `only the legacy name`() throws {
    let run = try expect(
      [],
      Self.freshNodes + """
        make system
        make reserved
        IFS=: read -r major minor < /sys/class/dma_heap/system/dev
        own=$(cat /sys/class/dma_heap/reserved/dev)
        mount -t tmpfs tmpfs /sys/class/dma_heap
        mkdir /sys/class/dma_heap/system /sys/class/dma_heap/reserved
        echo "$major:$minor" > /sys/class/dma_heap/system/dev
        echo "$own" > /sys/class/dma_heap/reserved/dev
        """)
    #expect(run.ids("warning").contains("heap.legacy-name"))
  }

  @Test(.enabled(if: Guest.hasRegion, "needs a contiguous region"))
  func `a full region`() throws {
    try expect(
      ["contiguous.full"],
      """
      folder=$(mktemp -d)
      mkfifo "$folder/input"
      pages=$(awk '/CmaTotal/ {print $2}' /proc/meminfo)
      "$heapctl" alloc --contiguous --size "${pages}K" --hold < "$folder/input" > /dev/null 2> "$folder/said" &
      holder=$!
      exec 8> "$folder/input"
      while kill -0 "$holder" && ! grep -q '^held' "$folder/said"; do sleep 0.1; done
      status=0
      "$heapctl" "$@" || status=$?
      exec 8>&-
      wait "$holder"
      rm -r "$folder"
      exit "$status"
      """)
  }

  @Test(.enabled(if: Guest.hasRegion, "needs a contiguous region"))
  func `no contiguous region, and no huge pages`() throws {
    try expect(
      ["contiguous.no-region"],
      Self.withoutRegion + "mount -t tmpfs tmpfs /sys/kernel/mm/hugepages")
  }

  @Test func `huge pages where there is no contiguous region`() throws {
    let run = try expect([], Self.withoutRegion)
    #expect(run.finding("contiguous.huge-pages")?.severity == "ok")
    // The camera that takes contiguous memory alone (boot.sh).
    let camera = try #require(run.finding("import.contiguous-only"))
    #expect(camera.seen.hasSuffix("it takes one of hugetlb"))
    let fix = try #require(camera.fix?.prefix { $0 != "#" })
    let alloc = try Run.heapctl(fix.split(separator: " ").dropFirst().map(String.init))
    #expect(alloc.status == 0)
  }

  @Test func `few descriptors`() throws {
    try expect(["limits.descriptors"], "", as: "prlimit --nofile=24:24")
  }

  @Test func `a limit of the control group`() throws {
    let run = try expect(
      [],
      """
      root=/sys/fs/cgroup
      [ -f $root/cgroup.controllers ] || { root=$(mktemp -d); mount -t cgroup2 cgroup2 $root; }
      own=$root$(sed -n 's/^0:://p' /proc/self/cgroup)
      own=${own%/}
      grep -qw memory "$own/cgroup.subtree_control" || echo +memory > "$own/cgroup.subtree_control"
      group=$own/doctor-$$
      mkdir "$group"
      echo 256M > "$group/memory.max"
      status=0
      ( echo "$BASHPID" > "$group/cgroup.procs"; exec "$heapctl" "$@" ) || status=$?
      rmdir "$group" || true
      exit "$status"
      """)
    #expect(run.ids("warning").contains("cgroup.memory-limit"))
    #expect(run.finding("cgroup.memory-limit")?.seen.contains("is 256 MiB, of which") == true)
  }

  @Test func `devices whose nodes a dev of its own lacks`() throws {
    let run = try expect(
      [],
      """
      folder=$(mktemp -d)
      mount -t tmpfs -o mode=755 tmpfs "$folder"
      cp -a /dev/null /dev/zero /dev/urandom /dev/udmabuf "$folder"
      mkdir "$folder/dma_heap"
      mount --bind /dev/dma_heap "$folder/dma_heap"
      mount --rbind "$folder" /dev
      """)
    #expect(run.ids("warning").contains("import.node-missing"))
  }

  // MARK: Fixes

  struct Fault: Sendable, CustomTestStringConvertible {
    let id: String
    let provoked: String
    /// Who finds it, and whom it is mended for.
    var user = ""
    var mendedFor = Prefix.nobody(in: DoctorGuestTests.video)
    var testDescription: String { id }
  }

  private static let videoNodes =
    freshNodes + withoutRules + "all; chgrp video /dev/dma_heap/*; chmod 660 /dev/dma_heap/*\n"

  static let faults: [Fault] = [
    Fault(
      id: "heap.wrong-device",
      provoked: videoNodes + "rm /dev/dma_heap/system; mknod -m 600 /dev/dma_heap/system c 1 3; "
        + "chgrp video /dev/dma_heap/system; chmod 660 /dev/dma_heap/system"),
    // It has neither group nor mode of its own worth keeping.
    Fault(
      id: "heap.not-a-device",
      provoked: videoNodes + "rm /dev/dma_heap/system; touch /dev/dma_heap/system"),
    Fault(
      id: "heap.wrong-mode", provoked: videoNodes + "chmod 600 /dev/dma_heap/system",
      user: Prefix.nobody(in: video)),
    Fault(
      id: "heap.directory-closed", provoked: videoNodes + "chmod 700 /dev/dma_heap",
      user: Prefix.nobody(in: video)),
    Fault(
      id: "heap.not-in-group", provoked: videoNodes, user: Prefix.nobody,
      mendedFor: loggedInAgain),
    Fault(id: "heap.open-to-all", provoked: videoNodes + "chmod 666 /dev/dma_heap/system"),
    Fault(
      id: "udmabuf.closed",
      provoked: videoNodes + privateEtc + """
        usermod -aG video nobody
        folder=$(mktemp -d)
        mount -t tmpfs tmpfs "$folder"
        cp -a /dev/udmabuf "$folder"
        chown root:root "$folder/udmabuf"
        chmod 600 "$folder/udmabuf"
        mount --bind "$folder/udmabuf" /dev/udmabuf
        """,
      user: Prefix.nobody, mendedFor: loggedInAgain),
  ]

  private static let loggedInAgain = "setpriv --reuid=65534 --regid=65534 --init-groups"

  /// Who joins a group joins it here, for other tests ask the same users.
  private static let privateEtc = """
    etc=$(mktemp -d)
    cp -a /etc/. "$etc"
    mount --bind "$etc" /etc

    """

  /// Does what the doctor says against `id`.
  private static func carryOut(_ id: String, as user: String) -> String {
    """

    \(privateEtc)shims=$(mktemp -d)
    printf '#!/bin/sh\\nexec "$@"\\n' > "$shims/sudo"
    chmod 755 "$shims/sudo"
    fix=$(\(user) /proc/self/fd/9 doctor --verbose 2> /dev/null |
      awk -v id=\(id) '/^ *fix: / {sub(/^ *fix: /, ""); fix = $0} /^ *id: / && $2 == id {print fix; exit}')
    [ -n "$fix" ] || exit 99
    PATH=$shims:$PATH bash -c "$fix"
    rm -r "$shims"

    """
  }

  @Test(arguments: faults) func `the fix mends it`(_ fault: Fault) throws {
    let run = try expect(
      [], fault.provoked + Self.carryOut(fault.id, as: fault.user), as: fault.mendedFor)
    #expect(run.finding(fault.id) == nil)
  }

  @Test(.enabled(if: Guest.hasRegion, "needs a contiguous region"))
  func `a region in pieces is told by its buffers, and is in one when they are closed`() throws {
    let held = """
      folder=$(mktemp -d)
      mkfifo "$folder/input"
      exec 8<> "$folder/input"
      holders=()
      for one in 1 2 3 4 5 6 7; do
        "$heapctl" alloc --contiguous --size 8M --hold < "$folder/input" > /dev/null 2> "$folder/said" &
        holders+=($!)
        while ! grep -q '^held' "$folder/said"; do sleep 0.1; done
      done
      stop() { kill "$@"; wait "$@" || true; }
      stop ${holders[0]} ${holders[2]} ${holders[4]} ${holders[6]}

      """
    let others = "${holders[1]} ${holders[3]} ${holders[5]}"
    let probe = """
      status=0
      "$heapctl" "$@" --probe || status=$?
      [ -z "$left" ] || stop $left
      rm -r "$folder"
      exit "$status"
      """
    let broken = try expect([], held + "left=\"\(others)\"\n" + probe).finding(
      "contiguous.fragmented")
    #expect(broken?.why.hasPrefix("buffers that live on") == true)
    #expect(broken?.fix?.hasPrefix("sudo heapctl holders") == true)
    let mended = try expect([], held + "stop \(others); left=\n" + probe)
    #expect(mended.finding("contiguous.fragmented") == nil)
    #expect(mended.finding("contiguous.largest") != nil)
  }

  // MARK: Parts

  /// What a kernel shows that was booted with cma=0.
  private static let withoutRegion =
    freshNodes + """
      make system
      IFS=: read -r major minor < /sys/class/dma_heap/system/dev
      mount -t tmpfs tmpfs /sys/class/dma_heap
      mkdir /sys/class/dma_heap/system
      echo "$major:$minor" > /sys/class/dma_heap/system/dev
      if [ -d /sys/kernel/mm/cma ]; then mount -t tmpfs tmpfs /sys/kernel/mm/cma; fi
      folder=$(mktemp -d)
      sed 's/^Cma.*/CmaTotal: 0 kB/' /proc/meminfo > "$folder/meminfo"
      mount --bind "$folder/meminfo" /proc/meminfo
      echo cma=0 > "$folder/cmdline"
      mount --bind "$folder/cmdline" /proc/cmdline

      """
  private static let withoutRules = """
    for folder in /etc/udev/rules.d /run/udev/rules.d; do
      if [ -d "$folder" ]; then mount -t tmpfs tmpfs "$folder"; fi
    done

    """
  private static let rule = """
    mkdir -p /etc/udev/rules.d
    echo 'SUBSYSTEM=="dma_heap", GROUP="video", MODE="0660"' > /etc/udev/rules.d/60-heaps.rules
    """

  @discardableResult
  private func expect(
    _ broken: [String], _ script: String, flags: [String] = ["--mount"], as user: String = ""
  ) throws -> DoctorRun {
    let run = try DoctorRun(
      through: Prefix.namespace(script + "\n", flags: flags, as: user))
    #expect(run.ids("broken") == broken, "\(run.report.findings)")
    #expect(run.status == (broken.isEmpty ? 0 : 1))
    return run
  }
}

/// Where this runs: only the test kernels' guests name heaps, and there the test is root.
private enum Guest {
  private static let heaps =
    (ProcessInfo.processInfo.environment["LINUXHEAPS_HEAPS"] ?? "").split(separator: " ")
  static var isOne: Bool { heaps.contains("system") }
  static var hasRegion: Bool { heaps.contains("reserved") }
}

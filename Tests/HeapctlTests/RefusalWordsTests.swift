import Foundation
import LinuxHeaps
import TestSupport
import Testing

/// One machine, one cause: `list`, `alloc`, `doctor` and `heapd` say the same of it. Each in a mount namespace with a /dev of its own.
@Suite(.enabled(if: MachineTree.isPossible, "needs root, to make device nodes"))
struct RefusalWordsTests {
  /// A node of the kernel's number where it has the heap: nothing comes as far as its driver. No udev rules: where those of the machine
  /// speak of heaps, `doctor` tells first that the node is not as they say.
  private static func machine(_ script: String) -> String {
    """
    folder=$(mktemp -d)
    mount -t tmpfs -o mode=755 none "$folder"
    for rules in /etc /run /usr/local/lib /usr/lib /lib; do
      [ ! -d "$rules/udev/rules.d" ] || mount -t tmpfs -o mode=755 none "$rules/udev/rules.d"
    done
    for node in null urandom; do cp -a "/dev/$node" "$folder"; done
    mkdir "$folder/dma_heap"
    number=$(cat /sys/class/dma_heap/system/dev 2> /dev/null || echo 254:0)
    mount --move "$folder" /dev
    cd /dev/dma_heap
    mknod -m 660 system c "${number%:*}" "${number#*:}"
    chgrp 44 system
    \(script)
    cd /
    """
  }

  private static let user = "setpriv --reuid=1000 --regid=1000 --clear-groups"

  /// Of a fix that has the host's ids count: the tests' machine may itself be a container.
  private static let hostIDs =
    ["Docker", "docker"].contains(Surroundings().container)
    ? "docker run --userns=host" : "keep-groups"

  @Test(arguments: [
    ("chmod 700 .", user, "/dev/dma_heap is root:root 0700", "sudo chmod 755 /dev/dma_heap"),
    ("", user + " unshare -Ur", "not mapped in this user namespace", hostIDs),
    ("", user + " unshare -U", "not mapped in this user namespace", hostIDs),
    ("chgrp 3999 system", user, "is not in the group 3999", "docker run --group-add 3999"),
    (
      "mount -t tmpfs -o nodev none . && cd . && mknod -m 666 system c 254 0", user, "nodev",
      "remount,dev"
    ),
  ])
  func `every verb names the cause and the fix`(
    _ script: String, _ user: String, _ cause: String, _ fix: String
  ) throws {
    let prefix = Prefix.namespace(Self.machine(script), as: user)
    let alloc = try Run.heapctl("alloc", "--heap", "system", "--size", "1M", through: prefix)
    #expect(alloc.status == 77)
    let list = try Run.heapctl("list", through: prefix)
    #expect(list.status == 0)
    let doctor = try Run.heapctl("doctor", through: prefix)
    for text in [alloc.error, list.error, doctor.output] {
      let lines = text.replacingOccurrences(
        of: "lies in /dev/dma_heap, which", with: "/dev/dma_heap")
      #expect(lines.contains(cause), "\(text)")
      #expect(text.contains(fix), "\(text)")
      #expect(!text.contains("usermod") && !text.contains("ausearch"), "\(text)")
    }
    let json = try Run.heapctl("list", "--json", through: prefix).json
    let rows = try #require(json["heaps"] as? [[String: Any]])
    if let row = rows.first(where: { $0["name"] as? String == "system" }) {
      #expect(row["usable"] as? Bool == false)
      #expect((row["unusable"] as? String)?.contains(fix) == true)
    }
  }

  @Test(arguments: ["0x00050001", "0x80000000"])
  func `a seccomp filter that refuses memfds, or ends who makes them`(_ answer: String) throws {
    let prefix = Prefix.filter(nil, answer, call: 319)
    let refused = try Run.heapctl("alloc", "--heap", "memfd", "--size", "1M", through: prefix)
    #expect(refused.status == 77)
    #expect(
      refused.error.contains("memfd_create(2) is refused: a seccomp filter"), "\(refused.error)")
    for heap in ["memfd", "opaque"] {
      let listed = try #require(try Run.unusable(heap, through: prefix))
      #expect(listed.contains("memfd_create(2) is refused: a seccomp filter"), "\(listed)")
    }
    // Nor is it what serves where there are no heaps.
    let findings = try DoctorRun(through: prefix).report.findings
    #expect(!findings.contains { $0.area == "kernel" && $0.why.contains("--heap memfd") })
  }

  /// Nodes that no driver stands behind: nothing comes as far as that.
  private static let devices = """
    mknod -m 660 /dev/video0 c 81 250
    mkdir /dev/dri
    mknod -m 660 /dev/dri/card0 c 226 250
    chgrp 3999 /dev/video0 /dev/dri/card0
    """

  @Test(arguments: [
    (user, "is not in the group 3999", "docker run --group-add 3999"),
    (user + " unshare -U", "not mapped in this user namespace", hostIDs),
  ])
  func `cameras and displays are refused by the same words`(
    _ user: String, _ cause: String, _ fix: String
  ) throws {
    let prefix = Prefix.namespace(Self.machine(Self.devices), as: user)
    let camera = try Run.heapctl("camera", "--device", "/dev/video0", through: prefix)
    #expect(camera.status == 77)
    let doctor = try DoctorRun(through: prefix)
    let found = try #require(doctor.finding("import.closed"))
    let lines = try Run.heapctl("devices", through: prefix).output.split(separator: "\n")
    for path in ["/dev/video0", "/dev/dri/card0"] {
      let line = try #require(lines.first { $0.hasPrefix(path) })
      for text in [String(line), camera.error, found.seen + (found.fix ?? "")] {
        #expect(text.contains(cause), "\(text)")
        #expect(text.contains(fix), "\(text)")
        #expect(!text.contains("usermod"), "\(text)")
      }
    }
  }

  @Test(arguments: [
    ("root:3999", "660", user, "is not in the group 3999", "docker run --group-add 3999"),
    ("root:3999", "660", user + " unshare -U", "not mapped in this user namespace", hostIDs),
    ("root:0", "600", user, "does not let its group root connect to it", "SocketGroup="),
  ])
  func `so is heapd's socket, for who asks and for doctor`(
    _ owner: String, _ mode: String, _ user: String, _ cause: String, _ fix: String
  ) throws {
    // The service ends with the first process of its namespace.
    let prefix = Prefix.namespace(
      Self.machine(
        """
        mount -t tmpfs none /run
        mkdir -m 755 /run/heapd
        \(try Program.path("heapd")) --heap memfd --socket /run/heapd/heap.sock 2> /dev/null &
        until [ -S /run/heapd/heap.sock ]; do sleep 0.1; done
        chown \(owner) /run/heapd/heap.sock
        chmod \(mode) /run/heapd/heap.sock
        """), flags: ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"], as: user)
    let info = try Run.heapctl("info", through: prefix)
    #expect(info.status == 77)
    let found = try #require(try DoctorRun(through: prefix).finding("service.closed"))
    for text in [info.error, found.seen + (found.fix ?? "")] {
      #expect(text.contains(cause), "\(text)")
      #expect(text.contains(fix), "\(text)")
      #expect(!text.contains("ausearch"), "\(text)")
    }
  }

  @Test(arguments: [
    ("chgrp 44 .; chmod 777 .", "root:video 0777", "chmod go-w"),
    ("chgrp 44 .; chmod 1777 .", "root:video 1777", "chmod go-w"),
    ("chgrp 44 .; chmod 775 .", "root:video 0775", "chmod go-w"),
    ("chown 3999 .", "3999:root 0755", "chown root"),
  ])
  func `a directory that others may write to is listed as such`(
    _ script: String, _ status: String, _ fix: String
  ) throws {
    let prefix = Prefix.namespace(Self.machine(script))
    for words in [["list"], ["list", "--json"]] {
      let run = try Run.heapctl(words, through: prefix)
      #expect(run.status == 0)
      #expect(run.error.contains("/dev/dma_heap is \(status), so that"))
      #expect(run.error.contains("To fix it: sudo \(fix) /dev/dma_heap\n"))
    }
    let closed = Prefix.namespace(Self.machine("chmod go-w ."))
    #expect(try !Run.heapctl("list", through: closed).error.contains("may write"))
  }

  /// One is free, as far as heapctl itself needs none.
  @Test(arguments: [4, 5, 6, 8, 12])
  func `with few descriptors a heap is listed, and what it lacks is told`(_ limit: Int) throws {
    let prefix = Prefix.namespace(
      Self.machine("chmod 666 system"), as: "prlimit --nofile=\(limit)")
    let list = try Run.heapctl("list", through: prefix)
    if list.status == 0 {
      #expect(list.output.contains("\nsystem "), "\(list)")
    } else {
      #expect(list.error.contains("NO_RESOURCES"), "\(list)")
    }
    let alloc = try Run.heapctl("alloc", "--heap", "system", "--size", "1M", through: prefix)
    #expect(!alloc.error.contains("no such heap"), "\(alloc)")
  }

  /// Where nobody named a heap.
  @Test(arguments: [
    ("chmod 700 .", "(/dev/dma_heap): the directory is root:root 0700"),
    ("", "(/dev/dma_heap/system): the node is root:video 0660"),
  ])
  func `heaps that are closed are not replaced by other memory`(
    _ script: String, _ cause: String
  ) throws {
    let prefix = Prefix.namespace(Self.machine(script), as: Self.user)
    let daemon = [try Program.path("heapd"), "--socket", "/tmp/none"]
    let heapctl = [try Program.path("heapctl"), "alloc", "--size", "1M"]
    // What is behind a closed directory may be contiguous.
    let contiguous = script.isEmpty ? [] : [heapctl + ["--contiguous"]]
    for words in [daemon, heapctl] + contiguous {
      // One that serves all the same is ended.
      let run = try Run.program("/usr/bin/timeout", ["20"] + prefix + words)
      #expect(run.status == 77, "\(words)")
      #expect(run.error.contains(cause), "\(run.error)")
    }
  }

  /// As in most containers.
  @Test(arguments: [
    ("", "this machine has no /dev/dma_heap"),
    (
      "mkdir -p /sys/class/dma_heap/system && echo 254:0 > /sys/class/dma_heap/system/dev",
      "/dev/dma_heap has no node here, and the kernel has system: "
    ),
  ])
  func `where no heap has a node, memfd serves, and the reason is told`(
    _ script: String, _ cause: String
  ) throws {
    let prefix = Prefix.namespace(
      Self.machine("rm system; mount -t tmpfs none /sys/class; \(script)"))
    let reason = "the embedded memfd heap, because \(cause)"
    let alloc = try Run.heapctl("alloc", "--size", "1M", through: prefix)
    #expect(alloc.status == 0)
    #expect(alloc.output.contains("1 MiB of memfd"))
    #expect(alloc.error.contains("using \(reason)"), "\(alloc.error)")
    let daemon = try Daemon(heap: ["auto"], through: prefix)
    try daemon.expectLog(" warning ", "serving \(reason)")
    let served = try Run.heapctl("alloc", "--size", "1M", "--socket", daemon.socket)
    #expect(served.output.contains("1 MiB of memfd, served at"))
  }
}

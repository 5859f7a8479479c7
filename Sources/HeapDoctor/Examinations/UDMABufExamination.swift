internal import LinuxHeaps

/// /dev/udmabuf, which makes dma-bufs of ordinary pages where no heap may be used.
enum UDMABufExamination {
  static let path = UDMABufHeap.path

  private static let why = "dma-bufs of memfd pages, which need no heap, cannot be made"

  static func finding(_ machine: Machine) -> Finding {
    if let refusal = UDMABufHeap.refusal(in: machine.surroundings) {
      return Finding(
        .note, .udmabuf,
        refusal.cause == .nodeMissing ? "udmabuf.node-missing" : "udmabuf.closed",
        seen: "\(path) \(refusal.seen)", why: "\(refusal.why); \(why)",
        fix: refusal.fix)
    }
    guard machine.files.exists(path) else { return absence(machine) }
    if let failure = machine.failure(of: UDMABufHeap.name) {
      return Finding(
        .note, .udmabuf, "udmabuf.refused", seen: "\(path): \(failure.cause)", why: why,
        fix: failure.fix)
    }
    return Finding(.ok, .udmabuf, "udmabuf.usable", seen: limits(machine), why: "it needs no heap")
  }

  private static func limits(_ machine: Machine) -> String {
    let parameters = "/sys/module/udmabuf/parameters"
    var text = "\(path) may be opened"
    if let mebibytes = machine.files.number("\(parameters)/size_limit_mb"), mebibytes < 1 << 30 {
      text += "; a buffer has at most \((mebibytes << 20).asByteCount)"
    }
    if let list = machine.files.number("\(parameters)/list_limit") {
      text += "; made of at most \(list) pieces"
    }
    return text
  }

  private static func absence(_ machine: Machine) -> Finding {
    switch machine.configuration?["CONFIG_UDMABUF"] {
    case .off:
      return Finding(
        .note, .udmabuf, "udmabuf.not-built", seen: "the kernel was built without CONFIG_UDMABUF",
        why: why, fix: Fix.kernelOptions(["UDMABUF"], machine))
    case .builtIn:
      return Finding(
        .note, .udmabuf, "udmabuf.no-device",
        seen: "CONFIG_UDMABUF is built in, and /proc/misc has no udmabuf", why: why,
        fix: "sudo dmesg | grep udmabuf  # what the kernel said when it started")
    case .module, nil:
      return Finding(
        .note, .udmabuf, "udmabuf.not-loaded", seen: "\(path) is not there", why: why,
        fix: Fix.load(.udmabuf, machine))
    }
  }
}

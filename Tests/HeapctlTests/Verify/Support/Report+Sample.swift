import HeapReport

extension Report {
  /// A report with every outcome, every kind of heap, and names that would break a careless format.
  static let sample: Report = {
    var machine = Report.Machine(options: ["CMA": "y", "CMA_SIZE_MBYTES": "64", "PREEMPT_RT": "n"])
    machine.kernelVersion = "Linux version 7.3.4 (gcc 14.2.0) #1 SMP"
    machine.commandLine = "console=ttyS0 cma=64M root=\"LABEL=<a&b>\""
    machine.architecture = "aarch64"
    machine.model = "Board 5 'B'"
    machine.processor = "Cortex-A76"
    machine.processors = 4
    machine.pageBytes = 16384
    machine.memoryBytes = 8 << 30
    machine.availableBytes = 6 << 30
    machine.contiguousBytes = 64 << 20
    machine.contiguousFreeBytes = 3 << 20
    machine.distribution = "Debian GNU/Linux 13 (trixie)"
    machine.user = "user 1000, groups 44 1000"
    machine.optionsSource = "/proc/config.gz"
    var report = Report(
      kernelRelease: "7.3.4", date: "2026-01-31T12:00:00Z", seed: 4_294_967_295, machine: machine)
    report.heaps = [.node("system", "system"), .node(Self.odd, "other"), .memfd, .closed]
    report.results = [
      Result(
        heap: "system", check: "fence", claim: "a deletion returns when all is cleaned up",
        outcome: .pass, nanoseconds: 1_234_567),
      Result(
        heap: "system", check: "zeroed", claim: "buffers come back as zeroes", outcome: .fail,
        reason: "does not hold: buffer 3 is zero", nanoseconds: 2_000_000_000),
      Result(
        heap: "system", check: "drm-import", claim: "each device imports it or refuses it",
        outcome: .pass, nanoseconds: 5_000,
        devices: [
          DeviceAnswer(device: "/dev/dri/card0 (vkms)", answer: "imports"),
          DeviceAnswer(device: "/dev/dri/card1 (<b>#\r\nok 9)", answer: "refuses: \"I/O\" error"),
        ]),
      Result(
        heap: Self.odd, check: "zeroed", claim: "buffers come back as zeroes", outcome: .fail,
        reason: "allocate (</script>&]]>): \u{1}#\r\nok 9 forged. To fix it: boot with \"cma=64M\"",
        nanoseconds: 999),
      Result(
        heap: Self.odd, check: "child-by-import", claim: "an import is a child", outcome: .skip,
        reason: "no vgem # or vkms device (modprobe vgem as root)", nanoseconds: 850),
      Result(
        heap: Self.odd, check: "drm-import", claim: "each device imports it or refuses it",
        outcome: .pass, nanoseconds: 6_000,
        devices: [DeviceAnswer(device: "/dev/dri/card0 (vkms)", answer: "refuses: <none>")]),
      Result(
        heap: "memfd", check: "fence", claim: "a deletion returns when all is cleaned up",
        outcome: .pass, nanoseconds: 12_300),
      Result(
        heap: "protected,secure-video", check: "all", claim: "every check that a heap must pass",
        outcome: .skip, reason: "the processor cannot look into protected memory"),
    ]
    report.latencies = [
      Latency(heap: "system", sizeBytes: 4096, nanoseconds: [900, 1100, 5000, 1000]),
      Latency(
        heap: Self.odd, sizeBytes: 8 << 20, nanoseconds: [7_000_000], reason: "NO_MEMORY <full>"),
      Latency(heap: "memfd", sizeBytes: 4096, nanoseconds: [], reason: "refused"),
    ]
    return report
  }()

  /// A line break, a turn of direction, an accent on a `#`, and all that XML and shells care about.
  private static let odd = "<odd> & \"näme\" #\u{301} it's\nok 1 \u{202E}gnp ]]>"
}

extension Report.Heap {
  fileprivate static func node(_ name: String, _ role: String) -> Self {
    var heap = Report.Heap(name: name, kind: "dma-buf heap")
    heap.role = role
    heap.path = "/dev/dma_heap/\(name)"
    heap.mode = "0660"
    heap.owner = "root"
    heap.group = "video"
    return heap
  }

  fileprivate static let memfd = Report.Heap(name: "memfd", kind: "memfd")

  fileprivate static let closed: Self = {
    var heap = node("protected,secure-video", "protected")
    heap.usable = false
    heap.capacityBytes = 32 << 20
    heap.freeBytes = 1 << 20
    heap.duplicateOf = "secure"
    return heap
  }()
}

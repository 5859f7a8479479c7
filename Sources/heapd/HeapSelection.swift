internal import HeapServer
internal import LinuxHeaps

/// Which heap is served, and one line that says why.
struct HeapSelection {
  let make: HeapServer.MakeHeap
  /// As the status shows it.
  let name: String
  let reason: String

  /// - Parameter names: As on the command line: `auto`, one of those built in, or names of nodes.
  init(_ names: [String]) throws(HeapError) {
    guard names != ["auto"] else {
      let chosen = DefaultHeap()
      // Clients would get other memory than this machine has, for as long as the server runs. At boot
      // the nodes are open only once udev has come to them.
      guard chosen.isKernelHeap || HeapCatalog().heaps().isEmpty else {
        throw HeapError(
          .accessDenied, "serve the kernel's heaps",
          cause: "they are closed to this user; without them it would be \(chosen.reason)",
          fix: "join their group (udev/60-dma-heap.rules), or ask for --heap memfd")
      }
      reason = chosen.reason
      name = chosen.isKernelHeap ? "dma-buf" : MemfdHeap.name
      if chosen.isKernelHeap {
        make = { DMABufHeap(reclaimer: $0) }
      } else {
        make = { MemfdHeap(reclaimer: $0) }
      }
      return
    }
    let builtIn: [String: HeapServer.MakeHeap] = [
      MemfdHeap.name: { MemfdHeap(reclaimer: $0) },
      UDMABufHeap.name: { UDMABufHeap(reclaimer: $0) },
      OpaqueHeap.name: { OpaqueHeap(reclaimer: $0) },
    ]
    if let name = names.first, names.count == 1, let make = builtIn[name] {
      if name == UDMABufHeap.name { try UDMABufHeap.check("serve heap '\(name)'") }
      self.make = make
      self.name = name
      reason = "the \(name) heap, as asked"
      return
    }
    let known = HeapCatalog().heaps().map(\.name)
    for name in names where !known.contains(name) {
      throw HeapError(
        .notFound, "serve heap '\(name)'", cause: "there is no such heap",
        fix: "use auto, memfd, udmabuf, opaque, or nodes of /dev/dma_heap: "
          + (known.isEmpty ? "this machine has none" : known.joined(separator: " ")))
    }
    for name in names { try DMABufHeap().check(name, "serve heap '\(name)'") }
    name = names.joined(separator: ", ")
    make = { DMABufHeap(heaps: names, reclaimer: $0) }
    reason = "the heaps \(names.joined(separator: ", ")), as asked"
  }
}

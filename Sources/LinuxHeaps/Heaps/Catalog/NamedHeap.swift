internal import CLibrary
internal import SystemPackage

/// The heap that a command line asks for.
package struct NamedHeap: Sendable {
  /// One of those built in, or nodes of `/dev/dma_heap` in the order in which they are tried. Without any,
  /// the catalog chooses by role.
  package let names: [String]
  /// The nodes of `/dev/dma_heap` in whose place it can serve, as they were at the start. Memory of single pages serves for
  /// `system`, also where no device can import it.
  package let nodes: [String]
  /// One line that says which, and why.
  package let reason: String
  /// What keeps this process from the kernel's heaps, where it was not named and is none of them.
  private var obstacle: (path: String, what: String, refusal: AccessRefusal)?

  /// Those that have no node.
  private static let builtIn = [MemfdHeap.name, UDMABufHeap.name, OpaqueHeap.name]

  package init(_ names: [String]) {
    self.names = names
    nodes =
      switch names {
      case [MemfdHeap.name], [UDMABufHeap.name]: ["system"]
      default: names.filter { !Self.builtIn.contains($0) && $0 != HugeHeap.name }
      }
    reason = "the heap\(names.count == 1 ? "" : "s") \(names.joined(separator: ", ")), as asked"
  }

  /// The heap of a machine where nobody named one: the kernel's, else the embedded memfd heap.
  ///
  /// - Throws: Where it cannot be told which heaps there are.
  package init() throws(HeapError) {
    let catalog = HeapCatalog()
    try catalog.checkReadable("list the kernel's heaps")
    let entries = catalog.heaps()
    let refusals = entries.map { catalog.refusal(of: $0.name, among: entries) }
    if let first = refusals.first ?? nil, !refusals.contains(nil) {
      obstacle = (entries[0].path.string, "node", first)
    } else if let absence = catalog.absence() {
      obstacle = (HeapCatalog.directory, "directory", absence)
    }
    if !entries.isEmpty, obstacle == nil {
      names = []
      nodes = zip(entries, refusals).filter { $1 == nil }.map(\.0.name)
      let list = entries.map { "\($0.name) (\($0.role.rawValue))" }.joined(separator: ", ")
      reason = "the kernel's dma-buf heaps, because this machine has them: \(list)"
    } else {
      names = [MemfdHeap.name]
      nodes = ["system"]
      let cause =
        obstacle.map { "\($0.path) \($0.refusal.words)" } ?? "this machine has no /dev/dma_heap"
      reason = "the embedded memfd heap, because \(cause)"
    }
  }

  /// Why the kernel's heaps do not serve, where this machine has them and nobody named another.
  package func refusal(_ operation: String) -> HeapError? {
    obstacle.map { HeapError($0.refusal, operation, at: $0.path, of: $0.what) }
  }

  /// The same where they are closed: other memory would take the place of what is here. Where none has a node, as in a container
  /// without them, other memory is all that there is.
  package func refusalIfClosed(_ operation: String) -> HeapError? {
    obstacle?.what == "node" || obstacle?.refusal.cause == .directoryClosed
      ? refusal(operation) : nil
  }

  /// The heap that a word of a command line stands for: the path of a node, or of a link to one, is its name.
  package static func name(of word: String) -> String {
    let nodes = HeapCatalog.directory + "/"
    if word.hasPrefix(nodes) { return String(word.dropFirst(nodes.count)) }
    if word == UDMABufHeap.path { return UDMABufHeap.name }
    guard word.contains("/"), let whole = unsafe realpath(word, nil) else { return word }
    defer { unsafe free(whole) }
    let path = unsafe String(cString: whole)
    return path.hasPrefix(nodes) ? String(path.dropFirst(nodes.count)) : word
  }

  /// The built-in heap that cannot be in a list where it is. Udmabuf can be the last: devices take its buffers, too. Huge pages can be
  /// anywhere.
  package static func misplaced(in names: [String]) -> String? {
    let alone = names.last == UDMABufHeap.name ? names.dropLast() : names[...]
    return names.count > 1 ? alone.first(where: builtIn.contains) : nil
  }

  /// What is said of that to who gave `--heap`.
  package static func misplacement(in names: [String]) -> String? {
    misplaced(in: names).map { name in
      "--heap \(name) "
        + (name == UDMABufHeap.name ? "has to be the last" : "cannot be combined with other heaps")
    }
  }

  package var isBuiltIn: Bool { names.count == 1 && Self.builtIn.contains(names[0]) }

  package func make(reclaimer: Reclaimer = .shared) -> any LocalHeap {
    switch names {
    case [MemfdHeap.name]: MemfdHeap(reclaimer: reclaimer)
    case [UDMABufHeap.name]: UDMABufHeap(reclaimer: reclaimer)
    case [OpaqueHeap.name]: OpaqueHeap(reclaimer: reclaimer)
    default: DMABufHeap(heaps: names.isEmpty ? nil : names, reclaimer: reclaimer)
    }
  }

  /// Finds out whether this process can use each of the names, without an allocation.
  ///
  /// - Parameters:
  ///   - verb: What is to be done with the heap, for the error: `serve`.
  ///   - heaps: Those of the catalogue, where they were listed just before.
  /// - Throws: ``HeapError/Code/notFound`` where there is no such heap,
  ///   ``HeapError/Code/accessDenied`` where this process may not open it, or a filter refuses the request.
  package func check(_ verb: String, among heaps: [HeapEntry]? = nil) throws(HeapError) {
    let catalog = HeapCatalog()
    let heaps = heaps ?? catalog.heaps()
    for name in names {
      let operation = "\(verb) heap '\(name)'"
      if name == UDMABufHeap.name {
        try UDMABufHeap.check(operation)
      } else if isBuiltIn {
        try Memfd.check(operation)
      } else if name == HugeHeap.name {
        try HugeHeap.check(operation)
      } else {
        let candidate = HeapCandidate(name, heaps.first { $0.name == name }, in: catalog)
        do throws(HeapError) { try candidate.check(operation, among: heaps) } catch
          where error.errno == .noSuchFileOrDirectory
          && catalog.refusal(of: name, among: heaps) == nil
        {
          let known = heaps.filter { !catalog.isDangling($0) }.map(\.name)
          throw HeapError(
            .notFound, operation, cause: "there is no such heap",
            fix: "use \(Self.builtIn.joined(separator: ", ")), or a node of /dev/dma_heap: "
              + (known.isEmpty ? "this machine has none" : known.joined(separator: " ")))
        }
      }
    }
  }
}

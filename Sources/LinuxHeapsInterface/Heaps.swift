internal import BuildFacts
internal import CLibrary
public import CLinuxHeapsInterface
internal import HeapClient
internal import LinuxHeaps

/// A `lheap`.
struct CHeap: ~Copyable {
  enum Source {
    case local(any LocalHeap)
    case remote(RemoteHeap)
  }

  let source: Source
  /// Of a heap without a thread.
  let reclaimer: Reclaimer?
  /// Made when a process first opens a heap: its children have the locks that all heaps share, and open none.
  private static let first = ForkMark()

  var heap: any Heap {
    switch source {
    case .local(let heap): heap
    case .remote(let heap): heap
    }
  }

  /// - Parameter names: As ``NamedHeap`` takes them; nil for those of the machine.
  init(_ names: [String]?, _ flags: CUnsignedInt) throws(HeapError) {
    let operation = "open \(names?.joined(separator: ", ") ?? "a heap")"
    try Self.checkFork(operation)
    guard flags & ~CUnsignedInt(LHEAP_OWN_LOOP.rawValue) == 0 else {
      throw HeapError(.invalidArgs, operation, cause: "flags \(flags) are not known")
    }
    let named: NamedHeap
    if let names {
      if let name = NamedHeap.misplaced(in: names) {
        throw HeapError(
          .invalidArgs, operation, cause: "\(name) cannot stand before others",
          fix: "open it alone, or udmabuf as the last")
      }
      named = NamedHeap(names)
      try Self.check(names)
    } else {
      named = try NamedHeap()
      if let refusal = named.refusalIfClosed(operation) { throw refusal }
    }
    let reclaimer =
      flags & CUnsignedInt(LHEAP_OWN_LOOP.rawValue) != 0
      ? try Reclaimer(inCallersLoop: Reclaimer.Recheck()) : nil
    source = .local(named.make(reclaimer: reclaimer ?? .shared))
    self.reclaimer = reclaimer
  }

  /// Whether the heaps that are open here are a parent's. What takes back their buffers is not here.
  static var areParents: Bool { first.isParents }

  static func checkFork(_ operation: @autoclosure () -> String) throws(HeapError) {
    guard areParents else { return }
    throw HeapError(
      .badState, operation(),
      cause: "heaps were opened before fork(2), in the parent of this process",
      fix: "call exec(2) in the child before it uses heaps")
  }

  /// One that is absent is passed over, by ``DMABufHeap`` too, and may come later. One that is closed is not: what was asked for is here.
  private static func check(_ names: [String]) throws(HeapError) {
    var first: HeapError?
    for name in names {
      do throws(HeapError) {
        try NamedHeap([name]).check("open")
        return
      } catch  where error.code != .accessDenied {
        first = first ?? error
      }
    }
    if let first { throw first }
  }

  init(service socket: String) throws(HeapError) {
    try Self.checkFork("connect to a heap service")
    source = .remote(try RemoteHeap(socket: socket))
    reclaimer = nil
  }
}

/// A heap that this process has opened: the locks of a parent's may be held by threads that are not here.
func withHeap<Result: ~Copyable>(
  _ heap: OpaquePointer?, _ operation: @autoclosure () -> String,
  _ body: (borrowing CHeap) throws(HeapError) -> Result
) throws(HeapError) -> Result {
  try unsafe withObject(heap, operation()) { (heap: borrowing CHeap) throws(HeapError) in
    try CHeap.checkFork(operation())
    return try body(heap)
  }
}

private let opening = "open a heap"

@_cdecl("lheap_open")
public func heapOpen(
  _ name: UnsafePointer<CChar>?, _ flags: CUnsignedInt,
  _ heap: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let heap = unsafe try place(heap, opening)
    let names = try unsafe name.map { (name) throws(HeapError) in
      [NamedHeap.name(of: try unsafe text(name, opening))]
    }
    unsafe heap.pointee = stored(try CHeap(names, flags))
  }
}

@_cdecl("lheap_open_first_of")
public func heapOpenFirst(
  _ names: UnsafePointer<UnsafePointer<CChar>?>?, _ count: Int, _ flags: CUnsignedInt,
  _ heap: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let heap = unsafe try place(heap, opening)
    guard let names = unsafe names, count > 0 else {
      throw HeapError(.invalidArgs, opening, cause: "no name is given")
    }
    var words: [String] = []
    for index in 0..<count {
      words.append(NamedHeap.name(of: try unsafe text(names[index], opening)))
    }
    unsafe heap.pointee = stored(try CHeap(words, flags))
  }
}

@_cdecl("lheap_connect")
public func heapConnect(
  _ socket: UnsafePointer<CChar>?, _ heap: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let operation = "connect to a heap service"
    let heap = unsafe try place(heap, operation)
    let path =
      try unsafe socket.map { (socket) throws(HeapError) in try unsafe text(socket, operation) }
      ?? UnixAddress.heapService
    unsafe heap.pointee = stored(try CHeap(service: path))
  }
}

@_cdecl("lheap_close")
public func heapClose(_ heap: OpaquePointer?) {
  // A parent's is left as it is: its locks may be held by threads that are not here, and a connection is the parent's, too.
  if unsafe heap != nil, CHeap.areParents { return }
  unsafe free(heap, as: CHeap.self)
}

@_cdecl("lheap_get_properties")
public func heapProperties(
  _ heap: OpaquePointer?, _ properties: UnsafeMutablePointer<lheap_properties>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "read a heap's properties"
  return unsafe answer(error) { () throws(HeapError) in
    let structure = unsafe try place(properties, operation)
    try unsafe withHeap(heap, operation) { (heap) throws(HeapError) in
      let known = heap.heap.properties
      let domains = known.coherencyDomainSupport
      try unsafe write(
        lheap_properties(
          size: 0, cpu_supported: domains.cpuSupported, ram_supported: domains.ramSupported,
          inaccessible_supported: domains.inaccessibleSupported, need_clear: known.needClear,
          need_flush: known.needFlush), to: structure, operation)
    }
  }
}

@_cdecl("lheap_live_count")
public func heapLiveCount(_ heap: OpaquePointer) -> Int {
  unsafe UnsafeMutablePointer<CHeap>(heap).pointee.heap.liveBufferCount
}

@_cdecl("lheap_event_fd")
public func heapEventDescriptor(_ heap: OpaquePointer) -> CInt {
  unsafe UnsafeMutablePointer<CHeap>(heap).pointee.reclaimer?.descriptor ?? -1
}

@_cdecl("lheap_dispatch")
public func heapDispatch(_ heap: OpaquePointer) {
  unsafe UnsafeMutablePointer<CHeap>(heap).pointee.reclaimer?.turn()
}

private let version = CText(BuildFacts.version)

@_cdecl("lheap_version")
public func libraryVersion() -> UnsafePointer<CChar>? { unsafe version.bytes }

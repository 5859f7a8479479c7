internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// Closes what leaves a pool where that may wait: somebody had the dma-buf, and the last close takes the lock of each epoll that it was put
/// into (`eventpoll_release_file`, fs/eventpoll.c).
package protocol PoolCloser: AnyObject, Sendable {
  /// Returns at once, or waits for nobody.
  ///
  /// - Parameters:
  ///   - user: Who had it.
  ///   - letGo: Closes the descriptor here.
  ///   - closed: It is closed everywhere.
  func close(
    _ descriptor: CInt, of user: UInt32?, _ letGo: @escaping @Sendable () -> Void,
    closed: @escaping @Sendable () -> Void)
}

/// Dma-bufs that nobody refers to, ready to be handed out, and those that become so, on a thread of its own.
///
/// Whatever lies here counts in the heap's admission. The thread is there as long as there is something for it to do.
final class Pool: Sendable {
  /// Each has a descriptor.
  static let mostBuffers = 256

  /// A sixteenth of the descriptors that the process may have, where that is less.
  ///
  /// - Parameter files: An eighth of them at most, as ``FDInfoFiles/most`` is.
  static func mostBuffers(besides files: Int) -> Int { min(mostBuffers, files / 2) }

  /// Besides buffers and the files with their counts: two eventfds, PSI's file, /proc/self/fdinfo, and a pipe.
  static func mostDescriptors(besides files: Int) -> Int { mostBuffers(besides: files) + files + 6 }

  /// What tools show of a buffer that lies here.
  private static let name = "lh:pool"

  private let heap: DMABufHeap
  private let state: Guarded<PoolState>
  private let counts = FDInfoFiles()
  /// Whether a heap's buffers have pages that can be taken (``Zeroing/lendsPages(_:)``), once one came back.
  private let lending = Guarded<[String: Bool]>([:])
  /// Nil where the process may open no more files: nothing is pooled then.
  private let events: PoolEvents?
  private let closer = Guarded<(any PoolCloser)?>(nil)

  init(_ heap: DMABufHeap, _ settings: PoolSettings) {
    self.heap = heap
    state = Guarded(
      PoolState(settings: settings, mostBuffers: Self.mostBuffers(besides: counts.most)))
    events = try? PoolEvents()
  }

  var figures: PoolFigures { state.withLock { $0.figures } }

  var mostDescriptors: Int { Self.mostDescriptors(besides: counts.most) }

  var releasableBytes: UInt64 { state.withLock { $0.releasableBytes(at: .now) } }

  var hearsOfPressure: Bool { events?.hearsOfPressure == true }

  // MARK: From outside

  func begin() { callThread() }

  func change(_ settings: PoolSettings) {
    state.withLock { $0.settings = settings }
    callThread()
  }

  /// Of what somebody had.
  func closes(by closer: any PoolCloser) { self.closer.withLock { $0 = closer } }

  func closesNoMore(by closer: any PoolCloser) {
    self.closer.withLock { if $0 === closer { $0 = nil } }
  }

  /// Lets all go that lies here, and waits for what the thread has in hand to go. False where that was nothing.
  @discardableResult func empty() -> Bool {
    let (dropped, isInHand) = state.withLock { ($0.takeAll(), $0.awaitEndOfStep()) }
    for entry in dropped { end(entry) }
    if isInHand { events?.isGone.wait() }
    return isInHand || !dropped.isEmpty
  }

  /// All of it goes; what is handed out goes when it has ended.
  func close() {
    state.withLock { $0.isClosed = true }
    callThread()
  }

  /// Memory for the request that nobody else refers to, under its name; nil where none lies ready.
  func take(_ kind: PoolKind, _ request: borrowing BufferRequest) -> BufferMemory? {
    while let entry = takeEntry(kind, request.owner) {
      do throws(Errno) {
        try DMABuf.setName(request.key, of: entry.memory.parent.descriptor)
        // Nobody could have got at it, but for who may take any descriptor of this process.
        if try entry.memory.parent.children(counts, besides: 0) == .none {
          return wrapped(entry.memory, request.owner, entry.grant())
        }
      } catch {}
      end(entry)
    }
    return nil
  }

  private func takeEntry(_ kind: PoolKind, _ owner: UInt32?) -> PoolEntry? {
    let entry = state.withLock { $0.take(kind, owner) }
    // One that nobody had is made again.
    if entry?.memory.isNew == true { callThread() }
    return entry
  }

  /// What was made because none lay ready has its end here.
  func wrap(
    _ memory: consuming BufferMemory, _ kind: PoolKind, _ owner: UInt32?
  ) -> BufferMemory {
    guard events != nil, isPooled(memory) else { return memory }
    let isKept = state.withLock { state in
      if state.isHeldUp(owner, at: .now) { return false }
      state.missed(kind)
      return true
    }
    if !isKept { return memory }
    callThread()
    let heapName = memory.heapName
    return memory.wrapping {
      PooledParent(
        PoolMemory(
          parent: $0, heapName: heapName, kind: kind, owner: owner, isNew: false), self)
    }
  }

  private func wrapped(
    _ memory: PoolMemory, _ owner: UInt32?, _ grant: consuming Admission.Grant
  ) -> BufferMemory {
    var memory = memory
    memory.owner = owner
    memory.isNew = false
    return BufferMemory(
      parent: PooledParent(memory, self), heapName: memory.heapName, grant: grant)
  }

  /// Takes a buffer's memory back, if there is room for it. Nothing of others is closed here: whoever ends a small buffer does not wait
  /// for the pages of a large one.
  func takesBack(_ memory: PoolMemory) -> Bool {
    let entry = PoolEntry(memory, heap.admission.take(memory.kind.byteCount))
    let stays = state.withLock { $0.giveBack(entry, at: .now) }
    if !stays { entry.endCharge() }
    callThread()
    return stays
  }

  /// What was not taken back, and nobody else closes.
  func end(_ memory: PoolMemory) {
    end(PoolEntry(memory, heap.admission.take(memory.kind.byteCount)))
  }

  /// What somebody had is closed where no thread of the pool's waits for it.
  private func end(_ entry: PoolEntry) {
    guard !entry.memory.isNew, let closer = closer.withLock(\.self) else { return entry.end() }
    let number = state.withLock { $0.beginEnd(entry, at: .now) }
    let memory = entry.memory
    closer.close(memory.descriptor, of: memory.owner) {
      memory.letGo()
    } closed: { [self] in
      entry.endCharge()
      state.withLock { $0.endEnd(number) }
    }
  }

  /// Makes a second attempt for who lacked memory or a descriptor, when all that lay here is gone. Nil where that was nothing.
  func retry<Result: ~Copyable>(
    _ attempt: () throws(HeapError) -> Result
  ) throws(HeapError) -> Result? {
    state.withLock { $0.beginRetry() }
    var isServed = false
    defer {
      let hasThread = state.withLock { state in
        state.endRetry(isServed: isServed, at: .now)
        return state.hasThread
      }
      if hasThread { callThread() }
    }
    guard release() else { return nil }
    let result = try attempt()
    isServed = true
    return result
  }

  /// Waits besides, for a second, for what others close. False where that was nothing.
  private func release() -> Bool {
    let hadAny = empty()
    let last = state.withLock { $0.lastEnd }
    var isEnding = false
    while state.withLock({ $0.isEnding(upTo: last, at: .now) }) {
      isEnding = true
      usleep(200)
    }
    let hadFiles = !counts.isEmpty
    counts.close()
    return hadAny || isEnding || hadFiles
  }

  // MARK: The thread

  /// Has the thread look at the state. It is woken when the lock is free: on one processor it would run at once, and wait for it.
  private func callThread() {
    guard let events else { return }
    let starts: Bool? = state.withLock { state in
      if state.hasThread { return false }
      if state.isClosed && state.isEmpty { return nil }
      state.hasThread = true
      return true
    }
    guard let starts else { return }
    if !starts { return events.wakeUp.signal() }
    do throws(Errno) {
      try KernelThread.start("heap-pool") { [self] in work(events) }
    } catch {
      // The next call tries again.
      let going = state.withLock { state in
        state.hasThread = false
        return state.takeGoing()
      }
      for entry in going { end(entry) }
    }
  }

  private func work(_ events: PoolEvents) {
    while true {
      // Also where there is always something to do.
      if events.wait(until: .now) { letGo() }
      switch state.withLock({ $0.next(at: .now) }) {
      case .zero(let entry): zero(entry)
      case .make(let kind): make(kind)
      case .drop(let entries): for entry in entries { end(entry) }
      case .wait(let moment): if events.wait(until: moment) { letGo() }
      case .end: return counts.close()
      }
      for _ in 0..<state.withLock({ $0.endStep() }) { events.isGone.signal() }
    }
  }

  /// Others need the memory.
  private func letGo() {
    let dropped = state.withLock { state in
      state.pause(at: .now)
      return state.takeAll()
    }
    for entry in dropped { end(entry) }
    counts.close()
  }

  /// A buffer that has come back becomes ready, waits, or goes.
  private func zero(_ entry: PoolEntry) {
    let result = zeroed(entry)
    let isGone = state.withLock { $0.settle(entry, result, at: .now) }
    if isGone { end(entry) }
  }

  private func zeroed(_ entry: PoolEntry) -> PoolState.Result {
    let parent = entry.memory.parent
    do throws(Errno) {
      // Where a server ends its clients go on, and a service manager lets go of its copy a moment later.
      guard try parent.children(counts, besides: 0) == .none,
        try Zeroing.isUnused(parent.descriptor)
      else { return .held }
      if try lendsPages(entry.memory) { return .failed }
      try DMABuf.setName(Self.name, of: parent.descriptor)
      try Zeroing.zero(parent.descriptor, entry.byteCount)
      return try parent.children(counts, besides: 0) == .none ? .free : .held
    } catch {
      return .failed
    }
  }

  private func lendsPages(_ memory: PoolMemory) throws(Errno) -> Bool {
    if let known = lending.withLock({ $0[memory.heapName] }) { return known }
    let found = try Zeroing.lendsPages(memory.parent.descriptor)
    lending.withLock { $0[memory.heapName] = found }
    return found
  }

  /// Huge pages are reserved, and few: they go back at once.
  private func isPooled(_ memory: borrowing BufferMemory) -> Bool {
    let name = memory.heapName
    return memory.parent.kind == .dmaBuf && name != UDMABufHeap.name && name != HugeHeap.name
      && lending.withLock { $0[name] } != true
  }

  private func make(_ kind: PoolKind) {
    let entry = made(kind)
    let isGone = state.withLock { $0.settle(kind, entry, at: .now) }
    if isGone { entry?.end() }
  }

  /// Nil where there is no memory, or none that is pooled.
  private func made(_ kind: PoolKind) -> PoolEntry? {
    let settings = SingleBufferSettings(
      bufferSettings: BufferMemorySettings(
        isPhysicallyContiguous: kind.isContiguous,
        heap: kind.node.map { HeapIdentifier(heapType: HeapCatalog.directory + "/" + $0) }))
    let request = BufferRequest(
      key: BufferKey(bufferCollectionID: 0, bufferIndex: 0), size: kind.byteCount,
      settings: settings)
    guard let memory = try? heap.makeMemory(for: request) else { return nil }
    guard isPooled(memory) else {
      state.withLock { $0.notKept(kind) }
      return nil
    }
    let (parent, heapName) = (memory.parent, memory.heapName)
    let entry = PoolEntry(
      PoolMemory(parent: parent, heapName: heapName, kind: kind, owner: nil, isNew: true),
      memory.settled())
    try? DMABuf.setName(Self.name, of: parent.descriptor)
    return entry
  }
}

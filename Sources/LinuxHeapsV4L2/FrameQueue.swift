internal import CLibrary
internal import CV4L2
public import LinuxHeaps
internal import SystemPackage

/// A device's queue of dma-bufs (Documentation/userspace-api/media/v4l/dmabuf.rst).
///
/// A queued buffer belongs to the queue and comes back with its frame, so nobody maps it through that
/// handle while the device writes. The device keeps each buffer that was attached, and its memory, until
/// the queue goes out of scope.
public struct FrameQueue: ~Copyable, Sendable {
  private struct Slot {
    /// Set while the buffer is with the device.
    var vmo: ReturnedVMO?
    /// Which buffer the device has attached at this place.
    var identity: VMOIdentity?
  }

  private let node: VideoNode
  private let type: QueueType
  /// What its frames are.
  public let format: VideoFormat
  private var slots: [Slot]
  public private(set) var isStreaming = false

  init(_ node: VideoNode, _ type: QueueType, capacity: Int) throws(HeapError) {
    let operation = "request \(capacity) buffers"
    let format = try node.format(type.rawValue)
    guard format.buffersPerFrame == 1 else {
      throw HeapError(
        .notSupported, operation, at: node.path,
        cause: "\(format.pixelFormat) puts a frame into \(format.buffersPerFrame) buffers",
        fix: "use a format that needs one, e.g. NV12 for NM12")
    }
    guard capacity > 0 else {
      throw HeapError(
        .invalidArgs, operation, at: node.path, cause: "a queue needs at least one buffer")
    }
    var count = UInt32(clamping: capacity)
    var capabilities: UInt32 = 0
    let number = node.fd.rawValue
    do throws(Errno) {
      _ = try call {
        unsafe CV4L2_request_buffers(number, type.rawValue, &count, &capabilities)
      }
    } catch .resourceBusy {
      throw HeapError(
        .resourceBusy, operation, at: node.path, cause: "another program streams from it",
        fix: "end that program: fuser -v \(node.path)")
    } catch .invalidArgument {
      throw HeapError(
        .notSupported, operation, at: node.path,
        cause: "its driver does not accept dma-bufs (V4L2_MEMORY_DMABUF)", errno: .invalidArgument)
    } catch {
      throw HeapError(error, operation, at: node.path)
    }
    self.node = node
    self.type = type
    self.format = format
    slots = [Slot](repeating: Slot(), count: Int(count))
  }

  deinit {
    _ = CV4L2_stream(node.fd.rawValue, type.rawValue, false)
    var (count, capabilities): (UInt32, UInt32) = (0, 0)
    _ = unsafe CV4L2_request_buffers(node.fd.rawValue, type.rawValue, &count, &capabilities)
  }

  /// How many buffers it holds at most.
  public var capacity: Int { slots.count }

  /// How many are with the device.
  public var queuedCount: Int { slots.count { $0.vmo != nil } }

  /// Hands a buffer to the device.
  ///
  /// - Parameters:
  ///   - vmo: A whole dma-buf.
  ///   - bytesUsed: Of what goes into a memory-to-memory device; a camera sets it itself.
  /// - Throws: `HeapError.Code.notSupported` where the device cannot use such memory. The buffer is in
  ///   the error's `HeapError.returnedVMO`.
  public mutating func enqueue(_ vmo: consuming VMO, bytesUsed: UInt64 = 0) throws(HeapError) {
    let heap = vmo.heapName ?? vmo.kind.rawValue
    let operation = "queue \(vmo.byteCount.asByteCount) of \(heap)"
    guard vmo.kind == .dmaBuf else {
      let kind = vmo.kind.rawValue
      throw HeapError(
        .notSupported, operation, at: node.path,
        cause: "devices import dma-bufs, and this is a \(kind)",
        fix: "use a heap of /dev/dma_heap, or udmabuf", returning: ReturnedVMO(vmo))
    }
    guard vmo.offset == 0 else {
      throw HeapError(
        .invalidArgs, operation, at: node.path,
        cause: "it is a slice, and V4L2 writes from a buffer's start", returning: ReturnedVMO(vmo))
    }
    guard vmo.byteCount >= format.byteCount else {
      throw HeapError(
        .outOfRange, operation, at: node.path,
        cause: "a frame of \(format) has \(format.byteCount) bytes", returning: ReturnedVMO(vmo))
    }
    let identity = vmo.identity
    // At its former place it is attached already.
    guard
      let index = slots.firstIndex(where: { $0.vmo == nil && $0.identity == identity })
        ?? slots.firstIndex(where: { $0.vmo == nil && $0.identity == nil })
        ?? slots.firstIndex(where: { $0.vmo == nil })
    else {
      throw HeapError(
        .badState, operation, at: node.path, cause: "all \(slots.count) slots are in use",
        fix: "take a frame out first", returning: ReturnedVMO(vmo))
    }
    let (device, type) = (node.fd.rawValue, type.rawValue)
    let length = UInt32(clamping: vmo.byteCount)
    do throws(Errno) {
      try vmo.withDescriptor { buffer throws(Errno) in
        _ = try call {
          CV4L2_queue(
            device, type, UInt32(index), buffer, length, UInt32(clamping: bytesUsed))
        }
      }
    } catch .badAddress {
      // vb2_dc_map_dmabuf of drivers/media/common/videobuf2/videobuf2-dma-contig.c; and where no kernel
      // mapping can be made, videobuf2-vmalloc.c.
      throw HeapError(
        .notSupported, operation, at: node.path,
        cause: "the device needs one physically contiguous piece, which this buffer of the \(heap) "
          + "heap is not", errno: .badAddress,
        fix: HeapRole.contiguousAdvice,
        returning: ReturnedVMO(vmo))
    } catch {
      throw HeapError(
        HeapError.Code(error), operation, at: node.path, cause: error.description, errno: error,
        returning: ReturnedVMO(vmo))
    }
    slots[index] = Slot(vmo: ReturnedVMO(vmo), identity: identity)
  }

  public mutating func start() throws(HeapError) {
    let (device, type) = (node.fd.rawValue, type.rawValue)
    try attempt("start streaming", at: node.path) { () throws(Errno) in
      _ = try call { CV4L2_stream(device, type, true) }
    }
    isStreaming = true
  }

  /// Ends streaming; the buffers come back without frames.
  @discardableResult
  public mutating func stop() throws(HeapError) -> [ReturnedVMO] {
    let (device, type) = (node.fd.rawValue, type.rawValue)
    try attempt("stop streaming", at: node.path) { () throws(Errno) in
      _ = try call { CV4L2_stream(device, type, false) }
    }
    isStreaming = false
    let buffers = slots.compactMap(\.vmo)
    for index in slots.indices { slots[index].vmo = nil }
    return buffers
  }

  /// A frame that is done, or nil.
  public mutating func dequeueNow() throws(HeapError) -> Frame? {
    let operation = "take a frame out"
    var buffer = CV4L2_buffer()
    let (device, type) = (node.fd.rawValue, type.rawValue)
    do throws(Errno) {
      _ = try call { unsafe CV4L2_dequeue(device, type, &buffer) }
    } catch .resourceTemporarilyUnavailable {
      return nil
    } catch {
      throw HeapError(error, operation, at: node.path)
    }
    let index = Int(buffer.index)
    guard slots.indices.contains(index), let vmo = slots[index].vmo?.take() else {
      throw HeapError(
        .internal, operation, at: node.path,
        cause: "the driver returned a buffer that was not queued")
    }
    slots[index].vmo = nil
    return Frame(
      vmo: vmo, sequence: buffer.sequence, bytesUsed: UInt64(buffer.bytes_used),
      microseconds: buffer.microseconds,
      isDamaged: buffer.flags & UInt32(V4L2_BUF_FLAG_ERROR) != 0)
  }

  /// Waits for the next frame.
  ///
  /// - Throws: `HeapError.Code.timedOut` when none is done by then, and `HeapError.Code.badState`
  ///   where none can be: nothing is queued, or the device does not stream.
  public mutating func dequeue(for limit: Duration) throws(HeapError) -> Frame {
    // -1: poll(2) passes over it.
    try dequeue(for: limit, unlessReadable: -1)!
  }

  /// Waits for the next frame, or until another descriptor is readable: nil then.
  public mutating func dequeue(
    for limit: Duration, unlessReadable other: CInt
  ) throws(HeapError) -> Frame? {
    let operation = "wait for a frame"
    guard isStreaming, queuedCount > 0 else {
      throw HeapError(
        .badState, operation, at: node.path,
        cause: isStreaming ? "no buffer is queued" : "the device does not stream")
    }
    let deadline = MonotonicTime.now.advanced(by: limit)
    while true {
      if let frame = try dequeueNow() { return frame }
      guard deadline > .now else {
        throw HeapError(
          .timedOut, operation, at: node.path, cause: "no frame arrived within \(limit)",
          fix: "check that the camera has a signal: v4l2-ctl --device \(node.path) --all")
      }
      var entries = [
        pollfd(fd: node.fd.rawValue, events: pollEvents, revents: 0),
        pollfd(fd: other, events: Int16(POLLIN), revents: 0),
      ]
      _ = unsafe poll(&entries, 2, deadline.millisecondsFromNow)
      if entries[1].revents != 0 { return nil }
      // The device failed, and has no frame from before that.
      if entries[0].revents & Int16(POLLERR) != 0, entries[0].revents & pollEvents == 0 {
        throw HeapError(
          .io, operation, at: node.path, cause: "the device failed",
          fix: "see the kernel's messages: dmesg")
      }
    }
  }

  /// What poll(2) tells when a frame is done.
  private var pollEvents: Int16 { Int16(type.isCapture ? POLLIN : POLLOUT) }

  /// Lends the descriptor to poll(2): readable when a frame is done, writable for an input queue.
  public func withDescriptor<Result: ~Copyable, Failure: Error>(
    _ body: (CInt) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(node.fd.rawValue)
  }
}

/// A buffer that came back from a queue.
public struct Frame: ~Copyable, Sendable {
  /// The buffer, which is the caller's again.
  public let vmo: VMO
  /// Counted by the device; a gap tells of frames that found no buffer.
  public let sequence: UInt32
  public let bytesUsed: UInt64
  /// When it was taken, in microseconds of the device's clock, most often the monotonic one.
  public let microseconds: Int64
  /// The device says that the contents are damaged (`V4L2_BUF_FLAG_ERROR`).
  public let isDamaged: Bool

  /// The buffer alone, e.g. to queue it again.
  public consuming func takeVMO() -> VMO { vmo }
}

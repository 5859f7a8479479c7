internal import CDRM
internal import CLibrary
public import LinuxHeaps
internal import SystemPackage

/// A screen that this process has to itself: what it showed before comes back when it goes out of scope.
///
/// A process that is killed loses its file and its pictures with it: the kernel leaves the screen black
/// or gives it back to its console.
public struct Scanout: ~Copyable, Sendable {
  public let connector: Connector
  public let mode: DisplayMode
  /// What the screen takes; empty where the driver does not say.
  public var formats: [FourCC] { plane?.formats ?? [] }
  /// Whether flips wait for fences in the kernel, and answer with one (atomic mode setting).
  public var isAtomic: Bool { pipe.outFenceProperty != 0 && plane != nil }
  /// What is on the screen, or will be with the next vertical blank.
  public private(set) var framebuffer: Framebuffer?
  /// What is on the screen until that blank.
  private var leaving: Framebuffer?
  /// Black, behind a picture that is smaller than the mode; with the plane on which that stands.
  private var placed: (plane: Plane, background: Framebuffer)?
  private var flipIsPending = false

  private let file: DRMFile
  private let driver: String
  private let pipe: DisplayPipe
  /// Given up after the display is restored: a deinit's body runs before its fields end.
  private let claim: DisplayClaim
  private var plane: Plane? { placed?.plane ?? pipe.plane }

  deinit {
    if let placed, placed.plane.kind != .primary {
      _ = file.setPlane(placed.plane.id, pipe.crtc, 0, SizeU(width: 0, height: 0), x: 0, y: 0)
    }
    pipe.before.restore(pipe.crtc, in: file)
  }
}

extension Scanout {
  /// Takes a display over; nothing changes on it before ``show(_:)``.
  ///
  /// - Throws: `HeapError.Code.accessDenied` while another program controls the device's displays, and
  ///   `HeapError.Code.badState` where this open device has a scan-out already.
  public init(
    _ device: borrowing DRMDevice, connector: Connector, mode: DisplayMode
  ) throws(HeapError) {
    let operation = "take over the display at \(connector.name) of \(device.driver)"
    let file = device.file
    let claim = try DisplayClaim(file, operation)
    let pipe: DisplayPipe
    do throws(Errno) { pipe = try DisplayPipe(connector, in: file) } catch {
      throw HeapError(
        error, operation, at: file.path,
        cause: error == .noSuchAddressOrDevice ? "no CRTC is left for it" : nil)
    }
    self.init(
      connector: connector, mode: mode, file: file, driver: device.driver, pipe: pipe, claim: claim)
  }

  /// The modifiers that the screen takes of a format; empty where the driver tells of none.
  public borrowing func modifiers(of format: FourCC) -> [FormatModifier] {
    plane?.modifiers[format] ?? []
  }

  /// Sets the mode and puts a picture on the screen; returns when it is there.
  ///
  /// - Parameter framebuffer: Of this open device, and at least as large as the mode.
  public mutating func show(_ framebuffer: Framebuffer) throws(HeapError) {
    let operation = operation(framebuffer)
    try check(framebuffer, operation)
    try set(framebuffer, operation)
    placed = nil
    self.framebuffer = framebuffer
  }

  /// Sets the mode and puts a picture that is smaller in the middle of a black screen, on an overlay or on the primary plane
  /// itself; returns when it is there.
  ///
  /// - Parameter framebuffer: Of this open device, and neither wider nor higher than the mode.
  /// - Throws: `HeapError.Code.notSupported` where the device is not atomic or places no plane of that format and size.
  public mutating func place(_ framebuffer: Framebuffer) throws(HeapError) {
    let operation = operation(framebuffer)
    let size = framebuffer.layout.size
    guard framebuffer.file === file else { throw otherDevice(operation) }
    guard size.width <= mode.size.width, size.height <= mode.size.height else {
      throw HeapError(
        .outOfRange, operation, at: file.path, cause: "the picture is larger than the mode, \(mode)"
      )
    }
    let background = try file.blackPicture(mode.size, driver)
    try set(background, operation)
    let planes = pipe.planes.filter { $0.formats.contains(framebuffer.layout.format) }
    let candidates = planes.filter { $0.kind == .overlay } + planes.filter { $0.kind == .primary }
    let plane = candidates.first { plane in
      isAtomic
        && file.setPlane(
          plane.id, pipe.crtc, framebuffer.id, size, x: (mode.size.width - size.width) / 2,
          y: (mode.size.height - size.height) / 2) == 0
    }
    guard let plane else {
      throw HeapError(
        .notSupported, operation, at: file.path,
        cause: "\(driver) places no picture of \(size.width)x\(size.height) in the mode \(mode)",
        fix: "use a mode of the picture's size")
    }
    placed = (plane, background)
    self.framebuffer = framebuffer
  }

  private borrowing func operation(_ framebuffer: Framebuffer) -> String {
    "show \(framebuffer.layout.format) at \(connector.name) of \(driver)"
  }

  private borrowing func set(
    _ framebuffer: Framebuffer, _ operation: String
  ) throws(HeapError) {
    do throws(Errno) {
      try file.setCRTC(pipe.crtc, framebuffer.id, connectors: [connector.id], mode: mode.info)
    } catch {
      throw HeapError(
        error, operation, at: file.path,
        cause: error == .noSpace ? "the picture is smaller than the mode, \(mode)" : nil)
    }
  }

  /// Has a picture of the same size come on the screen with the next vertical blank, and returns at
  /// once.
  ///
  /// Before the next flip, ``waitForFlip(within:)`` must have returned for this one.
  ///
  /// - Returns: A fence that signals when the picture is on the screen, and the one before it off:
  ///   its buffer may be written again. Nil where the device is not atomic.
  public mutating func flip(to framebuffer: Framebuffer) throws(HeapError) -> Fence? {
    try flip(to: framebuffer, fence: -1)
  }

  /// As ``flip(to:)``, but not before a fence has signalled.
  ///
  /// Where the device cannot wait for fences, the caller waits here.
  public mutating func flip(
    to framebuffer: Framebuffer, after fence: borrowing Fence
  ) throws(HeapError) -> Fence? {
    guard isAtomic, plane?.fenceProperty != 0 else {
      try fence.wait()
      return try flip(to: framebuffer)
    }
    return try fence.withDescriptor { (number) throws(HeapError) in
      try flip(to: framebuffer, fence: number)
    }
  }

  /// Waits until the flip is done; then the picture before it is off the screen.
  ///
  /// - Parameter patience: How long to wait; nil without end.
  /// - Throws: `HeapError.Code.timedOut` when the flip is not done within that time, and
  ///   `HeapError.Code.badState` where there was none.
  public mutating func waitForFlip(
    within patience: Duration? = nil
  ) throws(HeapError) -> FlipEvent {
    let operation = "wait for a flip at \(connector.name) of \(driver)"
    guard flipIsPending else {
      throw HeapError(.badState, operation, at: file.path, cause: "no flip is pending")
    }
    let file = self.file
    let event = try attempt(operation, at: file.path) { () throws(Errno) in
      try file.nextFlip(within: patience)
    }
    guard let event else {
      throw HeapError(.timedOut, operation, at: file.path, cause: "it did not finish in time")
    }
    flipIsPending = false
    leaving = nil
    return event
  }

  /// - Parameter fence: What the device waits for; -1 for nothing.
  private mutating func flip(
    to framebuffer: Framebuffer, fence: CInt
  ) throws(HeapError) -> Fence? {
    let operation = "flip to \(framebuffer.layout.format) at \(connector.name) of \(driver)"
    try check(framebuffer, operation)
    guard self.framebuffer != nil, !flipIsPending else {
      throw HeapError(
        .badState, operation, at: file.path,
        cause: flipIsPending ? "the flip before is not done" : "nothing is shown yet")
    }
    var done: Fence?
    do throws(Errno) {
      if isAtomic, let plane {
        done = try commit(framebuffer, on: plane, fence: fence)
      } else {
        try drmCall {
          drmModePageFlip(
            file.fd.rawValue, pipe.crtc, framebuffer.id, UInt32(DRM_MODE_PAGE_FLIP_EVENT), nil)
        }
      }
    } catch {
      throw HeapError(error, operation, at: file.path)
    }
    flipIsPending = true
    leaving = self.framebuffer
    self.framebuffer = framebuffer
    return done
  }

  private borrowing func check(
    _ framebuffer: Framebuffer, _ operation: String
  ) throws(HeapError) {
    guard framebuffer.file === file else { throw otherDevice(operation) }
    guard formats.isEmpty || formats.contains(framebuffer.layout.format) else {
      throw HeapError(
        .notSupported, operation, at: file.path, cause: "the display does not support this format",
        fix: "use one of: \(formats.map(\.description).joined(separator: " "))")
    }
  }

  private borrowing func otherDevice(_ operation: String) -> HeapError {
    HeapError(.badHandle, operation, at: file.path, cause: "the picture is of another open device")
  }

  private borrowing func commit(
    _ framebuffer: Framebuffer, on plane: Plane, fence: CInt
  ) throws(Errno) -> Fence? {
    guard let request = unsafe drmModeAtomicAlloc() else { throw .noMemory }
    defer { unsafe drmModeAtomicFree(request) }
    // The kernel writes the fence's number there before the commit returns.
    var done: Int32 = -1
    try unsafe withUnsafeMutablePointer(to: &done) { (done) throws(Errno) in
      var properties = [(plane.id, plane.framebufferProperty, UInt64(framebuffer.id))]
      if fence >= 0 { properties.append((plane.id, plane.fenceProperty, UInt64(fence))) }
      properties.append((pipe.crtc, pipe.outFenceProperty, UInt64(UInt(bitPattern: done))))
      for (object, property, value) in properties {
        try drmCall { unsafe drmModeAtomicAddProperty(request, object, property, value) }
      }
      try drmCall {
        unsafe drmModeAtomicCommit(
          file.fd.rawValue, request,
          UInt32(DRM_MODE_ATOMIC_NONBLOCK) | UInt32(DRM_MODE_PAGE_FLIP_EVENT), nil)
      }
    }
    return done >= 0 ? Fence(made: OwnedFD(adopting: done)) : nil
  }
}

/// The CRTC behind a connector, and how commits name what belongs to it.
private struct DisplayPipe: Sendable {
  let crtc: UInt32
  /// Those that can stand on it.
  let planes: [Plane]
  /// Its own; nil where the driver shows no planes.
  var plane: Plane? { planes.first { $0.kind == .primary } }
  /// 0 where the device is not atomic.
  let outFenceProperty: UInt32
  let before: DisplayState

  init(_ connector: Connector, in file: DRMFile) throws(Errno) {
    let number = file.fd.rawValue
    let isAtomic = drmSetClientCap(number, UInt64(DRM_CLIENT_CAP_ATOMIC), 1) == 0
    let crtcs = try file.resources().crtcs
    guard let index = Self.freeCRTC(for: connector, among: crtcs, in: file) else {
      throw .noSuchAddressOrDevice
    }
    crtc = crtcs[index]
    before = try DisplayState(of: crtc, in: file)
    planes = file.planes().filter { $0.possibleCRTCs & 1 << UInt32(index) != 0 }
    let properties = file.properties(of: crtc, DRM_MODE_OBJECT_CRTC)
    outFenceProperty = isAtomic ? properties["OUT_FENCE_PTR"]?.id ?? 0 : 0
  }

  /// The place of the connector's own CRTC, else of one that drives nothing.
  private static func freeCRTC(
    for connector: Connector, among crtcs: [UInt32], in file: DRMFile
  ) -> Int? {
    // Looked at again: the caller may have listed the connector before it was lit.
    let current = file.connector(connector.id)?.crtc ?? connector.crtc
    if let own = crtcs.firstIndex(of: current) { return own }
    let taken = Set(
      ((try? file.resources().connectors) ?? []).compactMap { file.connector($0)?.crtc })
    return crtcs.indices.first {
      connector.possibleCRTCs & 1 << UInt32($0) != 0 && !taken.contains(crtcs[$0])
    }
  }
}

/// What a CRTC showed before, to be shown again.
struct DisplayState: Sendable {
  private let framebuffer: UInt32
  private let x: UInt32
  private let y: UInt32
  private let mode: drmModeModeInfo?
  private let connectors: [UInt32]

  init(of crtc: UInt32, in file: DRMFile) throws(Errno) {
    guard let found = unsafe drmModeGetCrtc(file.fd.rawValue, crtc) else {
      throw Errno(rawValue: errno)
    }
    defer { unsafe drmModeFreeCrtc(found) }
    let state = unsafe found.pointee
    framebuffer = state.buffer_id
    x = state.x
    y = state.y
    mode = state.mode_valid != 0 ? state.mode : nil
    connectors = try file.resources().connectors.filter { file.connector($0)?.crtc == crtc }
  }

  /// Shows it again; where the picture is gone with its owner, turns the CRTC off.
  func restore(_ crtc: UInt32, in file: DRMFile) {
    if let mode, framebuffer != 0, !connectors.isEmpty {
      do throws(Errno) {
        try file.setCRTC(crtc, framebuffer, x: x, y: y, connectors: connectors, mode: mode)
        return
      } catch {}
    }
    _ = drmModeSetCrtc(file.fd.rawValue, crtc, 0, 0, 0, nil, 0, nil)
  }
}

/// The right to change what a device's displays show (drm-uapi, "DRM Master"); given up when it goes
/// out of scope.
struct DisplayClaim: ~Copyable, Sendable {
  private let file: DRMFile

  init(_ file: DRMFile, _ operation: String) throws(HeapError) {
    guard file.takeDisplay() else {
      throw HeapError(
        .badState, operation, at: file.path,
        cause: "this process already drives a display of this device",
        fix: "open the device once more")
    }
    do throws(Errno) { try drmCall { drmSetMaster(file.fd.rawValue) } } catch {
      file.returnDisplay()
      throw HeapError(
        .accessDenied, operation, at: file.path, cause: "another program controls the display",
        errno: error, fix: "stop the desktop, or run as root on a text console")
    }
    self.file = file
  }

  deinit {
    drmDropMaster(file.fd.rawValue)
    file.returnDisplay()
  }
}

/// When a picture came on the screen.
public struct FlipEvent: Hashable, Sendable {
  /// The number of the vertical blank; it wraps.
  public let sequence: UInt32
  /// Of CLOCK_MONOTONIC (`DRM_CAP_TIMESTAMP_MONOTONIC`).
  public let time: Duration
}

extension DRMFile {
  /// The next flip's event; nil when the time is over.
  fileprivate func nextFlip(within patience: Duration?) throws(Errno) -> FlipEvent? {
    let deadline = patience.map { MonotonicTime.now.advanced(by: $0) }
    while true {
      let timeout = deadline?.millisecondsFromNow ?? -1
      var waited = pollfd(fd: fd.rawValue, events: Int16(POLLIN), revents: 0)
      if try call({ unsafe poll(&waited, 1, timeout) }) == 0 { return nil }
      if let event = try readEvents() { return event }
    }
  }

  /// One read(2) gives whole events only (drm_read).
  private func readEvents() throws(Errno) -> FlipEvent? {
    var words = [UInt32](repeating: 0, count: 1024)
    let capacity = words.count * 4
    let count = try call { unsafe read(fd.rawValue, &words, capacity) } / 4
    var flip: FlipEvent?
    var rest = words[..<count]
    // struct drm_event_vblank: type, length, user data (2), seconds, microseconds, sequence, CRTC.
    while rest.count >= 2, let type = rest.first {
      let length = Int(rest[rest.startIndex + 1]) / 4
      let event = Array(rest.prefix(length))
      if type == UInt32(DRM_EVENT_FLIP_COMPLETE), event.count >= 8 {
        flip = FlipEvent(
          sequence: event[6],
          time: .seconds(Int64(event[4])) + .microseconds(Int64(event[5])))
      }
      rest = rest.dropFirst(max(2, length))
    }
    return flip
  }

  /// A linear picture of zeroes, of the device's own memory.
  fileprivate func blackPicture(_ size: SizeU, _ driver: String) throws(HeapError) -> Framebuffer {
    let operation = "make a black picture of \(size.width)x\(size.height) (\(driver))"
    let buffer = try dumbBuffer(size, bitsPerPixel: 32)
    let layout: ImageLayout
    do throws(ImageLayoutError) {
      layout = try ImageLayout(.xr24, size: size, bytesPerRow: buffer.bytesPerRow)
    } catch {
      throw HeapError(.internal, operation, at: path, cause: "\(error)")
    }
    return try attempt(operation, at: path) { () throws(Errno) in
      try Framebuffer(buffer.handle, layout, at: 0, nil)
    }
  }

  /// Answers a negative number where the driver refuses.
  fileprivate func setPlane(
    _ plane: UInt32, _ crtc: UInt32, _ framebuffer: UInt32, _ size: SizeU, x: UInt32, y: UInt32
  ) -> CInt {
    // The source's numbers have 16 bits behind the point.
    drmModeSetPlane(
      fd.rawValue, plane, framebuffer == 0 ? 0 : crtc, framebuffer, 0, Int32(x), Int32(y),
      size.width,
      size.height, 0, 0, size.width << 16, size.height << 16)
  }

  func setCRTC(
    _ crtc: UInt32, _ framebuffer: UInt32, x: UInt32 = 0, y: UInt32 = 0, connectors: [UInt32],
    mode: drmModeModeInfo
  ) throws(Errno) {
    var (connectors, mode) = (connectors, mode)
    let count = CInt(connectors.count)
    try drmCall {
      unsafe drmModeSetCrtc(fd.rawValue, crtc, framebuffer, x, y, &connectors, count, &mode)
    }
  }
}

internal import CDRM
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
  public var isAtomic: Bool { found.outFenceProperty != 0 && plane != nil }
  /// What is on the screen, or will be with the next vertical blank.
  public private(set) var framebuffer: Framebuffer?
  /// What is on the screen until that blank.
  private var leaving: Framebuffer?
  private var flipIsPending = false

  private let file: DRMFile
  private let driver: String
  private let found: Found
  /// Given up after the display is restored: a deinit's body runs before its fields end.
  private let claim: DisplayClaim
  private var plane: PrimaryPlane? { found.plane }

  /// Takes a display over; nothing changes on it before ``show(_:)``.
  ///
  /// Throws `HeapError.Code.accessDenied` while another program has the device's displays, and
  /// `HeapError.Code.badState` where this open device has a scan-out already.
  public init(
    _ device: borrowing DRMDevice, connector: Connector, mode: DisplayMode
  ) throws(HeapError) {
    let operation = "take over the display at \(connector.name) of \(device.driver)"
    let file = device.file
    let claim = try DisplayClaim(file, operation)
    let found: Found
    do throws(Errno) { found = try Found(connector, in: file) } catch {
      throw HeapError(
        error, operation, at: file.path,
        cause: error == .noSuchAddressOrDevice ? "no CRTC is left for it" : nil)
    }
    self.claim = claim
    self.found = found
    self.file = file
    self.driver = device.driver
    self.connector = connector
    self.mode = mode
  }

  deinit { found.before.restore(found.crtc, in: file) }

  /// What there is behind a connector.
  private struct Found: Sendable {
    let crtc: UInt32
    let before: DisplayState
    let plane: PrimaryPlane?
    /// 0 where the device is not atomic.
    let outFenceProperty: UInt32

    init(_ connector: Connector, in file: DRMFile) throws(Errno) {
      let number = file.fd.rawValue
      _ = drmSetClientCap(number, UInt64(DRM_CLIENT_CAP_UNIVERSAL_PLANES), 1)
      let isAtomic = drmSetClientCap(number, UInt64(DRM_CLIENT_CAP_ATOMIC), 1) == 0
      let crtcs = try file.resources().crtcs
      guard let index = file.freeCRTC(for: connector, among: crtcs) else {
        throw .noSuchAddressOrDevice
      }
      crtc = crtcs[index]
      before = try DisplayState(of: crtc, in: file)
      plane = PrimaryPlane(of: index, in: file)
      let properties = file.properties(of: crtc, DRM_MODE_OBJECT_CRTC)
      outFenceProperty = isAtomic ? properties["OUT_FENCE_PTR"]?.id ?? 0 : 0
    }
  }
}

extension Scanout {
  /// The modifiers that the screen takes of a format; empty where the driver tells of none.
  public borrowing func modifiers(of format: FourCC) -> [FormatModifier] {
    plane?.modifiers[format] ?? []
  }

  /// Sets the mode and puts a picture on the screen; returns when it is there.
  ///
  /// It must be of this open device, and as large as the mode at least.
  public mutating func show(_ framebuffer: Framebuffer) throws(HeapError) {
    let operation = "show \(framebuffer.layout.format) at \(connector.name) of \(driver)"
    try check(framebuffer, operation)
    do throws(Errno) {
      try file.setCRTC(found.crtc, framebuffer.id, connectors: [connector.id], mode: mode.info)
    } catch {
      throw HeapError(
        error, operation, at: file.path,
        cause: error == .noSpace ? "the picture is smaller than the mode, \(mode)" : nil)
    }
    self.framebuffer = framebuffer
  }

  /// Has a picture of the same size come on the screen with the next vertical blank, and returns at
  /// once.
  ///
  /// Before the next flip, ``waitForFlip(within:)`` must tell of this one.
  /// - Returns: A fence that signals when the picture is on the screen, and the one before it off:
  ///   its buffer may be written again. Nil where the device is not atomic.
  public mutating func flip(to framebuffer: Framebuffer) throws(HeapError) -> Fence? {
    try flip(to: framebuffer, fence: -1)
  }

  /// As ``flip(to:)``, but not before a fence has signalled.
  ///
  /// Where the device waits for no fence, this does.
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
  /// Throws `HeapError.Code.timedOut` when it is not within that time, and
  /// `HeapError.Code.badState` where there was no flip.
  public mutating func waitForFlip(
    within patience: Duration? = nil
  ) throws(HeapError) -> FlipEvent {
    let operation = "wait for a flip at \(connector.name) of \(driver)"
    guard flipIsPending else {
      throw HeapError(.badState, operation, at: file.path, cause: "there was none")
    }
    let file = self.file
    let event = try attempt(operation, at: file.path) { () throws(Errno) in
      try file.nextFlip(within: patience)
    }
    guard let event else {
      throw HeapError(.timedOut, operation, at: file.path, cause: "it is not done in time")
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
            file.fd.rawValue, found.crtc, framebuffer.id, UInt32(DRM_MODE_PAGE_FLIP_EVENT), nil)
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
    guard framebuffer.file === file else {
      throw HeapError(
        .badHandle, operation, at: file.path, cause: "the picture is of another open device")
    }
    guard formats.isEmpty || formats.contains(framebuffer.layout.format) else {
      throw HeapError(
        .notSupported, operation, at: file.path, cause: "the screen does not take this format",
        fix: "use one of: \(formats.map(\.description).joined(separator: " "))")
    }
  }

  private borrowing func commit(
    _ framebuffer: Framebuffer, on plane: PrimaryPlane, fence: CInt
  ) throws(Errno) -> Fence? {
    guard let request = unsafe drmModeAtomicAlloc() else { throw .noMemory }
    defer { unsafe drmModeAtomicFree(request) }
    // The kernel writes the fence's number there before the commit returns.
    var done: Int32 = -1
    try unsafe withUnsafeMutablePointer(to: &done) { (done) throws(Errno) in
      var properties = [(plane.id, plane.framebufferProperty, UInt64(framebuffer.id))]
      if fence >= 0 { properties.append((plane.id, plane.fenceProperty, UInt64(fence))) }
      properties.append((found.crtc, found.outFenceProperty, UInt64(UInt(bitPattern: done))))
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

extension DRMFile {
  /// The place of the connector's own CRTC, else of one that drives nothing.
  fileprivate func freeCRTC(for connector: Connector, among crtcs: [UInt32]) -> Int? {
    // Looked at again: the caller may have listed the connector before it was lit.
    let current = self.connector(connector.id)?.crtc ?? connector.crtc
    if let own = crtcs.firstIndex(of: current) { return own }
    let taken = Set(((try? resources().connectors) ?? []).compactMap { self.connector($0)?.crtc })
    return crtcs.indices.first {
      connector.possibleCRTCs & 1 << UInt32($0) != 0 && !taken.contains(crtcs[$0])
    }
  }
}

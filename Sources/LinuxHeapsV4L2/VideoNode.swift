internal import CLibrary
internal import CV4L2
internal import LinuxHeaps
internal import SystemPackage

/// An open `/dev/videoN`. The kernel gives a queue to the open file that asked for its buffers: a device
/// and its queues share one.
final class VideoNode: Sendable {
  let path: String
  let fd: OwnedFD
  let capability: v4l2_capability
  /// What is to be set again, by queue.
  private let before = Guarded<[UInt32: CV4L2_setting]>([:])

  /// A format outlasts the open file that set it. No queue is left that would keep it from being changed.
  deinit {
    for setting in before.withLock({ $0.values.map(\.self) }) {
      _ = unsafe withUnsafePointer(to: setting) { unsafe CV4L2_restore_format(fd.rawValue, $0) }
    }
  }

  init(_ path: String) throws(HeapError) {
    self.path = path
    let operation = "open a video device"
    do throws(Errno) {
      fd = try .open(path, O_RDWR | O_NONBLOCK)
    } catch .noSuchFileOrDirectory {
      let others = VideoDevice.paths()
      throw HeapError(
        .noSuchFileOrDirectory, operation, at: path, cause: "no such device",
        fix: others.isEmpty
          ? "connect a camera and load its driver, or \(KernelModule.vivid.fix)"
          : "use one of: \(others.joined(separator: " "))")
    } catch {
      throw HeapError(error, operation, opening: path, kind: "video4linux")
    }
    var capability = v4l2_capability()
    let number = fd.rawValue
    do throws(Errno) {
      _ = try call { unsafe CV4L2_capabilities(number, &capability) }
    } catch {
      throw HeapError(
        .wrongType, operation, at: path, cause: "it is not a V4L2 device", errno: error,
        fix: "use a /dev/videoN")
    }
    self.capability = capability
  }

  /// What this node can do, not the whole device.
  var capabilities: UInt32 {
    let all = UInt32(V4L2_CAP_DEVICE_CAPS)
    return capability.capabilities & all != 0 ? capability.device_caps : capability.capabilities
  }

  func has(_ flags: Int32...) -> Bool {
    flags.contains { capabilities & UInt32(bitPattern: $0) != 0 }
  }

  func formats(_ type: UInt32) -> [VideoFourCC] {
    let number = fd.rawValue
    var formats: [VideoFourCC] = []
    // Bounded, for a driver that never answers EINVAL.
    for index in 0..<UInt32(256) {
      var format = v4l2_fmtdesc()
      guard (try? call { unsafe CV4L2_enumerate_format(number, type, index, &format) }) != nil
      else { break }
      formats.append(VideoFourCC(rawValue: format.pixelformat))
    }
    return formats
  }

  func sizes(_ format: VideoFourCC) -> [FrameSize] {
    let number = fd.rawValue
    var sizes: [FrameSize] = []
    for index in 0..<UInt32(256) {
      var (width, height): (UInt32, UInt32) = (0, 0)
      guard
        let kind = try? call({
          unsafe CV4L2_enumerate_size(number, format.rawValue, index, &width, &height)
        })
      else { break }
      sizes.append(
        FrameSize(width: Int(width), height: Int(height), isLargestOfRange: kind == 1))
      if kind == 1 { break }
    }
    return sizes
  }

  func format(_ type: UInt32) throws(HeapError) -> VideoFormat {
    var image = CV4L2_image()
    let number = fd.rawValue
    return try attempt("ask a video device's format", at: path) { () throws(Errno) in
      _ = try call { unsafe CV4L2_get_format(number, type, &image) }
      return VideoFormat(image)
    }
  }

  func setFormat(
    _ type: UInt32, width: Int, height: Int, _ pixelFormat: VideoFourCC, isTrial: Bool = false
  ) throws(HeapError) -> VideoFormat {
    let operation = "set \(width)x\(height) \(pixelFormat)"
    var image = CV4L2_image()
    image.width = UInt32(clamping: width)
    image.height = UInt32(clamping: height)
    image.pixel_format = pixelFormat.rawValue
    let number = fd.rawValue
    do throws(Errno) {
      _ = try call { unsafe CV4L2_set_format(number, type, isTrial, &image) }
    } catch {
      throw HeapError(
        error, operation, at: path, cause: error == .resourceBusy ? "it is in use" : nil,
        fix: error == .resourceBusy ? "end the program that uses it: fuser -v \(path)" : nil)
    }
    let format = VideoFormat(image)
    // A driver changes what it cannot do, rather than refuse it.
    guard format.pixelFormat == pixelFormat else {
      throw HeapError(
        .notSupported, operation, at: path, cause: "the device has no \(pixelFormat)",
        fix: "use one of: " + formats(type).map(\.description).joined(separator: " "))
    }
    guard format.width == width, format.height == height else {
      let sizes = sizes(pixelFormat).map(\.description)
      throw HeapError(
        .notSupported, operation, at: path,
        cause: "the device makes it \(format.width)x\(format.height)",
        fix: "use " + (sizes.isEmpty ? "that" : "one of: \(sizes.joined(separator: " "))"))
    }
    return format
  }

  /// Has the present format set again when nobody refers to this any more.
  func keepFormat(_ type: UInt32) throws(HeapError) {
    let number = fd.rawValue
    var setting = CV4L2_setting()
    try attempt("ask a video device's format", at: path) { () throws(Errno) in
      _ = try call { unsafe CV4L2_save_format(number, type, &setting) }
    }
    before.withLock { [setting] in $0[type] = setting }
  }

  /// The kinds of memory that a queue takes; nil where it does not say: it is in use, or older than Linux 4.20.
  func memory(_ type: UInt32) -> VideoMemory? {
    var capabilities: UInt32 = 0
    let number = fd.rawValue
    // A request for none frees the buffers of the queue's owner, and this file is not that: EBUSY then.
    do throws(Errno) {
      _ = try call { unsafe CV4L2_memory(number, type, &capabilities) }
    } catch {
      // What it does not know it calls invalid.
      return error == .invalidArgument || error == .inappropriateIOCTLForDevice ? [] : nil
    }
    let memory = VideoMemory(rawValue: capabilities).intersection([.mmap, .userPointer, .dmaBuf])
    return memory.isEmpty ? nil : memory
  }
}

/// The text of a field of fixed size, which ends at its NUL. In one is what a USB device says of itself.
func text<Field: BitwiseCopyable>(_ field: Field) -> String {
  unsafe withUnsafeBytes(of: field) { bytes in
    unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }.visible
}

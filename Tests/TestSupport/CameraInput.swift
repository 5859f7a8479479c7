import Glibc
import SystemPackage

/// A camera of vivid's at another input than its first, a webcam's, at which it is again when this value ends. At others its sizes are
/// a range (`vidioc_enum_framesizes`, drivers/media/test-drivers/vivid/vivid-vid-cap.c).
package final class CameraInput {
  package enum Kind {
    /// Its frames are interlaced, whatever is asked for (`vivid_field_cap`). One field in each buffer, or both in one.
    case television(alternates: Bool)
    case hdmi
  }

  package let path: String
  private let device: CInt

  package init(_ path: String, _ kind: Kind) throws {
    self.path = path
    device = unsafe open(path, O_RDWR | O_CLOEXEC)
    guard device >= 0 else { throw Errno(rawValue: errno) }
    switch kind {
    case .television(let alternates):
      try choose(input: 1)
      try setField(alternates ? 7 : 4)
    case .hdmi: try choose(input: 3)
    }
  }

  private func setField(_ field: UInt32) throws(Errno) {
    // VIDIOC_G_FMT and VIDIOC_S_FMT of struct v4l2_format: a type, a gap, and width, height, pixel format and field.
    var words = [UInt32](repeating: 0, count: 52)
    words[0] = 1
    guard unsafe ioctl(device, 0xC0D0_5604, &words) == 0 else { throw Errno(rawValue: errno) }
    words[5] = field
    guard unsafe ioctl(device, 0xC0D0_5605, &words) == 0 else { throw Errno(rawValue: errno) }
  }

  /// VIDIOC_S_INPUT
  private func choose(input: CInt) throws(Errno) {
    var input = input
    guard unsafe ioctl(device, 0xC004_5627, &input) == 0 else { throw Errno(rawValue: errno) }
  }

  deinit {
    try? choose(input: 0)
    close(device)
  }
}

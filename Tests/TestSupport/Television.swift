import Glibc
import SystemPackage

/// A camera of vivid's at its second input, a television's: its frames are interlaced, whatever is asked for
/// (`vivid_field_cap`, drivers/media/test-drivers/vivid/vivid-vid-cap.c). At its first again when this value ends.
package final class Television {
  package let path: String
  private let device: CInt

  /// - Parameter alternates: One field in each buffer, in place of both in one.
  package init(_ path: String, alternates: Bool = false) throws {
    self.path = path
    device = unsafe open(path, O_RDWR | O_CLOEXEC)
    guard device >= 0 else { throw Errno(rawValue: errno) }
    try choose(input: 1)
    // VIDIOC_G_FMT and VIDIOC_S_FMT of struct v4l2_format: a type, a gap, and width, height, pixel format and field.
    var words = [UInt32](repeating: 0, count: 52)
    words[0] = 1
    guard unsafe ioctl(device, 0xC0D0_5604, &words) == 0 else { throw Errno(rawValue: errno) }
    words[5] = alternates ? 7 : 4
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

import Glibc
import LinuxHeaps
import Testing

/// A V4L2 capture device, asked what an image takes; nothing is captured.
struct VideoDevice: CustomTestStringConvertible, Sendable {
  struct Image {
    let format: UInt32
    let size: SizeU
    let bytesPerRow: UInt32
    let byteCount: UInt64
  }

  let path: String
  var testDescription: String { path }

  /// Those that this process may open, and that capture into one plane's buffer.
  static let all = (0..<64).map { VideoDevice(path: "/dev/video\($0)") }
    .filter { $0.image(of: Self.yuyv, SizeU(width: 640, height: 360)) != nil }

  private static let yuyv: UInt32 = 0x5659_5559

  /// `VIDIOC_TRY_FMT` (linux/videodev2.h): the driver's answer; nil where it has no such format.
  func image(of format: UInt32, _ size: SizeU) -> Image? {
    let device = unsafe open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard device >= 0 else { return nil }
    defer { close(device) }
    // struct v4l2_format: 208 bytes; the type, then from byte 8 width, height, format, field,
    // bytesperline and sizeimage. V4L2_BUF_TYPE_VIDEO_CAPTURE is 1.
    var words = [UInt32](repeating: 0, count: 52)
    (words[0], words[2], words[3], words[4]) = (1, size.width, size.height, format)
    guard unsafe ioctl(device, 0xc0d0_5640, &words) == 0, words[4] == format else { return nil }
    return Image(
      format: format, size: SizeU(width: words[2], height: words[3]), bytesPerRow: words[6],
      byteCount: UInt64(words[7]))
  }
}

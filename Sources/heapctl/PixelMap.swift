internal import CLibrary
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import SystemPackage

/// A picture from a PPM file (ppm(5), P6 with 8 bits a channel), scaled to what shows it.
struct PixelMap: Picture {
  private let width: Int
  private let height: Int
  private let bytes: [UInt8]
  /// Where the pixels begin.
  private let start: Int

  init(path: String) throws(HeapError) {
    let operation = "read a picture"
    do throws(Errno) { bytes = try Self.contents(of: path) } catch {
      throw HeapError(error, operation, at: path, fix: "name a PPM file that this user may read")
    }
    guard let (numbers, start) = Self.header(bytes), numbers[0] > 0, numbers[1] > 0,
      numbers[2] == 255, numbers[0] <= 1 << 16, numbers[1] <= 1 << 16,
      bytes.count - start >= numbers[0] * numbers[1] * 3
    else {
      throw HeapError(
        .invalidArgs, operation, at: path,
        cause: "the file is no whole PPM of kind P6, 8 bits deep",
        fix: "convert it, e.g. ffmpeg -i picture.png picture.ppm")
    }
    (width, height, self.start) = (numbers[0], numbers[1], start)
  }

  func color(x: Int, y: Int, width: Int, height: Int) -> RGB {
    let place = start + (band(y: y, height: height) * self.width + x * self.width / width) * 3
    return RGB(bytes[place], bytes[place + 1], bytes[place + 2])
  }

  func band(y: Int, height: Int) -> Int { y * self.height / height }

  /// Width, height and the largest value, and where the pixels begin; nil where it is no P6.
  private static func header(_ bytes: [UInt8]) -> (numbers: [Int], start: Int)? {
    guard bytes.starts(with: "P6".utf8) else { return nil }
    var numbers: [Int] = []
    var position = 2
    while numbers.count < 3, position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "#") {
        position = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      } else if (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
        let digits = bytes[position...].prefix { (0x30...0x39).contains($0) }
        guard let number = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
        numbers.append(number)
        position += digits.count
      } else if byte == 0x20 || (0x09...0x0d).contains(byte) {
        position += 1
      } else {
        return nil
      }
    }
    // One white space stands between the header and the pixels.
    return numbers.count == 3 ? (numbers, position + 1) : nil
  }

  private static func contents(of path: String) throws(Errno) -> [UInt8] {
    let file = try OwnedFD.open(path, O_RDONLY)
    let number = file.rawValue
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = try call { unsafe read(number, &piece, 1 << 20) }
      if count == 0 { return bytes }
      bytes += piece[..<count]
    }
  }
}

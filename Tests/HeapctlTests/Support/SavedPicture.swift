import Foundation
import TestSupport
import Testing

/// A place for a PNG file, read by Python's zlib: another hand than the one that writes it.
final class SavedPicture {
  private let folder = FileManager.default.temporaryDirectory.path + "/picture-\(UUID().uuidString)"
  var path: String { folder + "/picture.png" }

  init() {
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  private static let reader = """
    import struct, sys, zlib
    data = open(sys.argv[1], "rb").read()
    assert data[:8] == b"\\x89PNG\\r\\n\\x1a\\n"
    place, chunks = 8, []
    while place < len(data):
      size, kind = struct.unpack_from(">I4s", data, place)
      body = data[place + 8:place + 8 + size]
      assert struct.unpack_from(">I", data, place + 8 + size) == (zlib.crc32(kind + body),)
      chunks.append((kind, body))
      place += 12 + size
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[0][1])
    assert kind == [8, 2, 0, 0, 0]
    rows = zlib.decompress(chunks[1][1])
    size = 1 + width * 3
    assert len(rows) == size * height and not any(rows[::size])
    with open(sys.argv[2], "wb") as file:
      file.write(b"P6 %d %d 255\\n" % (width, height))
      for row in range(height): file.write(rows[row * size + 1:(row + 1) * size])
    """

  // Debian's own: another that PATH may name can be a script that takes a guest a quarter of a minute.
  /// The same picture as a PPM file, which goes with this value.
  func pixelMap() throws -> String {
    let map = folder + "/picture.ppm"
    let run = try Run.program("/usr/bin/python3", ["-c", Self.reader, path, map])
    try #require(run.status == 0, "\(run.error)")
    return map
  }

  struct Picture {
    let width: Int
    let height: Int
    let pixels: Data

    /// Red, green and blue.
    func color(x: Int, y: Int) -> [Int] {
      (0..<3).map { Int(pixels[pixels.startIndex + (y * width + x) * 3 + $0]) }
    }
  }

  func picture() throws -> Picture {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: try pixelMap()))
    let line = try #require(bytes.firstIndex(of: UInt8(ascii: "\n")))
    let words = String(decoding: bytes[..<line], as: UTF8.self).split(separator: " ")
    return Picture(
      width: try #require(Int(words[1])), height: try #require(Int(words[2])),
      pixels: bytes[(line + 1)...])
  }
}

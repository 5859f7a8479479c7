// A swap chain between two processes: `swap-chain paint PATH`, and in another process `swap-chain show PATH`.
import LinuxHeaps

@main struct SwapChain {
  static func main() async throws {
    let words = CommandLine.arguments
    switch words.count == 3 ? words[1] : "" {
    case "paint": try await paint(at: words[2])
    case "show": try show(from: words[2])
    default: print("usage: swap-chain paint|show PATH")
    }
  }

  /// Makes three buffers, and paints into one that is free while the others are shown.
  static func paint(at path: String) async throws {
    let heap = MemfdHeap()  // DMABufHeap(), where a display scans them out
    let buffers = try heap.allocateBuffers(count: 3, byteCount: 640 * 480 * 4)
    let listener = try MessageListener(at: path)
    let screen = try listener.accept()
    try screen.send(buffers)

    var free: [UInt8] = [0, 1, 2]
    for frame: UInt8 in 1...6 {
      if free.isEmpty { free += try next(from: screen) }
      let index = free.removeFirst()
      try buffers[Int(index)].vmo.withMutableBytes { pixels in
        for pixel in pixels.indices { pixels[pixel] = frame }
      }
      try screen.send([index])
    }
    while free.count < 3 { free += try next(from: screen) }
    _ = consume screen
    try await heap.delete(buffers)  // returns when the other process has let go of them, too
    print("all buffers are back")
  }

  /// The number of the buffer that is free again.
  static func next(from screen: borrowing MessageSocket) throws -> [UInt8] {
    guard let message = try screen.receive() else { throw CancellationError() }
    return message.bytes
  }

  /// Shows what is painted, until the painter hangs up.
  static func show(from path: String) throws {
    let painter = try MessageSocket(connectedTo: path)
    guard let buffers = try painter.receiveBuffers() else { return }
    while let message = try painter.receive(), let index = message.bytes.first {
      let corner = try buffers[Int(index)].vmo.copyBytes(0..<4)
      print("buffer \(index) shows \(corner)")
      try painter.send([index])
    }
  }
}

import Glibc
package import LinuxHeaps
import SystemPackage

extension SharedFD {
  /// A second descriptor as a vmo, e.g. for another process.
  package func vmo() throws -> VMO { try VMO(adopting: fd.duplicate()) }

  /// A second descriptor of the same open file.
  package func duplicate() throws -> SharedFD { SharedFD(try fd.duplicate()) }

  // By a mapping: a dma-buf has no read(2) and no write(2).
  package func write(_ bytes: [UInt8]) throws {
    let mapping = try vmo().map()
    for (offset, byte) in bytes.enumerated() { try mapping.poke(byte, at: offset) }
  }

  package func read(_ count: Int) throws -> [UInt8] {
    let mapping = try vmo().mapReadOnly()
    return try (0..<count).map { try mapping.peek(at: $0) }
  }

  /// Whether the other end of a socket or a pipe is closed, everywhere.
  package func isHungUp(within milliseconds: CInt) -> Bool {
    var event = pollfd(fd: fd.rawValue, events: 0, revents: 0)
    return unsafe poll(&event, 1, milliseconds) == 1
  }
}

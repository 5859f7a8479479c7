internal import ArgumentParser
internal import LinuxHeaps

/// A size as a person writes it: `4096`, `64K`, `8M`, `1G`; the units are powers of 1024.
struct ByteSize: ExpressibleByArgument {
  let bytes: UInt64

  init?(argument: String) {
    guard let bytes = UInt64(byteSize: argument) else { return nil }
    self.bytes = bytes
  }
}

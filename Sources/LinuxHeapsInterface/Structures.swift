internal import CLibrary
internal import CLinuxHeapsInterface
internal import LinuxHeaps

// Structures begin with their size, by which an older caller's are read and written no further than they go.

/// A copy of a caller's structure; what it has not is 0.
func read<Structure: BitwiseCopyable>(
  _ structure: UnsafePointer<Structure>, _ zero: Structure, _ operation: @autoclosure () -> String
) throws(HeapError) -> Structure {
  var copy = zero
  let size = try unsafe size(of: structure, operation())
  unsafe memcpy(&copy, structure, size)
  return copy
}

/// Writes to a caller's structure all that it has, but its size.
func write<Structure: BitwiseCopyable>(
  _ value: Structure, to structure: UnsafeMutablePointer<Structure>,
  _ operation: @autoclosure () -> String
) throws(HeapError) {
  let own = MemoryLayout<Int>.size
  let size = try unsafe size(of: structure, operation())
  unsafe withUnsafeBytes(of: value) { bytes in
    _ = unsafe memcpy(
      UnsafeMutableRawPointer(structure) + own, bytes.baseAddress! + own, size - own)
  }
}

/// How much of it both know.
private func size<Structure>(
  of structure: UnsafePointer<Structure>, _ operation: @autoclosure () -> String
) throws(HeapError) -> Int {
  let size = unsafe UnsafeRawPointer(structure).load(as: Int.self)
  guard size > MemoryLayout<Int>.size else {
    throw HeapError(
      .invalidArgs, operation(), cause: "the structure's size is \(size)",
      fix: "set its member size to sizeof")
  }
  return min(size, MemoryLayout<Structure>.size)
}

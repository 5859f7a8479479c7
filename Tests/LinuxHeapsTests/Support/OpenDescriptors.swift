@testable import LinuxHeaps

/// The open descriptors of this process, the one of the listing included.
func openDescriptorCount() throws -> Int {
  try SmallFile.entries(of: "/proc/self/fd").count
}

/// How many descriptors of this process are open on the memfds of a buffer.
func openDescriptorCount(of key: BufferKey) -> Int {
  let names = (try? SmallFile.entries(of: "/proc/self/fd")) ?? []
  return names.count { (try? SmallFile.link("/proc/self/fd/\($0)")) == "/memfd:\(key) (deleted)" }
}

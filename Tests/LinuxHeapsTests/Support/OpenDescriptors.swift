@testable import LinuxHeaps

/// The open descriptors of this process, without those that are open for a moment: the listing's own,
/// and what libdispatch reads of its threads (`stat`) and libc of the machine's processors (/sys).
func openDescriptorCount() throws -> Int {
  try SmallFile.entries(of: "/proc/self/fd").count { number in
    guard let target = try? SmallFile.link("/proc/self/fd/\(number)") else { return false }
    return !target.hasSuffix("/stat") && !target.hasPrefix("/sys/")
  }
}

/// How many descriptors of this process are open on the memfds of a buffer.
func openDescriptorCount(of key: BufferKey) -> Int {
  let names = (try? SmallFile.entries(of: "/proc/self/fd")) ?? []
  return names.count { (try? SmallFile.link("/proc/self/fd/\($0)")) == "/memfd:\(key) (deleted)" }
}

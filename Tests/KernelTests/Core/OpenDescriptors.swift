import HeapTestKit

@testable import LinuxHeaps

/// The open descriptors of this process, without those that are open for a moment: the listing's own,
/// what libdispatch reads of its threads (`stat`) and libc of the machine's processors (/sys). Nor what heaps
/// keep from one buffer to the next: their devices, and files of fdinfo.
func openDescriptors() throws -> [String] {
  try SmallFile.entries(of: "/proc/self/fd").compactMap {
    try? SmallFile.link("/proc/self/fd/\($0)")
  }
  .filter { !$0.hasSuffix("/stat") && !$0.hasPrefix("/sys/") && !OpenDescriptors.isKept($0) }
  .sorted()
}

/// How many descriptors of this process are open on the memfds of a buffer.
func openDescriptorCount(of key: BufferKey) -> Int {
  let names = (try? SmallFile.entries(of: "/proc/self/fd")) ?? []
  return names.count { (try? SmallFile.link("/proc/self/fd/\($0)")) == "/memfd:\(key) (deleted)" }
}

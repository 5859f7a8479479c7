import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

/// In a real control group, and in a process of its own: beyond a limit the kernel ends it.
@Suite(
  .enabled(if: ChargedGroup.canBeMade, "needs root in the root group of version 2"))
struct ControlGroupLimitTests {
  @Test func `beyond the limit of a group above, a request is refused and the process lives`() async
  {
    await #expect(processExitsWith: .success) {
      let group = try LimitedGroup(memory: 64 * mebibyte)
      for name in charged {
        let heap = TestHeaps.make(name)
        do {
          let vmo = try heap.allocate(.fresh(), size: 8 * mebibyte)
          try touch(vmo)
          // What it has by now counts. 56 MiB could fit to a page: what else the process has may be given up.
          #expect(isRefused(heap, 60 * mebibyte, by: group.directory), "\(name)")
          // udmabuf itself takes no more than 64 MiB where nobody raised it (size_limit_mb).
          if name != "udmabuf" {
            #expect(isRefused(heap, 128 * mebibyte, by: group.directory), "\(name)")
          }
        }
        #expect(try await eventuallyHolds { heap.buffers.count == 0 })
      }
      try group.leave()
    }
  }

  // What buffers cost the kernel besides their pages is charged, too, and a memfd's pages are taken when they are first
  // used, long after the request.
  @Test func `a group can be filled with small buffers, and all of them used`() async {
    await #expect(processExitsWith: .success) {
      let group = try LimitedGroup(memory: 64 * mebibyte)
      for name in charged {
        let heap = TestHeaps.make(name)
        var buffers: [HeldVMO] = []
        let error = refusal { () throws(HeapError) in
          while buffers.count < 128 {
            buffers.append(HeldVMO(try heap.allocate(.fresh(), size: mebibyte / 2)))
          }
        }
        #expect(error?.path?.string == group.directory, "\(name)")
        #expect((80..<128).contains(buffers.count), "\(name)")
        for buffer in buffers { try touch(buffer.duplicate()!.take()!) }
        buffers = []
        #expect(try await eventuallyHolds { heap.buffers.count == 0 })
      }
      try group.leave()
    }
  }
}

/// The heaps whose memory a group is charged for.
private let charged = TestHeaps.names.filter {
  ["memfd", "udmabuf"].contains($0) || $0 == "system" && ControlGroup.chargesHeaps
}

private func isRefused(_ heap: any LocalHeap, _ size: UInt64, by directory: String) -> Bool {
  let error = refusal { () throws(HeapError) in close(try heap.allocate(.fresh(), size: size)) }
  return error?.code == .noMemory && error?.path?.string == directory
}

private func touch(_ vmo: borrowing VMO) throws {
  let mapping = try vmo.map()
  var access = try mapping.writeAccess()
  var bytes = access.mutableBytes
  for offset in stride(from: 0, to: mapping.byteCount, by: Int(pageSize)) {
    bytes.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
  }
  try access.end()
}

/// A group with a limit, and this process in one below it, without one of its own.
private struct LimitedGroup {
  let directory = "\(ChargedGroup.root)/limited-\(getpid())"
  private var own: String { "\(directory)/own" }

  init(memory: UInt64) throws(Errno) {
    for (path, parent) in [(directory, ChargedGroup.root), (own, directory)] {
      try ChargedGroup.write("+memory", to: "\(parent)/cgroup.subtree_control")
      _ = try call { unsafe mkdir(path, 0o755) }
    }
    try ChargedGroup.write("\(memory)", to: "\(directory)/memory.max")
    try ChargedGroup.write("\(getpid())", to: "\(own)/cgroup.procs")
  }

  func leave() throws(Errno) {
    try ChargedGroup.write("\(getpid())", to: "\(ChargedGroup.root)/cgroup.procs")
    for path in [own, directory] { _ = try call { unsafe rmdir(path) } }
  }
}

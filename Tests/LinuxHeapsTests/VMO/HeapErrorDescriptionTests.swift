import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct HeapErrorDescriptionTests {
  @Test func `it names operation, path, cause, errno, status and fix`() {
    let error = HeapError(
      .permissionDenied, "allocate 8 MiB", at: "/dev/dma_heap/system",
      cause: "the node is root:root 0600", fix: "join the group")
    #expect(
      error.description == """
        allocate 8 MiB (/dev/dma_heap/system): the node is root:root 0600 \
        [Permission denied, errno 13]; ACCESS_DENIED. To fix it: join the group
        """)
  }

  @Test func `the kernel's words are not said twice`() {
    let error = HeapError(.noMemory, "allocate 8 MiB")
    #expect(
      error.description == "allocate 8 MiB: Cannot allocate memory [errno 12]; NO_MEMORY")
  }

  @Test func `what is not known is not said`() {
    let error = HeapError(.alreadyExists, "allocate 4 KiB", cause: "buffer 3 is live")
    #expect(error.description == "allocate 4 KiB: buffer 3 is live; ALREADY_EXISTS")
    #expect(error.errno == nil)
    #expect(error.path == nil)
    #expect(error.fix == nil)
    #expect(error.returnedVMO == nil)
  }

  @Test func `a refusal is told with its cause and fix`() {
    let refusal = AccessRefusal(
      .notInGroup, "is root:video 0660, and nobody is not in the group video",
      why: "the group has that right", fix: "join it")
    let error = HeapError(refusal, "allocate 4 KiB", at: "/dev/node", .permissionDenied)
    #expect(
      error.description == """
        allocate 4 KiB (/dev/node): the node is root:video 0660, and nobody is not in the group video: \
        the group has that right [Permission denied, errno 13]; ACCESS_DENIED. To fix it: join it
        """)
  }

  @Test func `what an attempt meets has its operation and path`() {
    let error = refusal { () throws(HeapError) in
      try attempt("read a file", at: "/some/file") { () throws(Errno) in throw .ioError }
    }
    #expect(error?.description == "read a file (/some/file): Input/output error [errno 5]; IO")
  }
}

import Glibc
import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct OwnedFDTests {
  /// Whether the number still means the same file; another thread may have taken it since.
  private static func isOpen(_ number: CInt, on inode: UInt) -> Bool {
    var status = stat()
    return unsafe fstat(number, &status) == 0 && status.st_ino == inode
  }

  @Test func `it closes at the end of its scope`() throws {
    let number: CInt
    let inode: UInt
    do {
      let file = try Memfd.create("lh:owned", size: 0)
      number = file.rawValue
      inode = try file.status().st_ino
      #expect(Self.isOpen(number, on: inode))
    }
    #expect(!Self.isOpen(number, on: inode))
  }

  // A second close would hit whoever got the number meanwhile.
  @Test func `it closes exactly once`() async {
    await #expect(processExitsWith: .success) {
      let number: CInt
      do {
        let first = try Memfd.create("lh:first", size: 0)
        number = first.rawValue
      }
      let second = try Memfd.create("lh:second", size: 0)
      // The kernel gives out the lowest free number.
      precondition(second.rawValue == number)
      do {
        let adopted = OwnedFD(adopting: second.release())
        _ = adopted.release()
      }
      precondition(fcntl(number, F_GETFD) >= 0)
    }
  }

  @Test func `what is released stays open`() throws {
    let file = try Memfd.create("lh:released", size: 0)
    let inode = try file.status().st_ino
    let number = file.release()
    #expect(Self.isOpen(number, on: inode))
    _ = Glibc.close(number)
  }

  @Test func `a duplicate is close-on-exec, of the same file, and closes by itself`() throws {
    let file = try Memfd.create("lh:duplicated", size: 0)
    let inode = try file.status().st_ino
    let number: CInt
    do {
      let copy = try file.duplicate()
      number = copy.rawValue
      #expect(number != file.rawValue)
      #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
      #expect(Self.isOpen(number, on: inode))
    }
    #expect(!Self.isOpen(number, on: inode))
    #expect(Self.isOpen(file.rawValue, on: inode))
  }

  @Test func `what it opens is close-on-exec`() throws {
    let file = try Memfd.create("lh:opened", size: 0)
    let again = try file.reopened(O_RDONLY)
    for number in [file.rawValue, again.rawValue] {
      #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
    }
  }

  @Test func `a duplicate of what is not open fails`() {
    // Far above any limit on open files, so nobody gets the number meanwhile.
    let absent = OwnedFD(adopting: .max)
    var error: Errno?
    do { _ = try absent.duplicate() } catch let caught { error = caught }
    #expect(error == .badFileDescriptor)
  }

  @Test func `a missing file is said to be missing`() {
    var error: Errno?
    do { _ = try OwnedFD.open("/nonexistent/file", O_RDONLY) } catch let caught { error = caught }
    #expect(error == .noSuchFileOrDirectory)
  }
}

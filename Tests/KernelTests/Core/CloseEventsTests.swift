import Glibc
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct CloseEventsTests {
  /// The next reports, when there are so many.
  private static func reports(
    _ events: borrowing CloseEvents, _ count: Int
  ) async throws -> [CloseEvents.Watch] {
    var reports: [CloseEvents.Watch] = []
    _ = try await eventuallyHolds {
      reports += try events.read() ?? []
      return reports.count >= count
    }
    return reports
  }

  @Test(arguments: [O_RDWR, O_RDONLY, O_WRONLY])
  func `each close of an open file of the inode is reported`(_ flags: CInt) async throws {
    let memfd = try Memfd.create("lh:events", size: 0)
    let events = try CloseEvents()
    let watch = try events.watch(memfd.rawValue)
    let first = try memfd.reopened(flags)
    let second = try memfd.reopened(flags)
    #expect(try events.read() == [])
    _ = consume first
    #expect(try await Self.reports(events, 1) == [watch])
    _ = consume second
    #expect(try await Self.reports(events, 1) == [watch])
    #expect(try events.read() == [])
  }

  @Test func `dups keep an open file open`() async throws {
    let memfd = try Memfd.create("lh:events", size: 0)
    let events = try CloseEvents()
    let watch = try events.watch(memfd.rawValue)
    let child = try memfd.reopened(O_RDWR)
    let dup = try child.duplicate()
    _ = consume child
    #expect(try events.read() == [])
    _ = consume dup
    #expect(try await Self.reports(events, 1) == [watch])
  }

  @Test func `a mapping keeps an open file open`() async throws {
    let memfd = try Memfd.create("lh:events", size: pageSize)
    let events = try CloseEvents()
    let watch = try events.watch(memfd.rawValue)
    let child = try memfd.reopened(O_RDWR)
    let address = unsafe mmap(nil, Int(pageSize), PROT_READ, MAP_SHARED, child.rawValue, 0)
    _ = consume child
    #expect(try events.read() == [])
    unsafe munmap(address, Int(pageSize))
    #expect(try await Self.reports(events, 1) == [watch])
  }

  @Test func `two inodes have two watches`() async throws {
    let files = (
      SharedFD(try Memfd.create("lh:one", size: 0)), SharedFD(try Memfd.create("lh:two", size: 0))
    )
    let events = try CloseEvents()
    let watches = [try events.watch(files.0.fd.rawValue), try events.watch(files.1.fd.rawValue)]
    #expect(watches[0] != watches[1])
    let (one, two) = (SharedChild(files.0), SharedChild(files.1))
    try two.open()
    try one.open()
    two.close()
    one.close()
    #expect(try await Self.reports(events, 2) == [watches[1], watches[0]])
  }

  @Test func `a removed watch reports nothing`() throws {
    let memfd = try Memfd.create("lh:events", size: 0)
    let events = try CloseEvents()
    events.remove(try events.watch(memfd.rawValue))
    _ = try memfd.reopened(O_RDWR)
    #expect(try events.read() == [])
  }

  @Test func `more reports than one read takes`() async throws {
    let memfds = try (0..<300).map { SharedFD(try Memfd.create("lh:\($0)", size: 0)) }
    let events = try CloseEvents()
    let watches = try memfds.map { try events.watch($0.fd.rawValue) }
    for memfd in memfds { _ = try memfd.fd.reopened(O_RDWR) }
    let reports = try await Self.reports(events, 300)
    // Their own closes would be reported as well.
    withExtendedLifetime(memfds) { #expect(reports == watches) }
  }
}

/// An open file that is closed by name.
private final class SharedChild {
  private let file: SharedFD
  private var child: OwnedFD?

  init(_ file: SharedFD) { self.file = file }

  func open() throws { child = try file.fd.reopened(O_RDWR) }

  func close() { child = nil }
}

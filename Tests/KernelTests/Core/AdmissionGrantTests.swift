import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct AdmissionGrantTests {
  private static func admit(
    _ admission: Admission, _ size: UInt64, from source: Admission.Source = .pages
  ) throws(HeapError) -> Admission.Grant {
    try admission.admit(size * mebibyte, from: source, "allocate")
  }

  private static func isRefused(
    _ admission: Admission, _ size: UInt64, from source: Admission.Source = .pages
  ) -> Bool {
    refusal { () throws(HeapError) in
      try admit(admission, size, from: source).giveBack()
    }?.code == .noMemory
  }

  // The kernel's figures do not show a request before it is served.
  @Test func `what is underway is spoken for`() throws {
    let admission = Admission(on: .of(available: 100))
    let first = try Self.admit(admission, 60)
    let error = refusal { () throws(HeapError) in try Self.admit(admission, 60) }
    #expect(
      error?.cause
        == "100 MiB are available, less a floor of 0 B and 60 MiB promised to others")
    let second = try Self.admit(admission, 40)
    #expect(Self.isRefused(admission, 1))
    second.giveBack()
    #expect(Self.isRefused(admission, 41))
    first.giveBack()
    #expect(!Self.isRefused(admission, 100))
  }

  @Test func `what has settled shows in the machine's own figures`() throws {
    let admission = Admission(on: .of(available: 100))
    let charge = try Self.admit(admission, 60).settled()
    #expect(!Self.isRefused(admission, 100))
    #expect(Self.isRefused(admission, 101))
    #expect(admission.liveBytes == 60 * mebibyte)
    charge.end()
    #expect(admission.liveBytes == 0)
  }

  @Test(arguments: [.pages, .pagesAtFirstUse, .nothing, .region(region)] as [Admission.Source])
  func `it is given back, settled or not`(_ source: Admission.Source) throws {
    let admission = Admission(on: .of(available: 100))
    let kept = try Self.admit(admission, 10, from: source)
    for isSettled in [false, true] {
      let grant = try Self.admit(admission, 20, from: source)
      #expect(admission.liveBytes == 30 * mebibyte)
      if isSettled { grant.settled().end() } else { grant.giveBack() }
      #expect(admission.liveBytes == 10 * mebibyte)
    }
    kept.giveBack()
    #expect(admission.liveBytes == 0)
    #expect(!Self.isRefused(admission, 100))
  }

  private static let region = CMARegion(name: "reserved", total: 1 << 30, available: nil)

  @Test(arguments: [.pages, .pagesAtFirstUse, .nothing] as [Admission.Source])
  func `a dropped one is given back`(_ source: Admission.Source) throws {
    let admission = Admission(on: .of(available: 100))
    do { _ = try Self.admit(admission, 60, from: source) }
    #expect(admission.liveBytes == 0)
    #expect(!Self.isRefused(admission, 100))
  }

  @Test func `a promise counts as far as it was not kept`() throws {
    let admission = Admission(on: .of(available: 100))
    let parent = try MemfdParent("promise", size: 64 * mebibyte, kind: .memfd)
    var grant = try Self.admit(admission, 64, from: .pagesAtFirstUse)
    grant.watch(parent)
    #expect(parent.untouchedBytes == 64 * mebibyte)
    #expect(Self.isRefused(admission, 64))
    #expect(!Self.isRefused(admission, 36))
    try Self.touch(parent, mebibytes: 32)
    #expect(parent.untouchedBytes == 32 * mebibyte)
    #expect(!Self.isRefused(admission, 64))
    #expect(Self.isRefused(admission, 69))
    grant.giveBack()
    #expect(!Self.isRefused(admission, 100))
  }

  // The heap opens the memfd after the request was admitted; another thread may ask meanwhile.
  @Test func `a promise that cannot be asked yet counts whole`() throws {
    let admission = Admission(on: .of(available: 100))
    let grant = try Self.admit(admission, 60, from: .pagesAtFirstUse)
    #expect(Self.isRefused(admission, 60))
    #expect(Self.isRefused(admission, 60, from: .pagesAtFirstUse))
    grant.giveBack()
  }

  @Test func `heaps that share an admission share its figures`() async throws {
    let admission = Admission(budget: 3 * pageSize, on: .of(available: 100))
    let (memfd, opaque) = (MemfdHeap(admission: admission), OpaqueHeap(admission: admission))
    let keys = [BufferKey.fresh(), .fresh()]
    let one = try memfd.allocate(keys[0], size: 2 * pageSize)
    let error = refusal { () throws(HeapError) in
      try opaque.allocate(keys[1], size: 2 * pageSize)
    }
    #expect(error?.code == .noMemory)
    try await memfd.delete(keys[0], one)
    try await opaque.delete(keys[1], opaque.allocate(keys[1], size: 2 * pageSize))
  }

  private static func touch(_ parent: MemfdParent, mebibytes: Int) throws {
    let file = SharedBox(try parent.openChild())
    let vmo = try VMO(adopting: file.take())
    let mapping = try vmo.slice(offset: 0, byteCount: UInt64(mebibytes) * mebibyte).map()
    for offset in stride(from: 0, to: mebibytes << 20, by: Int(pageSize)) {
      try mapping.poke(1, at: offset)
    }
  }
}

extension Admission {
  /// For a machine whose figures stay as they are.
  convenience init(floor: UInt64? = 0, budget: UInt64? = nil, on machine: MachineMemory) {
    self.init(floor: floor, budget: budget) { machine }
  }
}

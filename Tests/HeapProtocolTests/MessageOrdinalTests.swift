import HeapProtocol
import Testing

@Suite struct MessageOrdinalTests {
  @Test(
    arguments: [
      ("fuchsia.hardware.sysmem/Heap.AllocateVmo", .allocateVmo),
      ("fuchsia.hardware.sysmem/Heap.DeleteVmo", .deleteVmo),
      ("fuchsia.hardware.sysmem/Heap.OnRegister", .onRegister),
      ("linuxheaps/Heap.WatchBuffers", .watchBuffers),
      ("linuxheaps/Heap.OnReclaimed", .onReclaimed),
      ("linuxheaps/Heap.AllocateVmoFrom", .allocateVmoFrom),
      ("fuchsia.sysmem2/Allocator.GetVmoInfo", .getVmoInfo),
      ("linuxheaps/Observer.AttachLifetimeTracking", .attachLifetimeTracking),
      ("linuxheaps/Observer.AwaitReclaimed", .awaitReclaimed),
      ("linuxheaps/Observer.GetStatus", .getStatus),
    ] as [(String, MessageOrdinal)])
  func `an ordinal is made from its name`(_ name: String, _ ordinal: MessageOrdinal) {
    let hash = sha256(Array(name.utf8)).prefix(8)
    let number = hash.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    #expect(ordinal.rawValue == number & ~(1 << 63))
    #expect("\(ordinal)" == name.split(separator: ".").last!)
  }

  @Test func `an epitaph has all ones`() {
    #expect(MessageOrdinal.epitaph.rawValue == .max)
    #expect("\(MessageOrdinal.epitaph)" == "epitaph")
    #expect("\(MessageOrdinal(rawValue: 0x1f))" == "0x1f")
  }

  @Test func `the hash is right`() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    #expect(sha256([]).hex == empty)
  }
}

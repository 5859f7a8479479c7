import LinuxHeaps
import Testing

@testable import HeapTestKit

@Suite struct StressModelTests {
  /// One buffer of 4 pages, its handle 1, and what is done to it.
  private static func model(after actions: [StressAction]) -> (StressModel, [Int]) {
    var model = StressModel()
    var gone: [Int] = []
    let begin = StressAction.allocate(buffer: 0, index: 0, pages: 4, handle: 1)
    for action in [begin] + actions { gone += model.apply(action).gone.map(\.id) }
    return (model, gone)
  }

  static let holders: [(actions: [StressAction], references: Int)] = [
    ([], 2),
    ([.duplicate(handle: 1, new: 2)], 3),
    ([.slice(handle: 1, offset: 1, pages: 2, new: 2), .close(handle: 1)], 2),
    ([.adopt(handle: 1, new: 2)], 2),
    ([.map(handle: 1, new: 2, isWritable: true)], 4),
    ([.map(handle: 1, new: 2, isWritable: true), .close(handle: 1)], 3),
    ([.startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0)], 3),
    ([.startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .peerMaps(peer: 2, slot: 0)], 4),
    (
      [
        .startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .peerMaps(peer: 2, slot: 0),
        .peerCloses(peer: 2, slot: 0), .close(handle: 1),
      ], 2
    ),
    (
      [
        .startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .peerMaps(peer: 2, slot: 0),
        .fork(peer: 2),
      ], 6
    ),
    (
      [
        .startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .fork(peer: 2),
        .peerCloses(peer: 2, slot: 0),
      ], 3
    ),
    (
      [
        .startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .fork(peer: 2),
        .killChild(peer: 2),
      ], 3
    ),
    ([.startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .kill(peer: 2)], 2),
    ([.send(handle: 1, message: 2)], 3),
    ([.send(handle: 1, message: 2), .receive(message: 2, new: 3)], 3),
    ([.send(handle: 1, message: 2), .drop(message: 2)], 2),
    ([.importBuffer(handle: 1, device: 0, new: 2)], 5),
    (
      [.importBuffer(handle: 1, device: 0, new: 2), .importBuffer(handle: 1, device: 0, new: 3)], 5
    ),
    (
      [
        .importBuffer(handle: 1, device: 0, new: 2), .importBuffer(handle: 1, device: 1, new: 3),
        .release(imported: 2),
      ], 5
    ),
    ([.duplicate(handle: 1, new: 2), .delete(handle: 1)], 2),
  ]

  @Test(arguments: holders.indices)
  func `each holder is counted`(_ index: Int) {
    let (actions, references) = Self.holders[index]
    let (model, gone) = Self.model(after: actions)
    #expect(model.references(to: 0) == references, "\(actions)")
    #expect(gone == [])
  }

  @Test(
    arguments: [
      [.close(handle: 1)], [.delete(handle: 1)],
      [.startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .close(handle: 1), .kill(peer: 2)],
      [
        .startPeer(peer: 2), .pass(handle: 1, peer: 2, slot: 0), .fork(peer: 2), .close(handle: 1),
        .end(peer: 2),
      ],
      [.importBuffer(handle: 1, device: 0, new: 2), .close(handle: 1), .release(imported: 2)],
      [.map(handle: 1, new: 2, isWritable: false), .delete(handle: 1), .unmap(mapping: 2)],
    ] as [[StressAction]])
  func `a buffer goes with its last holder, and not before`(_ actions: [StressAction]) {
    #expect(Self.model(after: actions.dropLast()).1 == [])
    let (model, gone) = Self.model(after: actions)
    #expect(gone == [0])
    #expect(model.buffers.isEmpty)
  }

  @Test func `a byte is where the slice's own offset puts it`() {
    let (model, _) = Self.model(after: [
      .slice(handle: 1, offset: 1, pages: 2, new: 2), .map(handle: 2, new: 3, isWritable: true),
      .write(mapping: 3, at: 5, value: 9),
    ])
    #expect(model.byte(at: 5, of: model.mapping(3).part) == 9)
    #expect(model.byte(at: pageSize + 5, of: model.handle(1).part) == 9)
    #expect(model.byte(at: 5, of: model.handle(1).part) == 0)
  }
}

@Suite struct StressScriptTests {
  /// What is drawn, with nothing but a model to do it to.
  private static func actions(
    _ count: Int, seed: UInt64 = 1, heap: String = "memfd", _ traits: StressScript.Traits,
    _ look: (StressModel) -> Void = { _ in }
  ) -> [StressAction] {
    var script = StressScript(seed: seed, heap: heap, traits)
    var model = StressModel()
    return (0..<count).map { _ in
      let action = script.next(model)
      _ = model.apply(action)
      look(model)
      return action
    }
  }

  @Test
  func `what is drawn follows from seed and heap, and a run is the beginning of a longer one`() {
    let traits = StressScript.Traits(devices: 2)
    let actions = Self.actions(2_000, traits)
    #expect(Self.actions(500, traits) == Array(actions.prefix(500)))
    #expect(Self.actions(2_000, seed: 2, traits) != actions)
    #expect(Self.actions(2_000, heap: "system", traits) != actions)
  }

  @Test func `everything is drawn in the end`() {
    let actions = Self.actions(5_000, StressScript.Traits(devices: 2))
    let kinds = Set(actions.map(\.kind))
    for kind in StressReport.Kind.allCases { #expect(kinds.contains(kind), "\(kind)") }
  }

  @Test func `what the heap has not is not drawn`() {
    let actions = Self.actions(5_000, StressScript.Traits(isMappable: false, devices: 0))
    let kinds = Set(actions.map(\.kind))
    #expect(kinds.isDisjoint(with: [.map, .unmap, .write, .read, .import, .release]))
    #expect(kinds.count == StressReport.Kind.allCases.count - 6)
  }

  @Test func `what lives stays within its limits`() {
    let limit: UInt64 = 8 << 20
    var (buffers, most) = (0, UInt64(0))
    _ = Self.actions(5_000, StressScript.Traits(devices: 2, limit: limit)) { model in
      buffers = max(buffers, model.buffers.count)
      most = max(most, model.liveBytes)
    }
    #expect(most <= limit && most > limit / 2)
    #expect(buffers <= 24 && buffers > 8)
  }
}

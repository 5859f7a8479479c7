internal import LinuxHeapsDRM

/// One thing that a heap must do.
public struct HeapCheck: Sendable, CustomStringConvertible {
  /// Words joined by hyphens, e.g. `child-by-mapping`.
  public let name: String
  /// What must hold, in one sentence.
  public let claim: String
  private let kinds: Set<HeapUnderTest.Kind>
  /// It looks at what the kernel offers this process, or at what only a heap in it can do.
  private let isLocal: Bool
  private let body: @Sendable (CheckBench) async throws -> Void

  init(
    _ name: String, _ claim: String, on kinds: Set<HeapUnderTest.Kind> = Set(Self.everyKind),
    isLocal: Bool = false, _ body: @escaping @Sendable (CheckBench) async throws -> Void
  ) {
    self.name = name
    self.claim = claim
    self.kinds = kinds
    self.isLocal = isLocal
    self.body = body
  }

  static let everyKind = HeapUnderTest.Kind.allCases
  /// Memory that the processor can reach.
  static let mappable: Set<HeapUnderTest.Kind> = [.dmaHeap, .dmaBuf, .udmabuf, .memfd]
  static let dmaBufs: Set<HeapUnderTest.Kind> = [.dmaHeap, .dmaBuf, .udmabuf]

  public var description: String { name }

  /// How a check ended.
  public enum Outcome: Hashable, Sendable {
    /// With what the devices answered, of a check that asks some.
    case passed([DeviceAnswer])
    /// What did not hold.
    case failed(String)
    /// What the machine lacks to find out.
    case skipped(String)
  }

  /// - Parameters:
  ///   - heap: To which the check applies: ``all(for:)``.
  ///   - seed: What the check's random content follows from, together with its name and the heap's: the
  ///     same seed gives the same content, whatever else is checked.
  public func run(on heap: HeapUnderTest, seed: UInt64 = 0) async -> Outcome {
    do {
      let bench = try CheckBench(heap, seed: SeededGenerator(seed, for: heap.name, name).seed)
      try await body(bench)
      // No check leaves a buffer behind: the next one may count descriptors, and a parent may be
      // closing still.
      try bench.eventuallyReclaimed("the check ended")
      return .passed(bench.answers)
    } catch let skip as Skip {
      return .skipped(skip.reason)
    } catch {
      return .failed("\(error)")
    }
  }

  /// The checks that say something about this heap.
  public static func all(for heap: HeapUnderTest) -> [HeapCheck] {
    all.filter { $0.kinds.contains(heap.kind) && !(heap.isRemote && $0.isLocal) }
  }

  /// The same checks in an order that follows from the seed, so that none relies on another.
  public static func all(for heap: HeapUnderTest, orderedBy seed: UInt64) -> [HeapCheck] {
    var generator = SeededGenerator(seed, for: heap.name)
    return all(for: heap).shuffled(using: &generator)
  }

  /// Every check, in the order in which a person would want to know.
  public static let all: [HeapCheck] =
    allocation + memory + children + cleanup + deletion + kernelInterface + imports + udmabuf
    + opaque + fences + devices
}

/// The machine lacks something that the check needs.
struct Skip: Error { let reason: String }

/// A claim that did not hold.
struct Broken: Error, CustomStringConvertible { let description: String }

func expect(_ holds: Bool, _ claim: @autoclosure () -> String) throws(Broken) {
  if !holds { throw Broken(description: "does not hold: \(claim())") }
}

func expectEqual<Value: Equatable>(
  _ found: Value, _ wanted: Value, _ what: @autoclosure () -> String
) throws(Broken) {
  if found != wanted {
    throw Broken(description: "\(what()) is \(found), should be \(wanted)")
  }
}

/// What a device did with a check's buffer.
public struct DeviceAnswer: Hashable, Sendable {
  /// Its node and its driver, e.g. `/dev/dri/card0 (vgem)`.
  public let device: String
  /// `imports`, `streams`, or `refuses` and why.
  public let answer: String
}

extension DeviceAnswer {
  init(_ node: DRMNode, _ answer: String) {
    self.init(device: "\(node.path) (\(node.driver ?? "?"))", answer: answer)
  }

  init(_ camera: CameraTrial, _ outcome: CameraTrial.Outcome) {
    self.init(
      device: "\(camera.path) (\(camera.driver), \(camera.width)x\(camera.height))",
      answer: outcome == .streamed ? "streams" : "refuses: it needs contiguous memory")
  }
}

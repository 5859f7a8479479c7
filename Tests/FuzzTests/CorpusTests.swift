import Foundation
import Fuzzing
import Testing

/// The fuzzers' inputs, without a fuzzer: also those that found something once (`make fuzz` finds more).
@Suite struct CorpusTests {
  private static func inputs(_ name: String) throws -> [(name: String, bytes: [UInt8])] {
    let folder = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../Fuzz/Corpus/\(name)")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    return try names.sorted().map {
      ($0, [UInt8](try Data(contentsOf: folder.appending(path: $0))))
    }
  }

  @Test func `what is decoded can be encoded, and is the same`() throws {
    let inputs = try Self.inputs("decoders")
    #expect(inputs.count > 10)
    for input in inputs {
      let fault = Decoders.fault(in: input.bytes)
      #expect(fault == nil, "\(input.name)")
    }
  }

  @Test func `clients that do anything leave nothing, and nobody waits for them`() throws {
    let inputs = try Self.inputs("connections")
    #expect(inputs.count > 10)
    let server = try FuzzedServer()
    var steps = 0
    for input in inputs {
      let fault = server.fault(after: input.bytes, steps: &steps)
      #expect(fault == nil, "\(input.name)")
    }
    #expect(steps > 100)
  }
}

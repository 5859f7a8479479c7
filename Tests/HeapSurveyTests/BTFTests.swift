import Glibc
import Testing

@testable import HeapSurvey

@Suite struct BTFTests {
  /// A description in the order of the bytes that it has.
  struct Sample {
    var types: [UInt32] = []
    var layouts: [UInt8] = []
    private(set) var strings: [UInt8] = [0]

    mutating func name(_ name: String) -> UInt32 {
      defer { strings += Array(name.utf8) + [0] }
      return UInt32(strings.count)
    }

    mutating func add(
      _ kind: UInt32, named name: String = "", count: Int = 0, flag: Bool = false, _ target: UInt32,
      _ details: UInt32...
    ) {
      let name = name.isEmpty ? 0 : self.name(name)
      types += [name, kind << 24 | UInt32(count) | (flag ? 1 << 31 : 0), target] + details
    }

    var bytes: [UInt8] {
      let words = unsafe types.withUnsafeBytes { unsafe Array($0) }
      let header = layouts.isEmpty ? 24 : 32
      var head = [
        UInt32(header), 0, UInt32(words.count), UInt32(words.count), UInt32(strings.count),
      ]
      if !layouts.isEmpty {
        head += [UInt32(words.count + strings.count), UInt32(layouts.count)]
      }
      let start: [UInt16] = [0xeb9f, 1]
      return unsafe start.withUnsafeBytes { unsafe Array($0) }
        + head.withUnsafeBytes { unsafe Array($0) } + words + strings + layouts
    }

    /// 1: unsigned long. 2: a struct whose member `inner` is in a union without a name. 3: const of 2.
    /// 4: a pointer to 3. 5: a prototype with that parameter. 6: the function. 7: a name for 1.
    static var function: Sample {
      var sample = Sample()
      sample.add(1, named: "unsigned long", 8, 64)
      sample.add(
        4, named: "outer", count: 3, flag: true, 24, sample.name("first"), 1, 0, 0, 8, 64,
        sample.name("bits"), 1, 3 << 24 | 128)
      sample.add(10, 2)
      sample.add(2, 3)
      sample.add(13, count: 1, 0, sample.name("argument"), 4)
      sample.add(12, named: "walk", count: 1, 5)
      sample.add(8, named: "size_t", 1)
      sample.add(5, count: 2, 8, sample.name("inner"), 7, 0, sample.name("other"), 4, 0)
      return sample
    }
  }

  /// What is wrong with a description; nil where nothing is.
  private static func fault(_ body: () throws(BTF.Malformed) -> Void) -> String? {
    do throws(BTF.Malformed) { try body() } catch { return error.description }
    return nil
  }

  @Test func `a function leads to the members of what it is given`() throws {
    let types = try BTF(Sample.function.bytes)
    #expect(try types.function(named: "walk") == 6)
    #expect(try types.function(named: "wal") == nil)
    #expect(try types.function(named: "outer") == nil)
    #expect(try types.parameters(of: 6) == [4])
    let outer = try types.pointee(of: 4)
    #expect(outer == 2)
    #expect(try types.member("first", of: outer) == BTF.Member(offset: 0, type: 1))
    #expect(try types.member("inner", of: outer) == BTF.Member(offset: 8, type: 7))
    #expect(try types.member("missing", of: outer) == nil)
    #expect(try types.size(of: 7) == 8)
    #expect(try types.size(of: 4) == MemoryLayout<UInt>.size)
  }

  @Test func `what leads nowhere is told`() throws {
    let types = try BTF(Sample.function.bytes)
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.type(0) }
        == "there is no type 0 among its 8")
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.type(9) }
        == "there is no type 9 among its 8")
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.pointee(of: 1) }
        == "its type 1 is no pointer")
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.member("x", of: 1) }
        == "its type 1 is neither a struct nor a union")
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.member("bits", of: 2) }
        == "bits is a bit field")
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.parameters(of: 7) }
        == "its function 7 has no prototype")
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.size(of: 6) }
        == "its type 6 has no size")
  }

  @Test func `types that go in circles end`() throws {
    var sample = Sample()
    sample.add(8, named: "name", 1)
    sample.add(4, named: "itself", count: 1, 8, 0, 2, 0)
    let types = try BTF(sample.bytes)
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.resolved(1) }
        == "its type 1 is a name for a name without end")
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try types.member("x", of: 2) }
        == "its type 2 holds itself")
  }

  @Test func `a kind of a later kernel is passed over where its length is told`() throws {
    var sample = Sample()
    sample.add(21, count: 2, 0, 1, 2, 3, 4, 5)
    sample.add(1, named: "int", 4, 32)
    #expect(
      Self.fault { () throws(BTF.Malformed) in _ = try BTF(sample.bytes) }
        == "it has types of kind 21, which this program does not know")
    sample.layouts = [UInt8](repeating: 0, count: 21 * 4) + [4, 8, 0, 0]
    #expect(try BTF(sample.bytes).size(of: 2) == 4)
  }

  @Test func `no cut and no changed byte makes it read beyond its end`() throws {
    let whole = Sample.function.bytes
    func walk(_ bytes: [UInt8]) throws(BTF.Malformed) {
      let types = try BTF(bytes)
      guard let function = try types.function(named: "walk") else { return }
      for parameter in try types.parameters(of: function) {
        let structure = try types.pointee(of: parameter)
        for name in ["first", "inner", "bits", "missing"] {
          if let member = try types.member(name, of: structure) {
            _ = try types.size(of: member.type)
          }
        }
      }
    }
    for count in 0..<whole.count {
      #expect(
        Self.fault { () throws(BTF.Malformed) in try walk(Array(whole.prefix(count))) } != nil)
    }
    var faults = 0
    for place in whole.indices {
      for bit in 0..<8 {
        var bytes = whole
        bytes[place] ^= 1 << UInt8(bit)
        if Self.fault({ () throws(BTF.Malformed) in try walk(bytes) }) != nil { faults += 1 }
      }
    }
    #expect(faults > 200)
  }
}

extension WireDecoder {
  /// Takes a body that is a struct; its fields are read with ``field(at:_:)``.
  mutating func body(byteCount: Int) throws(WireError) -> Int {
    do throws(WireError) { return try claim(UInt64(byteCount)) } catch {
      throw error.within("body")
    }
  }

  /// Takes a body that is one table or one union.
  mutating func body<Value: WireValue>() throws(WireError) -> Value {
    let start = try body(byteCount: Value.byteCount)
    do throws(WireError) { return try Value(from: &self, at: start) } catch {
      throw error.field.isEmpty ? error.within("body") : error
    }
  }

  /// A struct's field.
  mutating func field<Value: WireValue>(
    at offset: Int, _ name: StaticString
  ) throws(WireError) -> Value {
    do throws(WireError) { return try Value(from: &self, at: offset) } catch {
      throw error.within("\(name)")
    }
  }
}

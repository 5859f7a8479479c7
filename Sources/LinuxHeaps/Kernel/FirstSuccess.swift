internal import SystemPackage

/// What is made once for the whole process, by the first call that succeeds. A failure is not kept: a
/// process that is out of descriptors now may have some later.
final class FirstSuccess<Value: Sendable>: Sendable {
  private let value = Guarded<Value?>(nil)
  private let make: @Sendable () throws(Errno) -> Value

  init(_ make: @escaping @Sendable () throws(Errno) -> Value) { self.make = make }

  func get() throws(Errno) -> Value {
    try value.withLock { value throws(Errno) in
      if let value { return value }
      let made = try make()
      value = made
      return made
    }
  }
}

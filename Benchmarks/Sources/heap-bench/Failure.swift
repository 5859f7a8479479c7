internal import Glibc

/// Why nothing could be measured, in words for whoever ran it.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }

  /// A failed call, with the cause that it left in `errno`.
  static func errno(_ what: String) -> Failure {
    let cause = unsafe String(cString: strerror(Glibc.errno))
    return Failure("\(what): \(cause)")
  }
}

/// Answers what the call did, or throws what `errno` says where that is negative.
func check(_ result: CInt, _ what: @autoclosure () -> String) throws(Failure) -> CInt {
  if result < 0 { throw .errno(what()) }
  return result
}

internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// A `lheap_error`.
private struct CError: ~Copyable {
  let code: CInt
  let errno: CInt
  let message: CText
  let operation: CText
  let path: CText
  let cause: CText
  let fix: CText

  init(_ error: HeapError) {
    code = Self.code(error)
    errno = error.errno?.rawValue ?? 0
    message = CText(error.description)
    operation = CText(error.operation)
    path = CText(error.path?.string)
    cause = CText(error.cause)
    fix = CText(error.fix)
  }

  /// A service chooses its statuses; none of them makes a refusal a success.
  static func code(_ error: HeapError) -> CInt {
    error.code.rawValue < 0 ? error.code.rawValue : HeapError.Code.internal.rawValue
  }

  static func of(_ pointer: OpaquePointer) -> UnsafeMutablePointer<CError> {
    unsafe UnsafeMutablePointer(pointer)
  }
}

/// Makes a call of the interface: what it returns, and why where somebody asks.
func answer(
  _ place: UnsafeMutablePointer<OpaquePointer?>?, _ body: () throws(HeapError) -> Void
) -> CInt {
  do throws(HeapError) {
    try body()
    return 0
  } catch {
    if let place = unsafe place { unsafe place.pointee = stored(CError(error)) }
    return CError.code(error)
  }
}

@_cdecl("lheap_error_code")
public func errorCode(_ error: OpaquePointer) -> CInt { unsafe CError.of(error).pointee.code }

@_cdecl("lheap_error_errno")
public func errorErrno(_ error: OpaquePointer) -> CInt { unsafe CError.of(error).pointee.errno }

@_cdecl("lheap_error_message")
public func errorMessage(_ error: OpaquePointer) -> UnsafePointer<CChar>? {
  unsafe CError.of(error).pointee.message.bytes
}

@_cdecl("lheap_error_operation")
public func errorOperation(_ error: OpaquePointer) -> UnsafePointer<CChar>? {
  unsafe CError.of(error).pointee.operation.bytes
}

@_cdecl("lheap_error_path")
public func errorPath(_ error: OpaquePointer) -> UnsafePointer<CChar>? {
  unsafe CError.of(error).pointee.path.bytes
}

@_cdecl("lheap_error_cause")
public func errorCause(_ error: OpaquePointer) -> UnsafePointer<CChar>? {
  unsafe CError.of(error).pointee.cause.bytes
}

@_cdecl("lheap_error_fix")
public func errorFix(_ error: OpaquePointer) -> UnsafePointer<CChar>? {
  unsafe CError.of(error).pointee.fix.bytes
}

@_cdecl("lheap_error_free")
public func errorFree(_ error: OpaquePointer?) { unsafe free(error, as: CError.self) }

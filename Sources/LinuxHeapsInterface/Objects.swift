internal import CLibrary
internal import CLinuxHeapsInterface
internal import LinuxHeaps
internal import SystemPackage

// What the header's pointers lead to: values that own what they hold, on the heap.

/// Moves a value to where a pointer of C's leads to it.
func stored<Value: ~Copyable>(_ value: consuming Value) -> OpaquePointer {
  let place = UnsafeMutablePointer<Value>.allocate(capacity: 1)
  unsafe place.initialize(to: value)
  return OpaquePointer(place)
}

/// Moves it out again; the pointer leads nowhere from then on.
func taken<Value: ~Copyable>(_ pointer: OpaquePointer, as type: Value.Type) -> Value {
  let place = unsafe UnsafeMutablePointer<Value>(pointer)
  let value = unsafe place.move()
  unsafe place.deallocate()
  return value
}

/// Frees what a pointer leads to; nothing for NULL.
func free<Value: ~Copyable>(_ pointer: OpaquePointer?, as type: Value.Type) {
  if let pointer = unsafe pointer { _ = unsafe taken(pointer, as: Value.self) }
}

/// What leads to a value.
///
/// - Throws: ``HeapError/Code/invalidArgs`` for NULL.
func object(
  _ pointer: OpaquePointer?, _ operation: @autoclosure () -> String
) throws(HeapError) -> OpaquePointer {
  guard let pointer = unsafe pointer else {
    throw HeapError(.invalidArgs, operation(), cause: "an object is NULL")
  }
  return unsafe pointer
}

/// Lends what a pointer leads to.
///
/// - Throws: ``HeapError/Code/invalidArgs`` for NULL.
func withObject<Value: ~Copyable, Result: ~Copyable>(
  _ pointer: OpaquePointer?, _ operation: @autoclosure () -> String,
  _ body: (borrowing Value) throws(HeapError) -> Result
) throws(HeapError) -> Result {
  let pointer = try unsafe object(pointer, operation())
  return try body(unsafe UnsafeMutablePointer<Value>(pointer).pointee)
}

/// Where a result goes.
///
/// - Throws: ``HeapError/Code/invalidArgs`` for NULL.
func place<Value>(
  _ pointer: UnsafeMutablePointer<Value>?, _ operation: @autoclosure () -> String
) throws(HeapError) -> UnsafeMutablePointer<Value> {
  guard let pointer = unsafe pointer else {
    throw HeapError(.invalidArgs, operation(), cause: "the place for the result is NULL")
  }
  return unsafe pointer
}

/// A name or a path. A Swift string puts other bytes in the place of those that are no UTF-8: the path would be another file's.
func text(
  _ pointer: UnsafePointer<CChar>?, _ operation: @autoclosure () -> String
) throws(HeapError) -> String {
  guard let pointer = unsafe pointer else {
    throw HeapError(.invalidArgs, operation(), cause: "a name or path is NULL")
  }
  guard let text = unsafe String(validatingCString: pointer) else {
    throw HeapError(.invalidArgs, operation(), cause: "a name or path is not UTF-8")
  }
  return text
}

/// A text of C's own, freed with its owner.
@safe struct CText: ~Copyable, @unchecked Sendable {
  private let pointer: UnsafeMutablePointer<CChar>?

  init(_ text: String?) { unsafe pointer = text.flatMap { unsafe strdup($0) } }

  deinit { unsafe CLibrary.free(pointer) }

  var bytes: UnsafePointer<CChar>? { unsafe UnsafePointer(pointer) }
}

/// A second descriptor of one that is lent, to be owned by what closes its own.
func duplicate(_ descriptor: CInt, _ operation: @autoclosure () -> String) throws(HeapError)
  -> OwnedFD
{
  let number = try attempt(operation()) { () throws(Errno) in
    try call { fcntl(descriptor, F_DUPFD_CLOEXEC, 0) }
  }
  return OwnedFD(adopting: number)
}

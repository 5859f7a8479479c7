extension UInt64 {
  /// The size of an allocation in whole pages.
  package func checkedAsVmoSize() throws(HeapError) -> UInt64 {
    guard self > 0 else {
      throw HeapError(
        .invalidArgs, "allocate 0 bytes", cause: "a buffer has at least one page",
        fix: "ask for 1 byte or more")
    }
    guard let pages = roundedUpToPages else {
      throw HeapError(
        .outOfRange, "allocate \(self) bytes", cause: "rounded up to pages that is over 2^63 - 1")
    }
    return pages
  }
}

internal import CLibrary

// By strstr(3), so in texts without a NUL: the standard library's search for a text brings all of its regular expressions into a
// static program, 1.1 MB.

extension String {
  /// Its lines, without their line feeds. By bytes: as a `Character`, a carriage return and the line feed after it are one, and that is
  /// no line feed.
  package var lines: [Substring] {
    utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map {
      Substring($0)
    }
  }
}

extension StringProtocol {
  package func holds(_ text: String) -> Bool {
    unsafe withCString { unsafe strstr($0, text) != nil }
  }

  /// What stands before and after the first place of a text; nil where it is nowhere.
  package func parted(at text: String) -> (before: String, after: String)? {
    let place = unsafe withCString { start in
      unsafe strstr(start, text).map { unsafe UnsafePointer($0) - start }
    }
    guard let place else { return nil }
    return (
      String(decoding: utf8.prefix(place), as: UTF8.self),
      String(decoding: utf8.dropFirst(place + text.utf8.count), as: UTF8.self)
    )
  }
}

public import struct SystemPackage.Errno
public import struct SystemPackage.FilePath

/// Why a heap refused: what was being done, to what, the cause, and what would help.
public struct HeapError: Error, Sendable {
  /// The status that the Heap protocol carries for this cause.
  public let code: Code
  /// The kernel's own answer, when there was one.
  public let errno: Errno?
  /// What was asked for, e.g. `allocate 8 MiB`.
  public let operation: String
  /// The file that it was asked of.
  public let path: FilePath?
  /// What stood against it, with the figures.
  public let cause: String
  /// What a person can do about it, when that is known.
  public let fix: String?
  /// A vmo that was handed over with a refused request and is given back with the refusal.
  public let returnedVMO: ReturnedVMO?

  package init(
    _ code: Code, _ operation: String, at path: String? = nil, cause: String,
    errno: Errno? = nil, fix: String? = nil, returning vmo: ReturnedVMO? = nil
  ) {
    self.code = code
    self.errno = errno
    self.operation = operation
    self.path = path.map { FilePath($0) }
    self.cause = cause
    self.fix = fix
    self.returnedVMO = vmo
  }

  /// A kernel's refusal, in a caller's own words.
  public init(
    _ errno: Errno, _ operation: String, at path: String? = nil, cause: String? = nil,
    fix: String? = nil
  ) {
    self.init(
      Code(errno), operation, at: path, cause: cause ?? errno.description, errno: errno,
      fix: fix ?? Self.usualFix(errno))
  }
}

extension HeapError {
  /// What helps wherever it happens.
  private static func usualFix(_ errno: Errno) -> String? {
    switch errno {
    case .tooManyOpenFiles: "close descriptors, or raise this process's limit: ulimit -n"
    case .tooManyOpenFilesInSystem: "raise the machine's limit: sysctl fs.file-max"
    default: nil
    }
  }
}

extension HeapError: CustomStringConvertible {
  public var description: String {
    var text = operation
    if let path { text += " (\(path.string))" }
    text += ": \(cause)"
    if let errno {
      let name = errno.description
      text += cause == name ? " [errno \(errno.rawValue)]" : " [\(name), errno \(errno.rawValue)]"
    }
    text += "; \(code)"
    if let fix { text += ". To fix it: \(fix)" }
    return text
  }
}

/// Makes kernel calls and gives their failure an operation and a path.
package func attempt<Result: ~Copyable>(
  _ operation: @autoclosure () -> String, at path: String? = nil,
  _ body: () throws(Errno) -> Result
) throws(HeapError) -> Result {
  do throws(Errno) { return try body() } catch {
    throw HeapError(error, operation(), at: path)
  }
}

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

  /// A refusal, e.g. of a heap of one's own.
  ///
  /// - Parameters:
  ///   - code: What the Heap protocol says for this cause.
  ///   - operation: What was asked for: of a heap, ``BufferRequest/operation``.
  ///   - path: Of the file that it was asked of.
  ///   - cause: What stood against it, with the figures.
  ///   - errno: The kernel's own answer, where there was one.
  ///   - fix: What a person can do about it, where that is known.
  ///   - vmo: One that was handed over with the request, and is given back.
  public init(
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

  /// A kernel's refusal, in a caller's own words; the code follows from `errno`.
  ///
  /// - Parameters:
  ///   - errno: The kernel's answer.
  ///   - operation: What was asked for.
  ///   - path: Of the file that it was asked of.
  ///   - cause: Nil for what the system says of the `errno`.
  ///   - fix: What a person can do about it, where that is known.
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
  static func usualFix(_ errno: Errno) -> String? {
    switch errno {
    case .tooManyOpenFiles: "close descriptors, or raise this process's limit: \(moreDescriptors)"
    case .tooManyOpenFilesInSystem:
      "raise the machine's limit: sudo sysctl fs.file-max=$((2 * $(sysctl -n fs.file-max)))"
    case .fileTooLarge:
      "raise the limit of files' sizes, a memfd's too: \(ResourceLimit(.fileSize).raised())"
    // pthread_create(3)
    case .resourceTemporarilyUnavailable:
      "try again; if it was a thread, raise pids.max of the control group, or this user's limit: "
        + ResourceLimit(.processes).raisedWhole()
    default: nil
    }
  }

  /// What a shell is told that starts this program anew.
  static var moreDescriptors: String {
    let limit = ResourceLimit(.openFiles)
    return limit.raised(to: limit.more)
  }
}

extension HeapError {
  /// For a vmo that is not what its heap is asked about.
  package static let deletionAdvice =
    "use the heap that allocated the vmo, and the buffer's own collection and index"

  /// What is said where operation and path were named before.
  package var words: String { cause + (fix.map { ". To fix it: \($0)" } ?? "") }
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

extension HeapError {
  /// A status of the Heap protocol; the numbers are those of `zx.Status` (zircon/errors.h).
  public struct Code: RawRepresentable, Hashable, Sendable {
    public let rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// `ZX_ERR_INTERNAL`: a fault of this library or of the kernel.
    public static let `internal` = Code(rawValue: -1)
    /// `ZX_ERR_NOT_SUPPORTED`: no heap here has such memory.
    public static let notSupported = Code(rawValue: -2)
    /// `ZX_ERR_NO_RESOURCES`: out of descriptors or of another kernel object.
    public static let noResources = Code(rawValue: -3)
    /// `ZX_ERR_NO_MEMORY`: the heap, the machine or the budget cannot serve the size.
    public static let noMemory = Code(rawValue: -4)
    /// `ZX_ERR_INVALID_ARGS`: a size of 0, an unaligned slice.
    public static let invalidArgs = Code(rawValue: -10)
    /// `ZX_ERR_BAD_HANDLE`: a closed descriptor, or the vmo of another buffer.
    public static let badHandle = Code(rawValue: -11)
    /// `ZX_ERR_WRONG_TYPE`: a descriptor of something that is no vmo.
    public static let wrongType = Code(rawValue: -12)
    /// `ZX_ERR_OUT_OF_RANGE`: a size that cannot be rounded to pages, a slice beyond its parent.
    public static let outOfRange = Code(rawValue: -14)
    /// `ZX_ERR_BAD_STATE`: the operation comes too early or too late.
    public static let badState = Code(rawValue: -20)
    /// `ZX_ERR_TIMED_OUT`.
    public static let timedOut = Code(rawValue: -21)
    /// `ZX_ERR_SHOULD_WAIT`.
    public static let shouldWait = Code(rawValue: -22)
    /// `ZX_ERR_PEER_CLOSED`: the other end of a socket is gone.
    public static let peerClosed = Code(rawValue: -24)
    /// `ZX_ERR_NOT_FOUND`: no such heap, no such buffer.
    public static let notFound = Code(rawValue: -25)
    /// `ZX_ERR_ALREADY_EXISTS`: the buffer's (collection, index) is taken.
    public static let alreadyExists = Code(rawValue: -26)
    /// `ZX_ERR_ACCESS_DENIED`: the node's owner, group and mode keep this user out.
    public static let accessDenied = Code(rawValue: -30)
    /// `ZX_ERR_IO`.
    public static let io = Code(rawValue: -40)

    /// The status that says what an `errno` of a heap's or a descriptor's system call means.
    public init(_ errno: Errno) {
      self =
        switch errno {
        case .noMemory: .noMemory
        case .invalidArgument, .fileNameTooLong: .invalidArgs
        case .badFileDescriptor: .badHandle
        case .permissionDenied, .notPermitted, .readOnlyFileSystem: .accessDenied
        case .noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels: .notFound
        case .isDirectory, .notSocket, .protocolWrongTypeForSocket: .wrongType
        case .noSuchAddressOrDevice, .operationNotSupportedByDevice, .inappropriateIOCTLForDevice,
          .notSupported:
          .notSupported
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .tooManyReferences, .noSpace:
          .noResources
        case .fileExists: .alreadyExists
        case .resourceTemporarilyUnavailable: .shouldWait
        case .timedOut: .timedOut
        case .brokenPipe, .connectionReset: .peerClosed
        case .outOfRange, .fileTooLarge, .messageTooLong: .outOfRange
        case .ioError: .io
        default: .internal
        }
    }
  }
}

extension HeapError.Code: CustomStringConvertible {
  private static let names: [Self: String] = [
    .internal: "INTERNAL", .notSupported: "NOT_SUPPORTED", .noResources: "NO_RESOURCES",
    .noMemory: "NO_MEMORY", .invalidArgs: "INVALID_ARGS", .badHandle: "BAD_HANDLE",
    .wrongType: "WRONG_TYPE", .outOfRange: "OUT_OF_RANGE", .badState: "BAD_STATE",
    .timedOut: "TIMED_OUT", .shouldWait: "SHOULD_WAIT", .peerClosed: "PEER_CLOSED",
    .notFound: "NOT_FOUND", .alreadyExists: "ALREADY_EXISTS", .accessDenied: "ACCESS_DENIED",
    .io: "IO",
  ]

  /// The name without its prefix, e.g. `NO_MEMORY`.
  public var description: String { Self.names[self] ?? "status \(rawValue)" }
}

/// Holds a vmo on its way back to the caller of a refused request; closes it if nobody takes it.
public final class ReturnedVMO: Sendable {
  private let vmo: Guarded<VMO?>

  public init(_ vmo: consuming sending VMO) { self.vmo = Guarded(vmo) }

  /// Whether ``take()`` was called.
  public var isTaken: Bool {
    vmo.withLock { vmo in
      switch vmo {
      case .some: false
      case .none: true
      }
    }
  }

  /// The vmo, once; nil after that.
  public func take() -> VMO? { vmo.withLock { $0.take() } }
}

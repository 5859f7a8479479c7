public import struct SystemPackage.Errno

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
        case .invalidArgument: .invalidArgs
        case .badFileDescriptor: .badHandle
        case .permissionDenied, .notPermitted: .accessDenied
        case .noSuchFileOrDirectory: .notFound
        case .noSuchAddressOrDevice, .operationNotSupportedByDevice, .inappropriateIOCTLForDevice,
          .notSupported:
          .notSupported
        case .tooManyOpenFiles, .tooManyOpenFilesInSystem, .noSpace: .noResources
        case .fileExists: .alreadyExists
        case .resourceTemporarilyUnavailable: .shouldWait
        case .timedOut: .timedOut
        case .brokenPipe, .connectionReset: .peerClosed
        case .outOfRange, .fileTooLarge: .outOfRange
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

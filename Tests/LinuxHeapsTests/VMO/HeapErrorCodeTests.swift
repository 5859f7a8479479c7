import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct HeapErrorCodeTests {
  /// zircon/errors.h
  @Test(
    arguments: [
      (.internal, -1, "INTERNAL"), (.notSupported, -2, "NOT_SUPPORTED"),
      (.noResources, -3, "NO_RESOURCES"), (.noMemory, -4, "NO_MEMORY"),
      (.invalidArgs, -10, "INVALID_ARGS"), (.badHandle, -11, "BAD_HANDLE"),
      (.wrongType, -12, "WRONG_TYPE"), (.outOfRange, -14, "OUT_OF_RANGE"),
      (.badState, -20, "BAD_STATE"), (.timedOut, -21, "TIMED_OUT"),
      (.shouldWait, -22, "SHOULD_WAIT"), (.peerClosed, -24, "PEER_CLOSED"),
      (.notFound, -25, "NOT_FOUND"), (.alreadyExists, -26, "ALREADY_EXISTS"),
      (.accessDenied, -30, "ACCESS_DENIED"), (.io, -40, "IO"),
    ] as [(HeapError.Code, Int32, String)])
  func `a status has its number and name`(_ code: HeapError.Code, _ number: Int32, _ name: String) {
    #expect(code.rawValue == number)
    #expect(code.description == name)
    #expect(HeapError.Code(rawValue: number) == code)
  }

  @Test(arguments: [0, 1, -5, -9999, .max, .min] as [Int32])
  func `an unknown status keeps its number`(_ number: Int32) {
    #expect(HeapError.Code(rawValue: number).description == "status \(number)")
  }

  @Test(
    arguments: [
      (.noMemory, .noMemory), (.invalidArgument, .invalidArgs), (.badFileDescriptor, .badHandle),
      (.permissionDenied, .accessDenied), (.notPermitted, .accessDenied),
      (.readOnlyFileSystem, .accessDenied),
      (.noSuchFileOrDirectory, .notFound), (.notDirectory, .notFound),
      (.tooManySymbolicLinkLevels, .notFound), (.isDirectory, .wrongType),
      (.notSocket, .wrongType), (.protocolWrongTypeForSocket, .wrongType),
      (.fileNameTooLong, .invalidArgs), (.noSuchAddressOrDevice, .notSupported),
      (.operationNotSupportedByDevice, .notSupported), (.notSupported, .notSupported),
      (.inappropriateIOCTLForDevice, .notSupported), (.tooManyOpenFiles, .noResources),
      (.tooManyOpenFilesInSystem, .noResources), (.noSpace, .noResources),
      (.fileExists, .alreadyExists), (.resourceTemporarilyUnavailable, .shouldWait),
      (.timedOut, .timedOut), (.brokenPipe, .peerClosed), (.connectionReset, .peerClosed),
      (.outOfRange, .outOfRange), (.fileTooLarge, .outOfRange), (.ioError, .io),
      (.messageTooLong, .outOfRange), (.tooManyReferences, .noResources),
      (.badAddress, .internal), (.deadlock, .internal), (Errno(rawValue: 0), .internal),
      (Errno(rawValue: 9999), .internal),
    ] as [(Errno, HeapError.Code)])
  func `the kernel's answer has a status`(_ errno: Errno, _ code: HeapError.Code) {
    #expect(HeapError.Code(errno) == code)
    #expect(HeapError(errno, "allocate").code == code)
  }
}

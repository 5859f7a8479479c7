internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import SystemPackage

/// What a service tells of itself.
enum ServiceStatus {
  /// A report larger than this is none.
  private static let longest: UInt64 = 64 << 20

  static func read(_ observer: Connection) throws(HeapError) -> String {
    let operation = "ask the service for its status"
    let reply = try observer.ask(operation) { transaction, bytes in
      GetStatusRequest().encode(transactionID: transaction, into: &bytes)
    }
    let result = reply.decode(as: GetStatusReply.self)?.result
    switch result {
    case .success(let status) where status.size <= longest:
      return try text(of: reply.takeHandle(status.report), Int(status.size), operation)
    case .failure(let status), .frameworkError(let status):
      throw RemoteError.refusal(HeapError.Code(rawValue: status), operation, observer.path)
    default: throw RemoteError.nonsense(operation, observer.path)
    }
  }

  private static func text(
    of file: consuming OwnedFD, _ size: Int, _ operation: String
  ) throws(HeapError) -> String {
    let number = file.rawValue
    var bytes = [UInt8](repeating: 0, count: size)
    let count: Int
    do throws(Errno) {
      count = try call { unsafe pread(number, &bytes, size, 0) }
    } catch {
      throw HeapError(error, operation)
    }
    guard count == size else {
      throw HeapError(.io, operation, cause: "the report is shorter than it is said to be")
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

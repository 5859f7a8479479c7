/// What a flexible method answers: its response, its own error, or that the server lacks it.
public enum FlexibleResult<Success, Failure> {
  case success(Success)
  case failure(Failure)
  /// A `zx.Status`, NOT_SUPPORTED (−2) from a server that does not know the method.
  case frameworkError(Int32)
}

extension FlexibleResult: Equatable where Success: Equatable, Failure: Equatable {}
extension FlexibleResult: Hashable where Success: Hashable, Failure: Hashable {}
extension FlexibleResult: Sendable where Success: Sendable, Failure: Sendable {}

extension FlexibleResult: WireValue where Success: WireValue, Failure: WireValue {
  static var byteCount: Int { 16 }

  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    let member = try decoder.union(at: offset)
    switch member.ordinal {
    case 1: self = .success(try decoder.field(member, "response"))
    case 2: self = .failure(try decoder.field(member, "err"))
    case 3: self = .frameworkError(try decoder.field(member, "framework_err"))
    default: throw WireError(.unknownMember, at: offset)
    }
  }

  func encode(to encoder: inout WireEncoder, at offset: Int) {
    switch self {
    case .success(let response): encoder.union(1, response, at: offset)
    case .failure(let error): encoder.union(2, error, at: offset)
    case .frameworkError(let status): encoder.union(3, status, at: offset)
    }
  }
}

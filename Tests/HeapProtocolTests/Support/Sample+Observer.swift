import HeapProtocol
import LinuxHeaps

extension Sample {
  static let observer: [Sample] = [
    .getVmoInfo, .vmoInfo, .vmoInfoError, .vmoInfoUnknown, .attach, .attached, .attachError,
    .awaitReclaimed, .reclaimed, .awaitReclaimedError, .getStatus, .status, .statusError,
  ]

  static let getVmoInfo = Sample(
    "GetVmoInfo",
    GetVmoInfoRequest(),
    6, handles: 1,
    """
    0600000002008001f9dda00a1281a8210100000000000000ffffffffffffffffffffffff01000100
    """)

  static let vmoInfo = Sample(
    "GetVmoInfo's response",
    GetVmoInfoReply(.success(BufferKey(bufferCollectionID: 0x1122, bufferIndex: 3))),
    6,
    """
    0600000002008001f9dda00a1281a821010000000000000030000000000000000200000000000000
    ffffffffffffffff0800000000000000080000000000000022110000000000000300000000000000
    """)

  static let vmoInfoError = Sample(
    "GetVmoInfo's error",
    GetVmoInfoReply(.failure(.notFound)),
    6,
    """
    0600000002008001f9dda00a1281a82102000000000000000300000000000100
    """)

  static let vmoInfoUnknown = Sample(
    "GetVmoInfo not known",
    GetVmoInfoReply(.frameworkError(-2)),
    6,
    """
    0600000002008001f9dda00a1281a8210300000000000000feffffff00000100
    """)

  static let attach = Sample(
    "AttachLifetimeTracking",
    AttachLifetimeTrackingRequest(buffersRemaining: 2, bufferCollectionID: 0x1122),
    7, handles: 1,
    """
    0700000002008001a463803f3624cd370300000000000000ffffffffffffffffffffffff01000100
    020000000000010008000000000000002211000000000000
    """)

  static let attached = Sample(
    "AttachLifetimeTracking's response",
    AttachLifetimeTrackingReply(.success(EmptyTable())),
    7,
    """
    0700000002008001a463803f3624cd37010000000000000010000000000000000000000000000000
    ffffffffffffffff
    """)

  static let attachError = Sample(
    "AttachLifetimeTracking's error",
    AttachLifetimeTrackingReply(.failure(-25)),
    7,
    """
    0700000002008001a463803f3624cd370200000000000000e7ffffff00000100
    """)

  static let awaitReclaimed = Sample(
    "AwaitReclaimed",
    AwaitReclaimedRequest(),
    8, handles: 1,
    """
    0800000002008001c2e227d29949f4330100000000000000ffffffffffffffffffffffff01000100
    """)

  static let reclaimed = Sample(
    "AwaitReclaimed's response",
    AwaitReclaimedReply(.success(EmptyTable())),
    8,
    """
    0800000002008001c2e227d29949f433010000000000000010000000000000000000000000000000
    ffffffffffffffff
    """)

  static let awaitReclaimedError = Sample(
    "AwaitReclaimed's error",
    AwaitReclaimedReply(.failure(-11)),
    8,
    """
    0800000002008001c2e227d29949f4330200000000000000f5ffffff00000100
    """)

  static let getStatus = Sample(
    "GetStatus",
    GetStatusRequest(),
    9,
    """
    09000000020080012185456e149d01030000000000000000ffffffffffffffff
    """)

  static let status = Sample(
    "GetStatus's response",
    GetStatusReply(.success(StatusReport(size: 1234))),
    9, handles: 1,
    """
    09000000020080012185456e149d0103010000000000000028000000010000000200000000000000
    ffffffffffffffffffffffff010001000800000000000000d204000000000000
    """)

  static let statusError = Sample(
    "GetStatus's error",
    GetStatusReply(.failure(-3)),
    9,
    """
    09000000020080012185456e149d01030200000000000000fdffffff00000100
    """)
}

import HeapProtocol
import LinuxHeaps

// Bytes by other hands: the published layouts, and a second encoder of the same specification.
extension Sample {
  static let heap: [Sample] = [
    .onRegister, .allocateVmo, .allocateVmoFull, .allocatedVmo, .allocateVmoStatus, .deleteVmo,
    .deletedVmo, .epitaph,
  ]

  static let extensions: [Sample] = [
    .watchBuffers, .watching, .onReclaimed, .allocateVmoFrom, .allocateVmoFromSettings,
    .allocatedVmoFrom, .allocateVmoFromStatus,
  ]

  static let onRegister = Sample(
    "OnRegister",
    OnRegisterEvent(
      properties: HeapProperties(
        coherencyDomainSupport: CoherencyDomainSupport(
          cpuSupported: true, ramSupported: true, inaccessibleSupported: false),
        needClear: false, needFlush: true)),
    0,
    """
    0000000002000001c56f960a39394b360300000000000000ffffffffffffffff2800000000000000
    000000000000010001000000000001000300000000000000ffffffffffffffff0100000000000100
    01000000000001000000000000000100
    """)

  static let allocateVmo = Sample(
    "AllocateVmo without settings",
    AllocateVmoRequest(
      size: 8192, settings: SingleBufferSettings(), bufferCollectionID: 0x1122, bufferIndex: 3),
    1,
    """
    0100000002000001642a2ca27c1ab45f00200000000000000000000000000000ffffffffffffffff
    22110000000000000300000000000000
    """)

  static let allocateVmoFull = Sample(
    "AllocateVmo with all settings",
    AllocateVmoRequest(
      size: 8192, settings: .full, bufferCollectionID: 0x1122, bufferIndex: 3),
    5,
    """
    0500000002000001642a2ca27c1ab45f00200000000000000200000000000000ffffffffffffffff
    22110000000000000300000000000000980000000000000070010000000000000600000000000000
    ffffffffffffffff0800000000000000010000000000010000000000000001000200000000000100
    48000000000000000800000000000000401f0000000000000200000000000000ffffffffffffffff
    200000000000000008000000000000000900000000000000ffffffffffffffff73797374c3a86d65
    3200000000000000090000000000000000200000000000001400000000000000ffffffffffffffff
    65000000000001000800000000000000200000000000000008000000000000000800000000000000
    05000000000001000600000000000100080000000000000008000000000000000800000000000000
    08000000000000000800000000000000100000000000010011000000000001003000000000000000
    01000000000001000000000000000100200000000000000008000000000000000800000000000000
    02000000000000010300000000000000ffffffffffffffff01000000020000000300000000000000
    01000000020000000300000004000000070000000000000008000000090000000a0000000b000000
    0c0000000d0000000e0000000f0000000200000000000000ffffffffffffffff1200000000000000
    1300000000000000140000000000000015000000000000000200000000000000ffffffffffffffff
    160000001700000018000000190000001a0000001b0000001c00000000000000
    """)

  static let allocatedVmo = Sample(
    "AllocateVmo's vmo",
    AllocateVmoResult.vmo(.first),
    1, handles: 1,
    """
    0100000002000001642a2ca27c1ab45f0100000000000000ffffffff01000100
    """)

  static let allocateVmoStatus = Sample(
    "AllocateVmo's status",
    AllocateVmoResult.status(-4),
    1,
    """
    0100000002000001642a2ca27c1ab45f0200000000000000fcffffff00000100
    """)

  static let deleteVmo = Sample(
    "DeleteVmo",
    DeleteVmoRequest(bufferCollectionID: 0x1122, bufferIndex: 3),
    2, handles: 1,
    """
    0200000002000001922c11983870134c22110000000000000300000000000000ffffffff00000000
    """)

  static let deletedVmo = Sample(
    "DeleteVmo's reply",
    DeleteVmoReply(),
    2,
    """
    0200000002000001922c11983870134c
    """)

  static let watchBuffers = Sample(
    "WatchBuffers",
    WatchBuffersRequest(),
    3,
    """
    03000000020080019ad391e84fbedf110000000000000000ffffffffffffffff
    """)

  static let watching = Sample(
    "WatchBuffers' response",
    WatchBuffersReply(.success(EmptyTable())),
    3,
    """
    03000000020080019ad391e84fbedf11010000000000000010000000000000000000000000000000
    ffffffffffffffff
    """)

  static let onReclaimed = Sample(
    "OnReclaimed",
    OnReclaimedEvent(key: BufferKey(bufferCollectionID: 0x1122, bufferIndex: 3)),
    0,
    """
    0000000002008001bf15e42d8e559a5c22110000000000000300000000000000
    """)

  static let allocateVmoFrom = Sample(
    "AllocateVmoFrom without settings",
    AllocateVmoFromRequest(
      size: 8192, settings: SingleBufferSettings(), bufferCollectionID: 0x1122, bufferIndex: 3),
    4, handles: 1,
    """
    0400000002008001b07eca2de7efbd630500000000000000ffffffffffffffff0800000000000000
    000000000000000008000000000000000800000000000000ffffffff010001000020000000000000
    22110000000000000300000000000000
    """)

  static let allocateVmoFromSettings = Sample(
    "AllocateVmoFrom with settings",
    AllocateVmoFromRequest(
      size: 8192, settings: .contiguous, bufferCollectionID: 0x1122, bufferIndex: 3),
    4, handles: 1,
    """
    0400000002008001b07eca2de7efbd630500000000000000ffffffffffffffff0800000000000000
    380000000000000008000000000000000800000000000000ffffffff010001000020000000000000
    0100000000000000ffffffffffffffff20000000000000000200000000000000ffffffffffffffff
    0000000000000000010000000000010022110000000000000300000000000000
    """)

  static let allocatedVmoFrom = Sample(
    "AllocateVmoFrom's response",
    AllocateVmoFromReply(.success(AllocatedVmo())),
    4, handles: 1,
    """
    0400000002008001b07eca2de7efbd63010000000000000018000000010000000100000000000000
    ffffffffffffffffffffffff01000100
    """)

  static let allocateVmoFromStatus = Sample(
    "AllocateVmoFrom's error",
    AllocateVmoFromReply(.failure(-20)),
    4,
    """
    0400000002008001b07eca2de7efbd630200000000000000ecffffff00000100
    """)

  static let epitaph = Sample(
    "epitaph",
    Epitaph(status: -24),
    0,
    """
    0000000002000001ffffffffffffffffe8ffffff00000000
    """)
}

/// `fuchsia.hardware.sysmem/HeapProperties`, sent with `OnRegister`.
public struct HeapProperties: Hashable, Sendable {
  /// The domains in which the heap's buffers can be used.
  public var coherencyDomainSupport: CoherencyDomainSupport
  /// Whether the caller has to zero a new buffer. No kernel heap needs it: it zeroes by itself.
  public var needClear: Bool
  /// Whether the caller has to flush the processor's caches after it cleared a new buffer.
  public var needFlush: Bool

  public init(
    coherencyDomainSupport: CoherencyDomainSupport, needClear: Bool = false, needFlush: Bool = false
  ) {
    self.coherencyDomainSupport = coherencyDomainSupport
    self.needClear = needClear
    self.needFlush = needFlush
  }
}

extension HeapProperties {
  /// Whether its buffers have pages that a processor can reach.
  package var hasMemory: Bool {
    coherencyDomainSupport.cpuSupported || coherencyDomainSupport.ramSupported
  }
}

/// `fuchsia.hardware.sysmem/CoherencyDomainSupport`.
public struct CoherencyDomainSupport: Hashable, Sendable {
  public var cpuSupported: Bool
  public var ramSupported: Bool
  public var inaccessibleSupported: Bool

  public init(cpuSupported: Bool, ramSupported: Bool, inaccessibleSupported: Bool) {
    self.cpuSupported = cpuSupported
    self.ramSupported = ramSupported
    self.inaccessibleSupported = inaccessibleSupported
  }
}

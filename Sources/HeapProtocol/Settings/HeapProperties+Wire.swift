internal import LinuxHeaps

/// All fields are written, the known caller relies on it; only need_flush may be absent when read.
extension HeapProperties: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var support: CoherencyDomainSupport?
    var (needClear, needFlush): (Bool?, Bool?)
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: support = try decoder.field(field, "coherency_domain_support")
      case 2: needClear = try decoder.field(field, "need_clear")
      case 3: needFlush = try decoder.field(field, "need_flush")
      default: try decoder.skip(field)
      }
    }
    self.init(
      coherencyDomainSupport: try table.required(support, "coherency_domain_support"),
      needClear: try table.required(needClear, "need_clear"), needFlush: needFlush ?? false)
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, coherencyDomainSupport)
    encoder.field(2, needClear)
    encoder.field(3, needFlush)
  }
}

extension CoherencyDomainSupport: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var (cpu, ram, inaccessible): (Bool?, Bool?, Bool?)
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: cpu = try decoder.field(field, "cpu_supported")
      case 2: ram = try decoder.field(field, "ram_supported")
      case 3: inaccessible = try decoder.field(field, "inaccessible_supported")
      default: try decoder.skip(field)
      }
    }
    self.init(
      cpuSupported: try table.required(cpu, "cpu_supported"),
      ramSupported: try table.required(ram, "ram_supported"),
      inaccessibleSupported: try table.required(inaccessible, "inaccessible_supported"))
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, cpuSupported)
    encoder.field(2, ramSupported)
    encoder.field(3, inaccessibleSupported)
  }
}

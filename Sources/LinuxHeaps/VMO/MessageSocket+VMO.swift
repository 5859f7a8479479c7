public import struct SystemPackage.Errno

extension MessageSocket {
  /// Sends one message with a handle to `vmo`'s buffer; the sender keeps its own.
  ///
  /// The descriptor stands for the whole buffer. Where the vmo is a slice, the message has to say
  /// which, and the receiver slices what it adopts.
  public func send(_ bytes: [UInt8], passing vmo: borrowing VMO) throws(Errno) {
    try send(bytes, descriptors: [vmo.fd.rawValue])
  }
}

import Glibc
import LinuxHeaps
package import SystemPackage

/// Messages with more descriptors than a protocol's message may have.
package enum ManyDescriptors {
  package static func send(_ socket: CInt, _ bytes: [UInt8], _ descriptors: [CInt]) throws(Errno) {
    var control = control(descriptors)
    let space = control.count * 8
    var bytes = bytes
    _ = try call {
      unsafe bytes.withUnsafeMutableBytes { bytes in
        unsafe control.withUnsafeMutableBytes { control in
          var vector = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
          return unsafe withUnsafeMutablePointer(to: &vector) { vector in
            var message = unsafe msghdr(
              msg_name: nil, msg_namelen: 0, msg_iov: vector, msg_iovlen: 1,
              msg_control: control.baseAddress, msg_controllen: space, msg_flags: 0)
            return unsafe sendmsg(socket, &message, CInt(MSG_NOSIGNAL))
          }
        }
      }
    }
  }

  /// struct cmsghdr (cmsg(3)): size_t length; int level, type; then the descriptors.
  private static func control(_ descriptors: [CInt]) -> [UInt64] {
    let header = 16
    var words = [UInt64(header + descriptors.count * 4)]
    words.append(UInt64(SOL_SOCKET) | UInt64(SCM_RIGHTS) << 32)
    for index in stride(from: 0, to: descriptors.count, by: 2) {
      let second = index + 1 < descriptors.count ? descriptors[index + 1] : 0
      words.append(UInt64(descriptors[index]) | UInt64(second) << 32)
    }
    return words
  }
}

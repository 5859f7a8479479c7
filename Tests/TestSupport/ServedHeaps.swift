import Glibc

/// The heaps that whoever booted this machine wants behind the service: emulated, each takes minutes.
package enum ServedHeaps {
  package static let chosen = unsafe getenv("LINUXHEAPS_SERVED_HEAPS").map {
    unsafe String(cString: $0).split(separator: " ").map(String.init)
  }

  /// For tests that want one heap, whichever: the kernel's in a test kernel, and memfd elsewhere.
  package static let first = chosen?.first ?? "memfd"
}

internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// A descriptor that a client sent. The last close of its file can wait for as long as somebody likes, so there is no other
/// way to close it than to let go of it: the disposer closes it then, on a thread of its own.
struct StrangerFD: ~Copyable, Sendable {
  /// Negative once it is somebody else's.
  private var number: CInt
  private let user: uid_t
  private let disposer: Disposer

  fileprivate init(_ number: CInt, of user: uid_t, _ disposer: Disposer) {
    self.number = number
    self.user = user
    self.disposer = disposer
  }

  deinit { if number >= 0 { disposer.close([number], of: user) } }

  /// Which file it is; nil where that cannot be told, as of a file system that fails. Its file system is not asked.
  var identity: VMOIdentity? { try? VMOIdentity(of: BorrowedFD(number)) }

  var borrowed: BorrowedFD { BorrowedFD(number) }

  /// One whose identity is that of a buffer here: a parent is open, so that no close of it is the last.
  consuming func asChild() -> OwnedFD {
    defer { number = -1 }
    return OwnedFD(adopting: number)
  }
}

/// All that came with one message, as far as it was not taken.
struct StrangerFDs: ~Copyable, Sendable {
  private var numbers: ArraySlice<CInt>
  private let user: uid_t
  private let disposer: Disposer

  init(_ received: consuming ReceivedDescriptors, of user: uid_t, _ disposer: Disposer) {
    var received = received
    numbers = received.release()
    self.user = user
    self.disposer = disposer
  }

  deinit { if !numbers.isEmpty { disposer.close(numbers, of: user) } }

  var count: Int { numbers.count }

  /// Takes one out of the order; the others keep theirs.
  mutating func take(at index: Int) -> StrangerFD {
    StrangerFD(numbers.remove(at: numbers.startIndex + index), of: user, disposer)
  }
}

/// A socket that a client connected. The connection ends with its last reference: the other end sees it closed, and nothing
/// more comes. It is closed at once if it is empty, and otherwise as what a client sent is, because messages on it that
/// nobody read can hold any file.
final class ClientSocket: Sendable {
  private let number: CInt
  private let disposer: Disposer
  /// Nil where the kernel does not tell who connected.
  let peer: Peer?

  init(accepted number: CInt, through owner: FileOwner, _ disposer: Disposer) {
    self.number = number
    self.disposer = disposer
    peer = try? Peer(of: BorrowedFD(number), through: owner)
  }

  deinit {
    var hasReader = false
    let isClosed = unsafe CLinuxHeaps_end_connection(number, &hasReader)
    if !isClosed { disposer.close(connection: number, of: user, hasReader: hasReader) }
  }

  /// Whose account it is on; one that nobody has where that is unknown.
  var user: uid_t { peer?.user ?? .max }

  var borrowed: BorrowedFD { BorrowedFD(number) }
}

/// The kernel's file system of pipes that have no name: what is in it is a pipe.
struct PipeDevice {
  private let device: UInt64

  init() throws(Errno) {
    var ends: (CInt, CInt) = (-1, -1)
    _ = try call {
      unsafe withUnsafeMutableBytes(of: &ends) { bytes in
        unsafe pipe(bytes.assumingMemoryBound(to: CInt.self).baseAddress!)
      }
    }
    let one = OwnedFD(adopting: ends.0)
    _ = OwnedFD(adopting: ends.1)
    device = try VMOIdentity(of: one.borrowed).device
  }

  func has(_ file: borrowing StrangerFD) -> Bool { file.identity?.device == device }
}

import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

/// One table for every verb of heapctl, and for heapd: a row has each of them that can end so, on any machine.
@Suite(.serialized) struct ExitStatusTests {
  // Testing has one too.
  typealias ExitStatus = LinuxHeaps.ExitStatus

  // MARK: The table

  @Test(
    arguments: [
      (.notFound, .unavailable), (.notSupported, .unavailable), (.wrongType, .unavailable),
      (.accessDenied, .noPermission), (.noMemory, .failure), (.noResources, .failure),
      (.internal, .failure), (.invalidArgs, .failure), (.alreadyExists, .failure),
      (.io, .failure), (.timedOut, .failure), (.peerClosed, .failure),
    ] as [(HeapError.Code, ExitStatus)])
  func `an error has a status`(_ code: HeapError.Code, _ status: ExitStatus) {
    #expect(ExitStatus(code) == status)
  }

  @Test func `help, manual and README have the same table`() throws {
    func squeezed(_ text: String) -> String {
      text.split { $0 == " " || $0 == "\n" }.joined(separator: " ")
    }
    for program in ["heapctl", "heapd"] {
      let help = try Run.program(try Program.path(program), ["--help"]).output
      #expect(squeezed(help).contains(squeezed(ExitStatus.table)), "\(help)")
    }
    let words = squeezed(ExitStatus.table.replacingOccurrences(of: "\n", with: "; "))
    for file in ["README.md", "packaging/heapd.8"] {
      let text = try String(contentsOfFile: "\(Daemon.repository)/\(file)", encoding: .utf8)
      #expect(squeezed(text).contains(words), "\(file)")
    }
  }

  // MARK: The rows

  /// - Parameters:
  ///   - words: The program's name first.
  ///   - prefix: A program and its arguments that starts it.
  private static func expect(
    _ status: ExitStatus, _ words: String, through prefix: [String] = [],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    var words = words.split(separator: " ").map(String.init)
    words[0] = try Program.path(words[0])
    // A heapd that serves all the same is ended.
    words = ["/usr/bin/timeout", "60"] + prefix + words
    let run = try Run.program(words[0], Array(words.dropFirst()))
    #expect(
      run.status == status.rawValue, "\(words): \(run.output)\(run.error)",
      sourceLocation: sourceLocation)
    if status != .success {
      #expect(!(run.error + run.output).isEmpty, sourceLocation: sourceLocation)
    }
  }

  @Test func `wrong usage is 64`() throws {
    let verbs = try VerbTests.verbs().map(\.commandName)
    #expect(verbs.count > 10)
    for verb in verbs { try Self.expect(.wrongUsage, "heapctl \(verb) --no-such-option") }
    for words in [
      "heapctl nosuch", "heapctl help nosuch", "heapctl --nosuch", "heapctl completion csh",
      "heapctl watch", "heapctl load", "heapd --nosuch", "heapd nosuch", "heapd --mode 9",
      "heapd --socket s --metrics-socket s", "heapd --socket s --observer-socket s",
      "heapd --socket s --metrics-socket s.observer",
    ] {
      try Self.expect(.wrongUsage, words)
    }
  }

  @Test(arguments: [
    "alloc --size 1M --heap nosuch", "verify --heap nosuch", "bench --heap nosuch",
    "stress --steps 1 --heap nosuch", "devices --try --heap nosuch",
    "alloc --size 1M --contiguous --heap memfd", "verify --heap memfd --check drm-import",
    "show --device nosuch", "show --device /dev/dri/card99", "show --device /dev/null",
    "show --device /dev", "camera --device /dev/video999", "camera --device /dev/null",
    "camera --device /dev",
    "info --socket /nowhere", "alloc --size 1M --socket /nowhere", "verify --socket /nowhere",
    "info --socket /dev/null/socket", "holders --pid 4194305", "verify --from /nowhere",
    "verify --from /dev", "show --image /nowhere", "load /nowhere", "load /dev", "load /dev/null",
    "load /etc/passwd --heap nosuch", "load /etc/passwd --heap opaque",
  ])
  func `what is not there, or cannot do it, is 69`(_ words: String) throws {
    try Self.expect(.unavailable, "heapctl \(words)")
  }

  @Test(arguments: [
    "--heap nosuch", "--heap memfd --config /nowhere", "--heap memfd --socket /nowhere/socket",
    "--heap memfd --group nosuch", "--heap memfd --socket /dev/null/socket",
  ])
  func `so it is of heapd`(_ words: String) throws {
    let folder = try TemporaryFolder()
    try Self.expect(.unavailable, "heapd --socket \(folder.path)/socket \(words)")
  }

  @Test func `a socket of another kind is 69`() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/stream"
    let stream = try SocketFile.bound(path, SOCK_STREAM)
    for verb in ["info", "alloc --size 1M", "verify"] {
      try Self.expect(.unavailable, "heapctl \(verb) --socket \(path)")
    }
    withExtendedLifetime(stream) {}
  }

  /// As nobody, on a machine of closed nodes and files.
  @Test(.enabled(if: MachineTree.isPossible, "needs root, to make device nodes"))
  func `what may not be opened is 77`() throws {
    let prefix = Prefix.namespace(
      """
      folder=$(mktemp -d)
      mount -t tmpfs -o mode=755 none "$folder"
      for node in null zero full urandom; do cp -a "/dev/$node" "$folder"; done
      mkdir "$folder/dma_heap" "$folder/dri"
      number=$(cat /sys/class/dma_heap/system/dev 2> /dev/null || echo 254:0)
      mknod -m 600 "$folder/dma_heap/system" c "${number%:*}" "${number#*:}"
      mknod -m 600 "$folder/dri/card0" c 226 0
      mknod -m 600 "$folder/video0" c 81 0
      mkdir -m 700 "$folder/closed"
      mount --move "$folder" /dev
      echo > /dev/closed/file
      """, as: Prefix.nobody)
    let daemon = try Daemon(openFolder: true)
    for words in [
      "alloc --size 1M", "alloc --size 1M --heap system", "verify --heap system",
      "bench --heap system", "stress --steps 1 --heap system", "devices --try --heap system",
      "show", "show --device /dev/dri/card0", "camera --device /dev/video0",
      "show --image /dev/closed/file", "camera --device /dev/video0 --save /dev/closed/new",
      "info --socket \(daemon.socket)", "alloc --size 1M --socket \(daemon.socket)",
      "verify --socket \(daemon.socket)", "holders --pid \(getpid())",
      "verify --from /dev/closed/file", "verify --heap opaque -o /dev/closed/new",
      "bench --heap memfd --svg /dev/closed/new", "load /dev/closed/file --heap memfd",
      "load /etc/passwd --heap system",
    ] {
      try Self.expect(.noPermission, "heapctl \(words)", through: prefix)
    }
    for words in [
      "", "--heap system", "--heap memfd --config /dev/closed/file",
      "--heap memfd --socket /dev/closed/socket", "--heap memfd --socket \(daemon.socket)",
    ] {
      try Self.expect(
        .noPermission, "heapd --socket /tmp/nobody-\(getpid()) \(words)", through: prefix)
    }
  }

  @Test func `no memory is 1`() throws {
    let daemon = try Daemon()
    let folder = try TemporaryFolder()
    let large = try folder.file("large", "")
    try FileHandle(forWritingTo: URL(fileURLWithPath: large)).truncate(atOffset: 1 << 40)
    for words in [
      "alloc --size 1024G --heap memfd", "alloc --size 1024G --socket \(daemon.socket)",
      "bench --sizes 1024G --rounds 1 --heap memfd", "load \(large) --heap memfd",
    ] {
      try Self.expect(.failure, "heapctl \(words)")
    }
  }

  /// Of heapctl each verb: VerbTests.
  @Test func `a descriptor table that is full is 1`() throws {
    let folder = try TemporaryFolder()
    for limit in [4, 5, 6, 8] {
      try Self.expect(
        .failure, "heapd --heap memfd --socket \(folder.path)/socket",
        through: ["/usr/bin/prlimit", "--nofile=\(limit)"])
    }
    try Self.expect(
      .failure, "heapctl alloc --heap memfd --size 1M", through: ["/usr/bin/prlimit", "--nofile=4"])
  }

  /// Of standard output each verb: VerbTests.
  @Test func `output that is not written is 1`() throws {
    for file in ["/dev/full", "/nowhere/file", "/dev"] {
      try Self.expect(.failure, "heapctl verify --heap opaque -o \(file)")
      try Self.expect(.failure, "heapctl bench --heap memfd --sizes 4K --rounds 1 --svg \(file)")
    }
    try Self.expect(.failure, "heapctl camera --device /dev/null --save /nowhere/file")
    let folder = try TemporaryFolder()
    // What is more than `RLIMIT_FSIZE` raises SIGXFSZ.
    for place in ["> /dev/full", "> \(folder.path)/file"] {
      let full = ["/bin/sh", "-c", "ulimit -f 0; exec \"$@\" \(place)", "sh"]
      for words in ["heapd --help", "heapd --version", "heapctl --help", "heapctl list"] {
        try Self.expect(.failure, words, through: full)
      }
    }
  }

  @Test func `what else fails is 1`() throws {
    let folder = try TemporaryFolder()
    let file = try folder.file("file", "neither a picture nor a report\n")
    // Nothing can be put into a memfd there, so checks fail.
    let noFiles = ["/bin/sh", "-c", "ulimit -f 0; exec \"$@\"", "sh"]
    try Self.expect(.failure, "heapctl alloc --heap memfd --size 1M", through: noFiles)
    try Self.expect(.failure, "heapctl verify --heap memfd --check size", through: noFiles)
    try Self.expect(.failure, "heapctl stress --heap memfd --steps 20", through: noFiles)
    try Self.expect(.failure, "heapctl doctor --root \(folder.path)")
    try Self.expect(.failure, "heapctl verify --from \(file)")
    try Self.expect(.failure, "heapctl show --image \(file)")
    try Self.expect(.failure, "heapctl load /proc/self/status --heap memfd")
    try Self.expect(.failure, "heapctl load \(try folder.file("empty", "")) --heap memfd")
    try Self.expect(
      .failure, "heapd --heap memfd --config \(file) --socket \(folder.path)/socket")
    try Self.expect(.failure, "heapd --heap memfd --socket \(file)")
    try Self.expect(.failure, "heapd --heap memfd --socket @none")
  }

  @Test func `nothing to do is 0`() throws {
    // Root may not look into each process: of a container's, another's is not its own.
    for words in [
      "list", "devices", "holders --pid \(getpid())", "verify --list", "help", "help alloc",
    ] {
      try Self.expect(.success, "heapctl \(words)")
    }
  }

  // MARK: Signals

  /// What is cut short ends by the signal, which a shell shows as 128 and its number; so does timeout(1).
  @Test(arguments: [(SIGINT, "INT"), (SIGTERM, "TERM")])
  func `what a signal cuts short is no success`(_ signal: Int32, _ name: String) throws {
    for words in [
      "stress --heap memfd --seconds 600", "bench --heap memfd --rounds 10000000",
      "verify" + String(repeating: " --heap memfd", count: 300),
    ] {
      #expect(try Self.ended(by: name, "heapctl \(words)") == 128 + signal, "\(words)")
    }
  }

  @Test(arguments: ["INT", "TERM"])
  func `what goes on until a signal ends with 0`(_ name: String) throws {
    let folder = try TemporaryFolder()
    let service = "heapd --heap memfd --socket \(folder.path)/socket"
    // Until it has started, a signal ends it as any program.
    for words in [service, "heapctl alloc --heap memfd --size 1M --hold"] {
      #expect(try Self.ended(by: name, after: 10, words) == 0, "\(words)")
    }
  }

  private static func ended(
    by signal: String, after seconds: Int = 2, _ words: String
  ) throws -> Int32 {
    var words = words.split(separator: " ").map(String.init)
    words[0] = try Program.path(words[0])
    let input = Pipe()
    let run = try Run.program(
      "/usr/bin/timeout", ["--preserve-status", "-s", signal, "\(seconds)"] + words,
      input: input.fileHandleForReading)
    // Until then it does not end.
    try input.fileHandleForWriting.close()
    return run.status
  }
}

internal import ArgumentParser
internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

struct RunProgram: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Runs a program that opens /dev/dma_heap, with a heap service's buffers.",
    discussion: """
      heapctl run -- PROGRAM ARGUMENT... runs any program that is linked to the C library dynamically, and what it starts. Where \
      it may not open a heap's node, or there is none, and the service has that heap, it allocates from the service: a library \
      that is loaded into it answers those calls (LD_PRELOAD, liblinuxheaps-preload.so). Without heapctl: LD_PRELOAD with that file's path, and \
      LINUXHEAPS_PRELOAD with the socket's, after 'always:' for --always.

      The program takes heapctl's place, and its exit status is what it ends with; 126 where it cannot be run, 127 where it is not \
      found.
      """)

  @Option(help: ArgumentHelp("The service's socket.", valueName: "path"), completion: .file())
  var socket = UnixAddress.heapService

  @Flag(help: "Never by the nodes, even where they may be opened.")
  var always = false

  @OptionGroup var color: ColorChoice

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp("The program and its arguments.", valueName: "program"))
  var words: [String] = []

  private static let library = "liblinuxheaps-preload.so"

  func run() throws {
    let words = Array(self.words.first == "--" ? self.words.dropFirst() : self.words[...])
    guard let program = words.first else { throw ValidationError("no program is given") }
    if program == self.words.first, program.hasPrefix("-") {
      throw ValidationError("there is no option '\(program)'")
    }
    let library = try Self.libraryPath()
    // It would be told of no heap, and say that it may not open one.
    _ = try MessageSocket(connectedTo: socket)
    // The program may work elsewhere than here.
    let socket = unsafe realpath(socket, nil).map { unsafe String(cString: $0) } ?? socket
    try UnixAddress.check(socket + ".observer", "use the service's other socket")
    let others = unsafe getenv("LD_PRELOAD").map { unsafe ":" + String(cString: $0) } ?? ""
    unsafe setenv("LD_PRELOAD", library + others, 1)
    unsafe setenv("LINUXHEAPS_PRELOAD", (always ? "always:" : "") + socket, 1)
    var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
    unsafe execvp(program, &arguments)
    let error = Errno(rawValue: errno)
    complain("run \(program.visible): \(error) [errno \(error.rawValue)]")
    throw ExitCode(error == .noSuchFileOrDirectory ? 127 : 126)
  }

  /// Beside this program, or where it is installed.
  private static func libraryPath() throws(HeapError) -> String {
    let own = (try? SmallFile.link("/proc/self/exe")) ?? ""
    let folder = FilePath(own).removingLastComponent()
    let places = [
      folder.appending(library),
      folder.removingLastComponent().appending("lib/linux-heaps/\(library)"),
    ]
    let (operation, there) = ("run a program", places.first { unsafe access($0.string, R_OK) == 0 })
    guard let place = there else {
      throw HeapError(
        .notFound, operation, at: places[1].string, cause: "the library is not there",
        fix:
          "install linux-heaps whole: its package, or make install; a static heapctl has the library beside it"
      )
    }
    // The dynamic linker reads a list (ld.so(8)).
    guard !place.string.utf8.contains(where: { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: ":") })
    else {
      throw HeapError(
        .notSupported, operation, at: place.string,
        cause: "a path with a space or a colon cannot be in LD_PRELOAD",
        fix: "install linux-heaps in a folder that has none in its path")
    }
    return place.string
  }
}

internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// A file that is to be written: it is there whole or not at all.
struct OutputFile {
  /// What is done with it, e.g. `write the report`.
  private let operation: String
  private let path: String
  /// Whether it takes the place of what is at `path`; false for a device or a pipe, which stays.
  private let replaces: Bool

  /// Finds out whether the file can be written, before anything long begins.
  init(_ operation: String, at path: String) throws(HeapError) {
    self.operation = operation
    // What rename(2) would replace is a symbolic link itself, not the file that it leads to.
    let target = Self.resolved(path)
    self.path = target
    var status = stat()
    if unsafe stat(target, &status) != 0 {
      let error = Errno(rawValue: errno)
      if [.fileNameTooLong, .tooManySymbolicLinkLevels].contains(error) {
        throw Self.refusal(operation, path, error, fix: "name another file")
      }
    } else if status.st_mode & S_IFMT != S_IFREG {
      replaces = false
      if status.st_mode & S_IFMT == S_IFDIR {
        throw Self.refusal(operation, path, .isDirectory, fix: "name a file in it")
      }
      return
    }
    replaces = true
    do throws(Errno) {
      try Self.expectReplaceable(target)
    } catch {
      throw Self.refusal(
        operation, path, error, fix: "name a file in a folder that this user may write to")
    }
  }

  func write(_ bytes: [UInt8]) throws(HeapError) {
    do throws(Errno) {
      if replaces {
        try replace(with: bytes)
      } else {
        try OwnedFD.open(path, O_WRONLY).write(bytes)
      }
    } catch {
      throw Self.refusal(operation, path, error, fix: "make room there, or name another file")
    }
  }

  /// A file that cannot be made is not one that is not there.
  private static func refusal(
    _ operation: String, _ path: String, _ error: Errno, fix: String
  ) -> HeapError {
    HeapError(
      HeapError.Code(error) == .accessDenied ? .accessDenied : .io, operation, at: path,
      cause: "\(error)", errno: error, fix: fix)
  }

  /// A run that is killed leaves no file: what is made for the question has no name (`O_TMPFILE`,
  /// open(2)). A file system without such files is asked with one that is gone at once.
  private static func expectReplaceable(_ path: String) throws(Errno) {
    let folder = FilePath(path).removingLastComponent().string
    let place = folder.isEmpty ? "." : folder
    // The C library's macro is not importable.
    let nameless = 0o20_000_000 | O_DIRECTORY
    let descriptor = unsafe open(place, O_WRONLY | nameless | O_CLOEXEC, 0o600)
    if descriptor >= 0 {
      close(descriptor)
    } else if [EOPNOTSUPP, EISDIR, EINVAL].contains(errno) {
      unsafe unlink(try TemporaryFile(beside: path).name)
    } else {
      throw Errno(rawValue: errno)
    }
    // In a folder with the sticky bit, as /tmp is, only the owner of a file or of the folder, or root,
    // takes a file's place (rename(2)).
    var (file, directory) = (stat(), stat())
    guard unsafe lstat(path, &file) == 0, unsafe stat(place, &directory) == 0,
      directory.st_mode & S_ISVTX != 0, ![0, file.st_uid, directory.st_uid].contains(geteuid())
    else { return }
    throw .notPermitted
  }

  private func replace(with bytes: [UInt8]) throws(Errno) {
    let file = try TemporaryFile(beside: path)
    let name = file.name
    do throws(Errno) {
      try file.write(bytes)
      guard unsafe rename(name, path) == 0 else { throw Errno(rawValue: errno) }
    } catch {
      unsafe unlink(name)
      throw error
    }
  }

  private static func resolved(_ path: String) -> String {
    guard let whole = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(whole) }
    return unsafe String(cString: whole)
  }
}

/// A new file in the same folder, because a rename does not cross file systems.
private struct TemporaryFile: ~Copyable {
  let name: String
  private let file: OwnedFD

  init(beside path: String) throws(Errno) {
    while true {
      let name = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max))"
      let descriptor = unsafe open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      if descriptor >= 0 {
        self.name = name
        file = OwnedFD(adopting: descriptor)
        return
      }
      if errno != EEXIST { throw Errno(rawValue: errno) }
    }
  }

  func write(_ bytes: [UInt8]) throws(Errno) {
    try file.write(bytes)
    // EINVAL: a file system that has nothing to write back.
    if fsync(file.rawValue) != 0 && errno != EINVAL { throw Errno(rawValue: errno) }
  }
}

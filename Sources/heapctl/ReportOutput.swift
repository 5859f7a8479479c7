internal import ArgumentParser
internal import Glibc
internal import HeapReport
internal import LinuxHeaps
internal import SystemPackage

/// Why a report cannot be read or written.
struct FileFault: Error, CustomStringConvertible {
  let description: String
  let isForbidden: Bool

  init(_ what: String, _ path: String, _ error: Errno, fix: String) {
    isForbidden = [.permissionDenied, .notPermitted, .readOnlyFileSystem].contains(error)
    description = "\(what) (\(path)): \(error) [errno \(error.rawValue)]. To fix it: \(fix)"
  }

  init(_ what: String, _ path: String, _ reason: String, fix: String) {
    isForbidden = false
    description = "\(what) (\(path)): \(reason). To fix it: \(fix)"
  }
}

/// A file that cannot be read or written ends the program with its own words.
func reportingFile<Value>(_ body: () throws -> Value) throws -> Value {
  do {
    return try body()
  } catch let fault as FileFault {
    tell("heapctl: \(fault)")
    throw fault.isForbidden ? Ending.noPermission : Ending.refused
  }
}

/// Where a report goes: standard output, or a file that is there whole or not at all.
struct ReportOutput {
  /// Nil for standard output.
  private let path: String?
  /// Whether it takes the place of what is at `path`; false for a device or a pipe, which stays.
  private let replaces: Bool
  /// What is being done, in a fault's words.
  private let act: String

  /// Finds out whether the file can be written, before anything long begins.
  init(path: String?, named name: String = "the report") throws(FileFault) {
    act = "write \(name)"
    guard let path else {
      self.path = nil
      replaces = false
      return
    }
    // What rename(2) would replace is a symbolic link itself, not the file that it leads to.
    let target = Self.resolved(path)
    self.path = target
    var status = stat()
    if unsafe stat(target, &status) == 0 && status.st_mode & S_IFMT != S_IFREG {
      replaces = false
      if status.st_mode & S_IFMT == S_IFDIR {
        throw FileFault(act, path, .isDirectory, fix: "name a file in it")
      }
      return
    }
    replaces = true
    do throws(Errno) {
      try Self.expectReplaceable(target)
    } catch {
      throw FileFault(act, path, error, fix: "name a file in a folder of yours")
    }
  }

  private static func expectReplaceable(_ path: String) throws(Errno) {
    _ = try TemporaryFile(beside: path)
    let folder = TemporaryFile.folder(of: path)
    // In a folder with the sticky bit, as /tmp is, only the owner of a file or of the folder, or root,
    // takes a file's place (rename(2)).
    var (file, directory) = (stat(), stat())
    guard unsafe lstat(path, &file) == 0, unsafe stat(folder, &directory) == 0,
      directory.st_mode & S_ISVTX != 0, ![0, file.st_uid, directory.st_uid].contains(geteuid())
    else { return }
    throw .notPermitted
  }

  func write(_ text: String) throws(FileFault) {
    guard let path else {
      heapctl.show(text.hasSuffix("\n") ? String(text.dropLast()) : text)
      return
    }
    do throws(Errno) {
      if replaces {
        try replace(path, with: text)
      } else {
        try OwnedFD.open(path, O_WRONLY).write(Array(text.utf8))
      }
    } catch {
      throw FileFault(act, path, error, fix: "make room there, or name another file")
    }
  }

  static func read(_ path: String) throws(FileFault) -> Report {
    let text: String
    do throws(Errno) {
      text = try SmallFile.read(path, limit: 64 << 20)
    } catch {
      throw FileFault("read the report", path, error, fix: "name a file that verify wrote")
    }
    do throws(Report.Unreadable) {
      return try Report(reading: text)
    } catch {
      throw FileFault(
        "read the report", path, "\(error)", fix: "name a file of verify --format json or html")
    }
  }

  private func replace(_ path: String, with text: String) throws(Errno) {
    let file = try TemporaryFile(beside: path)
    try file.write(text)
    try file.take(path)
  }

  private static func resolved(_ path: String) -> String {
    guard let whole = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(whole) }
    return unsafe String(cString: whole)
  }
}

/// A new file in the same folder, because a rename does not cross file systems; gone where it did not
/// take a path.
///
/// It has no name (`O_TMPFILE`, open(2)) until all is written, so that who is killed leaves nothing; one
/// at once only on a file system without such files.
private struct TemporaryFile: ~Copyable {
  private var name: String?
  private let file: OwnedFD

  init(beside path: String) throws(Errno) {
    // The C library's macro is not importable.
    let nameless = 0o20_000_000 | O_DIRECTORY
    let descriptor = unsafe open(Self.folder(of: path), O_WRONLY | nameless | O_CLOEXEC, 0o666)
    if descriptor >= 0 {
      file = OwnedFD(adopting: descriptor)
      name = nil
      return
    }
    guard [EOPNOTSUPP, EISDIR, EINVAL].contains(errno) else { throw Errno(rawValue: errno) }
    while true {
      let name = Self.name(beside: path)
      let descriptor = unsafe open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      if descriptor >= 0 {
        file = OwnedFD(adopting: descriptor)
        self.name = name
        return
      }
      if errno != EEXIST { throw Errno(rawValue: errno) }
    }
  }

  deinit { if let name { unsafe unlink(name) } }

  static func folder(of path: String) -> String {
    let folder = FilePath(path).removingLastComponent().string
    return folder.isEmpty ? "." : folder
  }

  private static func name(beside path: String) -> String {
    "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max))"
  }

  func write(_ text: String) throws(Errno) {
    try file.write(Array(text.utf8))
    // EINVAL: a file system that has nothing to write back.
    if fsync(file.rawValue) != 0 && errno != EINVAL { throw Errno(rawValue: errno) }
  }

  /// Puts it in the place of what is at `path`.
  consuming func take(_ path: String) throws(Errno) {
    if name == nil {
      // A link takes no file's place, so that only a new file needs no second name.
      if try link(as: path) { return }
      repeat { name = Self.name(beside: path) } while try !link(as: name!)
    }
    guard unsafe rename(name!, path) == 0 else { throw Errno(rawValue: errno) }
    name = nil
  }

  /// False where there is a file of that name.
  private func link(as name: String) throws(Errno) -> Bool {
    let path = "/proc/self/fd/\(file.rawValue)"
    if unsafe linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 { return true }
    if errno == EEXIST { return false }
    throw Errno(rawValue: errno)
  }
}

internal import Glibc

/// A directory for sockets and logs that is removed with this value.
struct Scratch: ~Copyable {
  let path: String

  init() throws(Failure) {
    // Short, since a socket's path has room for 107 bytes.
    var template = Array("/tmp/heap-bench.XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw .errno("no directory in /tmp") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    for name in names(in: path) ?? [] { unsafe unlink("\(path)/\(name)") }
    unsafe rmdir(path)
  }

  /// The end of what each server said, under its name; empty where none said anything.
  func logs() -> String {
    var text = ""
    for name in (names(in: path) ?? []).sorted() where name.hasSuffix(".log") {
      let lines = (readText("\(path)/\(name)") ?? "").split(separator: "\n").suffix(20)
      for line in lines { text += "\n\(name.dropLast(4)): \(line)" }
    }
    return text
  }

  func write(_ text: String, as name: String) throws(Failure) -> String {
    let path = "\(path)/\(name)"
    let file = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
    guard unsafe Glibc.write(file.number, text, text.utf8.count) == text.utf8.count else {
      throw .errno("cannot write \(path)")
    }
    return path
  }
}

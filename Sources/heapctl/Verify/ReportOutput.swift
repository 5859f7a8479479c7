internal import HeapReport
internal import LinuxHeaps
internal import SystemPackage

/// Where a report goes: standard output, or a file.
struct ReportOutput {
  /// Nil for standard output.
  private let file: OutputFile?

  /// Finds out whether the file can be written, before anything long begins.
  init(path: String?) throws(FileFault) {
    guard let path else {
      file = nil
      return
    }
    file = try OutputFile("write the report", at: path)
  }

  func write(_ text: String) throws(FileFault) {
    guard let file else {
      heapctl.show(text.hasSuffix("\n") ? String(text.dropLast()) : text)
      return
    }
    try file.write(Array(text.utf8))
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
}

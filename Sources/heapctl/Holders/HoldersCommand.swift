internal import ArgumentParser
internal import Glibc
internal import HeapSurvey
internal import LinuxHeaps

struct HoldersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "holders",
    abstract: "Shows every buffer of this machine, and who holds it.",
    discussion: """
      Reads each process's descriptors and mappings from /proc and, as root, the kernel's own list \
      of dma-bufs from debugfs or, since Linux 6.16, by a BPF iterator. References that no process was seen to hold are shown as such.
      """)

  @Option(help: ArgumentHelp("Only the buffers that this process holds.", valueName: "process"))
  var pid: Int32?

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice

  func run() throws {
    if let pid { try Self.expectVisible(pid) }
    let report = HoldersReport(BufferSurvey(), heldBy: pid)
    if json { try JSONReport(body: report, name: "holders").show() } else { report.show() }
  }

  static func expectVisible(_ process: pid_t) throws {
    guard process > 0, unsafe access("/proc/\(process)", F_OK) == 0 else {
      tell("heapctl: look into process \(process) (/proc/\(process)): no such process")
      throw Ending.refused
    }
    guard unsafe access("/proc/\(process)/fd", R_OK | X_OK) == 0 else {
      tell(
        "heapctl: look into process \(process) (/proc/\(process)/fd): permission denied: it is "
          + "another user's. To fix it: run as that user, or as root")
      throw Ending.noPermission
    }
  }
}

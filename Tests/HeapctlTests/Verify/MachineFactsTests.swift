import Foundation
import HeapReport
import LinuxHeaps
import TestSupport
import Testing

/// What a report says of the machine is what the machine says.
@Suite struct MachineFactsTests {
  private func report() throws -> Report {
    try Report(reading: try Run.heapctl("verify", "--heap", "opaque", "--format", "json").output)
  }

  private func text(_ path: String) -> String? {
    try? String(contentsOfFile: path, encoding: .utf8)
  }

  @Test func `kernel, memory and processors are those of proc`() throws {
    let report = try report()
    let machine = report.machine
    #expect(report.kernelRelease == kernelRelease)
    #expect(machine.kernelVersion.map { $0 + "\n" } == text("/proc/version"))
    #expect(
      machine.commandLine == text("/proc/cmdline")?.split(separator: "\n").first.map(String.init))
    #expect(machine.processors == ProcessInfo.processInfo.activeProcessorCount)
    #expect(machine.pageBytes == pageSize)
    let meminfo = try #require(text("/proc/meminfo"))
    let total = try #require(try #/MemTotal: +(\d+) kB/#.firstMatch(in: meminfo)?.1)
    #expect(machine.memoryBytes == UInt64(total).map { $0 << 10 })
    #expect(report.date.wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/#) != nil)
    #expect(report.heaps.map(\.name) == ["opaque"])
  }

  static let packedOptions = "/proc/config.gz"

  @Test(
    .enabled(
      if: FileManager.default.fileExists(atPath: packedOptions), "needs CONFIG_IKCONFIG_PROC"))
  func `the kernel's options are those that it was built with`() throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/gzip")
    process.arguments = ["-dc", Self.packedOptions]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    let lines = Set(String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init))

    let machine = try report().machine
    #expect(machine.optionsSource == Self.packedOptions)
    #expect(machine.options.count > 20)
    for (name, value) in machine.options {
      if value == "n" {
        #expect(!lines.contains { $0.hasPrefix("CONFIG_\(name)=") })
      } else {
        #expect(lines.contains("CONFIG_\(name)=\(value)"))
      }
    }
    #expect(machine.options["MEMFD_CREATE"] == "y")
  }
}

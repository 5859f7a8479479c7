import Foundation

/// The programs under test.
package enum Program {
  /// Those of the folder that `LINUXHEAPS_PROGRAMS` names, so that what is shipped is tested; else those that were built beside
  /// this test.
  package static func path(_ name: String) throws -> String {
    if let folder = ProcessInfo.processInfo.environment["LINUXHEAPS_PROGRAMS"] {
      return URL(fileURLWithPath: folder).appendingPathComponent(name).path
    }
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent(name)
      .path
  }
}

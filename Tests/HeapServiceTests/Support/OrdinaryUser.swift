import Foundation
import Glibc
import TestSupport

/// Runs heapd as nobody, from a copy that everybody can reach. Only root can.
struct OrdinaryUser {
  let folder: TemporaryFolder
  private let copy: String

  init() throws {
    folder = try TemporaryFolder()
    copy = folder.path + "/heapd"
    try FileManager.default.copyItem(atPath: Program.path("heapd"), toPath: copy)
    unsafe chmod(copy, 0o755)
    unsafe chmod(folder.path, 0o777)
  }

  func heapd(_ arguments: String...) throws -> ProgramRun {
    let user = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    return try ProgramRun(words: user + [copy] + arguments)
  }
}

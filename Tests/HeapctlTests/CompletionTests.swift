import Foundation
import LinuxHeaps
import LinuxHeapsDRM
import LinuxHeapsV4L2
import SystemPackage
import TestSupport
import Testing

@Suite struct CompletionTests {
  @Test(arguments: ["bash", "zsh", "fish"])
  func `the script has every verb, and none that is hidden`(_ shell: String) throws {
    let run = try Run.heapctl("completion", shell)
    #expect(run.status == 0)
    #expect(run.error == "")
    for verb in try VerbTests.verbs() { #expect(run.output.contains(verb.commandName)) }
    #expect(!run.output.contains("demo-partner"))
    #expect(
      run.output == (try Run.heapctl("--generate-completion-script", shell)).output)
  }

  @Test func `another shell is wrong usage`() throws {
    #expect(try Run.heapctl("completion", "csh").status == 64)
  }

  @Test func `bash completes verbs, options and their values`() throws {
    #expect(try completed("heapctl", "ver") == ["verify"])
    #expect(try completed("heapctl", "verify", "--so") == ["--socket"])
    #expect(try completed("heapctl", "list", "--color", "ne") == ["never"])
    #expect(try completed("heapctl", "completion", "") == ["bash", "zsh", "fish"])
  }

  @Test func `bash completes heaps, devices, sockets and checks`() throws {
    let heaps = HeapCatalog().heaps().map(\.name) + ["memfd", "udmabuf", "hugetlb", "opaque"]
    for words in [["alloc", "--heap"], ["verify", "--heap"], ["show", "--heap"]] {
      #expect(try Set(completed(["heapctl"] + words + [""])) == Set(heaps))
    }
    #expect(try completed("heapctl", "verify", "--check", "drm-") == ["drm-import"])
    let cameras = VideoDevice.paths()
    #expect(try Set(completed("heapctl", "camera", "--device", "")) == Set(cameras))
    let displays = DRMNode.all().filter { $0.kind == .primary }.map(\.path.string)
    #expect(try Set(completed("heapctl", "show", "--device", "")) == Set(displays))
    let daemon = try Daemon()
    let start = String(daemon.socket.dropLast(4))
    for words in [["alloc", "--socket"], ["info", "--socket"]] {
      #expect(
        try Set(completed(["heapctl"] + words + [start])) == [daemon.socket, daemon.observer])
    }
  }

  /// What bash offers for the last of the words.
  private func completed(_ words: String...) throws -> [String] { try completed(words) }

  private func completed(_ words: [String]) throws -> [String] {
    let script = """
      source <("$0" completion bash)
      complete -p heapctl > /dev/null || exit 1
      COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
      "$(complete -p heapctl | sed 's/.*-F \\([^ ]*\\).*/\\1/')" heapctl "${@: -1}" "${@: -2:1}"
      printf '%s\\n' "${COMPREPLY[@]}"
      """
    let run = try Run.program("/bin/bash", ["-c", script, try Program.path("heapctl")] + words)
    #expect(run.status == 0, "\(run.error)")
    return run.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
  }
}

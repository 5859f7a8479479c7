import Glibc
import LinuxHeaps
import Testing

@testable import HeapSurvey

/// Names that somebody chose: of a buffer, and of a program.
@Suite struct OddNameTests {
  @Test func `a buffer's name does not take in the next buffer`() {
    let entries = BufferList(
      parsing: """
        00004096\t00000002\t02080007\t00000001\tsystem\t00000001\tmine\r
        00008192\t00000002\t02080007\t00000001\tsystem\t00000002\tyours

        """
    ).entries
    #expect(entries.map(\.name) == ["mine\r", "yours"])
  }

  @Test func `a program's name is whole, and one line where it is told`() async {
    await #expect(processExitsWith: .success) {
      for name in ["a\r", "a\n<0>forged", "a\n"] {
        let file = try OwnedFD.open("/proc/self/comm", O_WRONLY)
        let bytes = Array(name.utf8)
        #expect(unsafe write(file.rawValue, bytes, bytes.count) == bytes.count)
        let own = try ProcessReferences(getpid())
        #expect(own.program == name)
        let told = Holder(own, (1, 0)).description
        #expect(told.hasPrefix("process \(getpid()) (a\\u{"), "\(told)")
        #expect(!told.unicodeScalars.contains { $0.properties.generalCategory == .control })
      }
    }
  }
}

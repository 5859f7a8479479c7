/// A release as `uname -r` shows it, and the two numbers that it begins with.
package struct KernelVersion: Sendable {
  package let text: String
  private let major: Int
  private let minor: Int

  package init(_ files: MachineFiles) {
    text = files.release
    let numbers = text.split { !$0.isNumber }.prefix(2).map { Int($0) ?? 0 }
    major = numbers.first ?? 0
    minor = numbers.count > 1 ? numbers[1] : 0
  }

  /// False where the release is not told.
  package func isBefore(_ major: Int, _ minor: Int) -> Bool {
    !text.isEmpty && (self.major, self.minor) < (major, minor)
  }
}

import Glibc
import LinuxHeaps

/// Of `/proc/PID/stat` (proc(5)); nil for a process that is gone.
struct ProcessState {
  let letter: String
  let parent: pid_t

  init?(_ process: pid_t) {
    // The program's name, in parentheses before them, can hold anything.
    // Foundation's reader leaks its buffer where a read fails, as it does with ESRCH once the process is gone.
    guard let text = try? SmallFile.read("/proc/\(process)/stat"),
      let end = text.lastIndex(of: ")")
    else { return nil }
    let words = text[text.index(after: end)...].split(separator: " ")
    guard words.count > 1, let parent = pid_t(words[1]) else { return nil }
    letter = String(words[0])
    self.parent = parent
  }

  /// Not one that only waits for its parent, which may be in no hurry, to take note of its end.
  static func isRunning(_ process: pid_t) -> Bool {
    ProcessState(process).map { $0.letter != "Z" } ?? false
  }
}

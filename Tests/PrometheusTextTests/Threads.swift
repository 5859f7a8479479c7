import Dispatch
import Foundation

enum Threads {
  /// Runs the body on so many threads at the same time, and returns when all are through. Tasks
  /// would take turns on a machine with few cores.
  static func run(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    let group = DispatchGroup()
    for _ in 0..<count {
      group.enter()
      Thread {
        body()
        group.leave()
      }.start()
    }
    group.wait()
  }
}

internal import Glibc

/// Runs `body` on `count` threads at once and waits for all. Task groups have only a thread for each
/// processor.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  var threads: [pthread_t] = []
  for index in 0..<count {
    let start = unsafe Unmanaged.passRetained(Start { body(index) })
    var thread = pthread_t()
    let error = unsafe pthread_create(
      &thread, nil,
      { argument in
        unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
      }, start.toOpaque())
    precondition(error == 0, "no thread: errno \(error)")
    threads.append(thread)
  }
  for thread in threads { pthread_join(thread, nil) }
}

private final class Start {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

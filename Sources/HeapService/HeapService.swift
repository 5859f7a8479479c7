public import HeapServer
internal import LinuxHeaps
public import ServiceLifecycle
internal import SystemPackage

/// A heap server among the other services of a program (swift-service-lifecycle).
///
/// A graceful shutdown of its group, or its cancellation, takes no new requests, answers those under way,
/// and returns. heapd itself has no group: Swift's concurrency runs on Dispatch, whose threads wake an idle
/// process once a second.
public struct HeapService: Service {
  private let server: HeapServer

  public init(_ server: HeapServer) { self.server = server }

  /// Serves until the group shuts down.
  ///
  /// - Throws: `HeapError`, as `HeapServer.run(_:)` does.
  public func run() async throws {
    let server = self.server
    try await withTaskCancellationOrGracefulShutdownHandler {
      try await withCheckedThrowingContinuation { continuation in
        do throws(Errno) {
          // A thread of its own, because it waits in the kernel.
          try KernelThread.start("heap-server") {
            do throws(HeapError) {
              try server.run()
              continuation.resume()
            } catch {
              continuation.resume(throwing: error)
            }
          }
        } catch {
          continuation.resume(throwing: HeapError(error, "start the server's thread"))
        }
      }
    } onCancelOrGracefulShutdown: {
      server.stop()
    }
  }
}

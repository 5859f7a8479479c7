internal import HeapServer
internal import LinuxHeaps
internal import Logging
internal import ServiceLifecycle
internal import SystemPackage
internal import UnixSignals

/// The server's run, from READY to the last answer.
struct Serving: Service {
  let server: HeapServer

  func run() async throws {
    let server = self.server
    try await withGracefulShutdownHandler {
      try await withCheckedThrowingContinuation { continuation in
        do throws(Errno) {
          // A thread of its own, because it waits in the kernel.
          try KernelThread.start("heapd") {
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
    } onGracefulShutdown: {
      server.stop()
    }
  }
}

/// Reads the configuration again at each SIGHUP; one with a fault changes nothing.
struct Reloading: Service {
  let server: HeapServer
  let configuration: String
  let log: Logger

  func run() async throws {
    for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
      do throws(HeapError) {
        server.reload(try Policy(file: configuration))
      } catch {
        log.error("configuration not taken", metadata: ["error": "\(error)"])
      }
    }
  }
}

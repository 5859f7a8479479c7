import Glibc
import LinuxHeaps
import SystemPackage
import Testing

/// What needs no dma-buf; the rest is the check `device-fences`.
@Suite struct FenceTests {
  @Test func `a memfd has no fences, and says what has`() throws {
    let vmo = try MemfdHeap().allocateVmo(
      size: 1, settings: SingleBufferSettings(), bufferCollectionID: 0xFE, bufferIndex: 0)
    do throws(HeapError) {
      _ = try vmo.fence(before: .reading)
      Issue.record("a memfd gave out a fence")
    } catch {
      #expect(
        "\(error)" == "export the fences of a memfd: only a dma-buf has fences; NOT_SUPPORTED. "
          + "To fix it: use a heap of /dev/dma_heap, or udmabuf")
    }
  }

  @Test func `only a sync_file is adopted as a fence`() throws {
    let number = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
    do throws(HeapError) {
      _ = try Fence(adopting: OwnedFD(adopting: number))
      Issue.record("/dev/null passed as a fence")
    } catch {
      #expect(error.code == .wrongType)
      #expect(fcntl(number, F_GETFD) == -1)
    }
  }
}

import LinuxHeaps
import TestSupport
import Testing

@Suite struct DemoTests {
  private static let heaps = HeapCatalog().heaps()

  @Test func `two buffers live and go, on the heap that the machine has`() throws {
    let run = try Run.heapctl("demo")
    #expect(
      run.output.withoutChangingNumbers() == (Self.heaps.isEmpty ? Self.onMemfd : Self.onHeaps))
    #expect(run.error == "")
    #expect(run.status == 0)
  }

  private static let onMemfd = """
    heapctl demo on Linux R
    Using the embedded memfd heap, because this machine has no /dev/dma_heap.

    1. A contiguous buffer of 4 MiB
       asked with is_physically_contiguous = true; served by memfd: a memfd, inode N, name lh:ID.0
       (a memfd is never contiguous; its heap has one kind of memory and no use for settings)
    \(life(["live   "], syncing: ""))
       live    | the vmo is closed here: only process N holds on
       live    | process N closed its descriptor: only its mapping is left
       clean-up runs: the last child is gone, the memory goes back
       reclaimed: process N unmapped the last of it, and nobody called deleteVmo

    2. A non-contiguous buffer of 4 MiB
       asked with is_physically_contiguous = false; served by memfd: a memfd, inode N, name lh:ID.1
    \(life(["live   "], syncing: ""))
       live    | process N let go of all
       clean-up runs: the last child is gone, the memory goes back
       reclaimed: deleteVmo closed the last child and returned when all was gone

    Done. Live buffers: 0.

    """

  private static let onHeaps = """
    heapctl demo on Linux R
    Using the kernel's dma-buf heaps, because this machine has them: \
    \(heaps.map { "\($0.name) (\($0.role.rawValue))" }.joined(separator: ", ")).

    1. A contiguous buffer of 4 MiB
    \(contiguous)

    2. A non-contiguous buffer of 4 MiB
       asked with is_physically_contiguous = false; served by system: a dma-buf, inode N, name lh:ID.1
    \(life(counts, syncing: ", which has a descriptor for syncing"))
       count 2 | process N let go of all
       clean-up runs: the last child is gone, the memory goes back
       reclaimed: deleteVmo closed the last child and returned when all was gone

    Done. Live buffers: 0.

    """

  private static var contiguous: String {
    guard let heap = heaps.first(where: { $0.role == .contiguous }) else {
      return """
           refused, and not replaced by other memory: allocate 4 MiB of contiguous memory: no \
        contiguous heap: this machine has \(heaps.map(\.name).joined(separator: " ")); NOT_SUPPORTED. \
        To fix it: \(HeapRole.contiguousAdvice)
        """
    }
    return """
         asked with is_physically_contiguous = true; served by \(heap.name): a dma-buf, inode N, name lh:ID.0
      \(life(counts, syncing: ", which has a descriptor for syncing"))
         count 4 | the vmo is closed here: only process N holds on
         count 3 | process N closed its descriptor: only its mapping is left
         clean-up runs: the last child is gone, the memory goes back
         reclaimed: process N unmapped the last of it, and nobody called deleteVmo
      """
  }

  private static let counts = [2, 4, 7, 6, 5].map { "count \($0)" }

  /// - Parameter counts: The kernel's at each step; a memfd has none.
  private static func life(_ counts: [String], syncing: String) -> String {
    func count(_ step: Int) -> String { counts[min(step, counts.count - 1)] }
    return """
         \(count(0)) | the heap keeps the parent, this process has the vmo
         \(count(1)) | two slices handed out, 2 MiB each
         process N got the second slice over a socket and reads: "written by process N"
         process N reads in its own handle: "answered by process N"
         \(count(2)) | process N has a descriptor and a mapping\(syncing)
         \(count(3)) | the first slice is closed here
         \(count(4)) | the second slice is closed here
      """
  }
}

import LinuxHeaps
import Testing

@Suite struct DemoTests {
  @Test func `two buffers live and go, on the heap that the machine has`() throws {
    if HeapCatalog().heaps().isEmpty { try showsMemfdHeap() } else { try showsCounts() }
  }

  private func showsMemfdHeap() throws {
    let run = try Run.heapctl("demo")
    #expect(run.status == 0)
    #expect(run.error == "")
    let life = """
         live    | the heap keeps the parent, this process has the vmo
         live    | two slices handed out, 2 MiB each
         process N got the second slice over a socket and reads: "written by process N"
         process N reads in its own handle: "answered by process N"
         live    | process N has a descriptor and a mapping
         live    | the first slice is closed here
         live    | the second slice is closed here
      """
    #expect(
      run.output.withoutChangingNumbers() == """
        heapctl demo on Linux R
        Using the embedded memfd heap, because this machine has no /dev/dma_heap.

        1. A contiguous buffer of 4 MiB
           asked with is_physically_contiguous = true; served by memfd: a memfd, inode N, name lh:ID.0
           (a memfd is never contiguous; its heap has one kind of memory and no use for settings)
        \(life)
           live    | the vmo is closed here: only process N holds on
           live    | process N closed its descriptor: only its mapping is left
           clean-up runs: the last child is gone, the memory goes back
           reclaimed: process N unmapped the last of it, and nobody called deleteVmo

        2. A non-contiguous buffer of 4 MiB
           asked with is_physically_contiguous = false; served by memfd: a memfd, inode N, name lh:ID.1
        \(life)
           live    | process N let go of all
           clean-up runs: the last child is gone, the memory goes back
           reclaimed: deleteVmo closed the last child and returned when all was gone

        Done. Live buffers: 0.

        """)
  }

  private func showsCounts() throws {
    let run = try Run.heapctl("demo")
    #expect(run.status == 0)
    let hasContiguous = HeapCatalog().heaps().contains { $0.role == .contiguous }
    let counts = run.output.split(separator: "\n").compactMap { line in
      line.hasPrefix("   count ") ? Int(line.dropFirst(9).prefix { $0.isNumber }) : nil
    }
    #expect(counts == (hasContiguous ? [2, 4, 7, 6, 5, 4, 3] : []) + [2, 4, 7, 6, 5, 2])
    let reclaimed = run.output.split(separator: "\n").count { $0.hasPrefix("   reclaimed: ") }
    #expect(reclaimed == (hasContiguous ? 2 : 1))
    #expect(
      run.output.contains("refused, and not replaced by other memory") == !hasContiguous)
    #expect(run.output.hasSuffix("Done. Live buffers: 0.\n"))
  }
}

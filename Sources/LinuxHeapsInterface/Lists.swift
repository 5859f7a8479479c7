public import CLinuxHeapsInterface
internal import LinuxHeaps
internal import SystemPackage

/// A `lheap_list`.
@safe private struct CList: ~Copyable {
  let entries: UnsafeMutableBufferPointer<lheap_entry>
  /// Those of the entries.
  private let texts: [Texts]

  private final class Texts {
    let name: CText
    let path: CText
    let role: CText
    let duplicate: CText
    let refusal: CText

    init(_ heap: HeapEntry, among heaps: [HeapEntry]) {
      name = CText(heap.name)
      path = CText(heap.path.string)
      role = CText(heap.role.rawValue)
      duplicate = CText(heap.duplicateOf)
      do throws(HeapError) {
        try NamedHeap([heap.name]).check("use", among: heaps)
        refusal = CText(nil)
      } catch {
        refusal = CText(error.words)
      }
    }
  }

  init() throws(HeapError) {
    let catalog = HeapCatalog()
    try catalog.checkReadable("list heaps")
    let heaps = catalog.heaps()
    let texts = heaps.map { Texts($0, among: heaps) }
    unsafe entries = .allocate(capacity: heaps.count)
    for (index, heap) in heaps.enumerated() {
      let texts = texts[index]
      unsafe (entries.baseAddress! + index).initialize(
        to: lheap_entry(
          size: MemoryLayout<lheap_entry>.size, name: texts.name.bytes, path: texts.path.bytes,
          role: texts.role.bytes, duplicate_of: texts.duplicate.bytes,
          refusal: texts.refusal.bytes, capacity: heap.capacity ?? 0, free: heap.free ?? 0))
    }
    self.texts = texts
  }

  deinit { unsafe entries.deallocate() }
}

@_cdecl("lheap_list_read")
public func listRead(
  _ list: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let list = unsafe try place(list, "list heaps")
    unsafe list.pointee = stored(try CList())
  }
}

@_cdecl("lheap_list_count")
public func listCount(_ list: OpaquePointer) -> Int {
  unsafe UnsafeMutablePointer<CList>(list).pointee.entries.count
}

@_cdecl("lheap_list_at")
public func listEntry(_ list: OpaquePointer, _ index: Int) -> UnsafePointer<lheap_entry>? {
  let entries = unsafe UnsafeMutablePointer<CList>(list).pointee.entries
  return unsafe entries.indices.contains(index)
    ? UnsafePointer(entries.baseAddress! + index) : nil
}

@_cdecl("lheap_list_free")
public func listFree(_ list: OpaquePointer?) { unsafe free(list, as: CList.self) }

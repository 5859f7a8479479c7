import LinuxHeaps
import Testing

@testable import HeapSurvey

@Suite struct BufferListTests {
  /// As Linux 7.3 writes it.
  static let text = """

    Dma-buf Objects:
    size    \tflags   \tmode    \tcount   \texp_name\tino     \tname
    01048576\t00000002\t02080007\t00000005\tsystem\t00000001\tlh:2g.0
    \twrite fence:drm_sched gfx seq 7 signalled
    \tAttached Devices:
    \tvgem
    \t0000:00:02.0
    Total 2 devices attached

    00004096\t00000002\t02080007\t00000001\tudmabuf\t00000017\t<none>
    \tAttached Devices:
    Total 0 devices attached


    Total 2 objects, 1052672 bytes

    """

  @Test func `buffers, counts and devices`() {
    #expect(
      BufferList(parsing: Self.text).entries == [
        .init(
          size: 1 << 20, count: 5, exporter: "system", inode: 1, name: "lh:2g.0",
          devices: ["vgem", "0000:00:02.0"]),
        .init(size: 4096, count: 1, exporter: "udmabuf", inode: 17, name: nil),
      ])
  }

  @Test(arguments: ["", "\n", "garbage", "123", "1\t2\t3\t4", "\tAttached Devices:\n\tvgem\n"])
  func `what is no list has no entries`(_ text: String) {
    #expect(BufferList(parsing: text).entries == [])
  }

  @Test func `mappings of buffers are found among others`() {
    let maps = """
      55d0-55d1 r--p 00000000 fd:00 1234 /usr/bin/cat
      7f00-7f01 rw-s 00000000 00:0c 9 /dmabuf:a name with /memfd: in it
      7f01-7f02 rw-s 00000000 00:01 8                  /memfd:lh:1.0 (deleted)
      7f02-7f03 rw-p 00000000 00:00 0
      7f03-7f04 r--p 00000000 fd:00 5 /tmp/dmabuf:x
      """
    let regions = MappedFiles.parse(maps)
    #expect(regions.map(\.addresses) == ["7f00-7f01", "7f01-7f02"])
    #expect(regions.map(\.identity.inode) == [9, 8])
    #expect(
      regions.map(\.path) == ["/dmabuf:a name with /memfd: in it", "/memfd:lh:1.0 (deleted)"])
    #expect(regions.map(\.identity.device) == [12, 1])
  }
}

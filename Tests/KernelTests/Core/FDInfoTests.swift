import Testing

@testable import LinuxHeaps

@Suite struct FDInfoTests {
  /// As Linux 7.3 prints it; the name is the last line.
  private static let head = """
    pos:\t0
    flags:\t02100002
    mnt_id:\t14
    ino:\t1034
    size:\t8192
    count:\t3
    exp_name:\t
    """

  private static func text(exporter: String = "system", name: String? = nil) -> String {
    head + exporter + "\n" + (name.map { "name:\t\($0)\n" } ?? "")
  }

  @Test func `size, count and exporter are read`() throws {
    let info = try #require(FDInfo(parsing: Self.text()))
    #expect(info.size == 8192)
    #expect(info.count == 3)
    #expect(info.exporter == "system")
    #expect(info.name == nil)
  }

  @Test(arguments: [
    "lh:1.0", "a\tb", "\tleading", "a:b", "size: 4096", "count:\t1", "exp_name:", "", " ",
    "b\u{e9}",
  ])
  func `a name is kept as it is`(_ name: String) throws {
    let info = try #require(FDInfo(parsing: Self.text(name: name)))
    #expect(info.name == name)
    #expect(info.size == 8192)
    #expect(info.count == 3)
    #expect(info.exporter == "system")
  }

  // DMA_BUF_SET_NAME takes every byte but NUL, from any holder, and fdinfo prints it as it is.
  @Test(arguments: [
    "a\nb", "lh\ncount:\t1", "lh\ncount:\tx", "lh\nsize:\t0", "lh\nexp_name:\tx", "lh\nname:\tx",
    "lh\n", "lh\r",
  ])
  func `a name with line breaks changes nothing else`(_ name: String) throws {
    let info = try #require(FDInfo(parsing: Self.text(name: name)))
    #expect(info.size == 8192)
    #expect(info.count == 3)
    #expect(info.exporter == "system")
    #expect(info.name == name)
    #expect(unsafe Self.text(name: name).withCString { unsafe FDInfo.count(in: $0) } == 3)
  }

  @Test(arguments: [
    "system", "default_cma_region", "protected,secure-video", "vidmem@4f000000,pool", "udmabuf",
  ])
  func `an exporter's name is taken whole`(_ exporter: String) throws {
    #expect(FDInfo(parsing: Self.text(exporter: exporter))?.exporter == exporter)
  }

  @Test(arguments: [
    "",
    "pos:\t0\nflags:\t02\nmnt_id:\t14\nino:\t9\n",
    // An eventfd.
    "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t12\neventfd-count:                0\n",
    // An inotify instance.
    "pos:\t0\nflags:\t00\ninotify wd:1 ino:9e7e sdev:800013 mask:800afce\n",
    "size:\t4096\ncount:\t2\n",
    "size:\t4096\nexp_name:\tsystem\n",
    "count:\t2\nexp_name:\tsystem\n",
    "size:\t-1\ncount:\t2\nexp_name:\tsystem\n",
    "size\ncount\nexp_name\n",
  ])
  func `other files are no dma-buf`(_ text: String) {
    #expect(FDInfo(parsing: text) == nil)
  }

  @Test(arguments: [
    "", "pos:\t0\nino:\t9\neventfd-count:                0\n", "pos:\t0\ncount:\t2\n",
    "pos:\t0\ncount:\t\nexp_name:\tsystem\n", "pos:\t0\ncount:\t-1\nexp_name:\tsystem\n",
    "pos:\t0\ncount:\t2\nsize:\t1\nexp_name:\tsystem\n", "pos:\t0\ncount:\t2",
  ])
  func `what has no count of a dma-buf's is not counted`(_ text: String) {
    #expect(unsafe text.withCString { unsafe FDInfo.count(in: $0) } == nil)
  }

  @Test func `a memfd is no dma-buf`() throws {
    let memfd = try Memfd.create("lh:fdinfo", size: pageSize)
    let number = memfd.rawValue
    #expect(try FDInfo.read(number) == nil)
  }
}

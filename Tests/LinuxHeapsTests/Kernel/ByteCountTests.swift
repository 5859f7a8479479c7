import Testing

@testable import LinuxHeaps

@Suite struct ByteCountTests {
  /// The largest file offset in whole pages.
  private static let largest = (UInt64(1) << 63) - pageSize

  @Test func `a page is 4, 16 or 64 KiB`() {
    #expect([4096, 16384, 65536].contains(pageSize))
  }

  @Test(
    arguments: [
      (0, 0), (1, pageSize), (pageSize - 1, pageSize), (pageSize, pageSize),
      (pageSize + 1, 2 * pageSize), (1 << 40, 1 << 40),
      (largest - 1, largest), (largest, largest), (largest + 1, nil),
      ((1 << 63) - 1, nil), (1 << 63, nil), ((1 << 63) + 1, nil),
      (.max - pageSize, nil), (.max - pageSize + 1, nil), (.max - pageSize + 2, nil), (.max, nil),
    ] as [(UInt64, UInt64?)])
  func `a size is rounded up to pages as far as a file offset goes`(
    _ size: UInt64, _ rounded: UInt64?
  ) {
    #expect(size.roundedUpToPages == rounded)
  }

  @Test(
    arguments: [
      (0, true), (1, false), (pageSize / 2, false), (pageSize - 1, false), (pageSize, true),
      (pageSize + 1, false), (3 * pageSize, true), (1 << 63, true), (.max, false),
    ] as [(UInt64, Bool)])
  func `alignment is to a page`(_ number: UInt64, _ isAligned: Bool) {
    #expect(number.isPageAligned == isAligned)
  }

  @Test(
    arguments: [
      (0, "0 B"), (1, "1 B"), (300, "300 B"), (1023, "1023 B"), (1024, "1 KiB"), (1025, "1 KiB"),
      (1536, "1.5 KiB"), (4096, "4 KiB"), ((1 << 20) - 1, "1023.9 KiB"), (1 << 20, "1 MiB"),
      (8 << 20, "8 MiB"), (3 << 29, "1.5 GiB"), (1 << 40, "1 TiB"), (1 << 50, "1 PiB"),
      (1 << 63, "8 EiB"), (.max, "15.9 EiB"),
    ] as [(UInt64, String)])
  func `a byte count is read by people`(_ count: UInt64, _ text: String) {
    #expect(count.asByteCount == text)
  }

  @Test(
    arguments: [
      ("1", 1), ("4096", 4096), ("64K", 65_536), ("8m", 8 << 20), ("1G", 1 << 30), ("2T", 2 << 40),
      ("8MiB", 8 << 20), ("8 MiB", 8 << 20), ("300 B", 300), ("1.5M", 3 << 19),
      ("1.5 GiB", 3 << 29),
      ("0.5K", 512), ("0x1000", 4096), ("0xfF", 255), ("18446744073709551615", .max),
      ("0", nil), ("", nil), ("x", nil), ("-1", nil), ("+1", nil), ("1.3K", nil), ("1.5", nil),
      ("0.0M", nil),
      ("8MB", nil), ("8iB", nil), ("8KiBiB", nil), ("8  MiB", nil), (" 8", nil), ("8 ", nil),
      ("K", nil),
      (" MiB", nil), ("1.", nil), (".5K", nil), ("1.5.5M", nil), ("0x", nil), ("0xg", nil),
      ("0x-1", nil),
      ("0x1K", nil), ("18446744073709551616", nil), ("99999999999G", nil), ("0.9999999999M", nil),
      ("٣", nil),
    ] as [(String, UInt64?)])
  func `a size as people write it`(_ text: String, _ bytes: UInt64?) {
    #expect(UInt64(byteSize: text) == bytes)
  }

  /// What `heapctl` says can be said to it, where it is the whole truth.
  @Test(arguments: [1, 300, 1024, 1536, 4096, 8 << 20, 3 << 29, 1 << 40] as [UInt64])
  func `a size that was shown is understood`(_ bytes: UInt64) {
    #expect(UInt64(byteSize: bytes.asByteCount) == bytes)
  }
}

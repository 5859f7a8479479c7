import Testing

@testable import LinuxHeaps

@Test func x() {
  #expect(FDInfo(parsing: "pos:\t0\nsize:\t4096\ncount:\t2\nexp_name:\tsystem\n") != nil)
}

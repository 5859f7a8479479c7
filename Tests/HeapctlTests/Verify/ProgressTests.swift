import Foundation
import HeapTestKit
import Testing

@Suite struct ProgressTests {
  @Test(arguments: ["text", "ktap"])
  func `a terminal shows each check while it runs, and nothing of it after`(
    _ format: String
  ) throws {
    let text = try Terminal.error("verify --heap opaque --seed 4 --format \(format)")
    let clear = "\r\u{1B}[2K"
    let checks = HeapCheck.all(for: .opaque, orderedBy: 4)
    let wanted = zip(1..., checks).map { number, check in
      "\(clear)\(number) of \(checks.count): opaque \(check.name)\r\(clear)"
    }
    #expect(text == wanted.joined())
    #expect(try Terminal.error("verify --heap opaque --format \(format)", kind: "dumb") == "")
  }
}

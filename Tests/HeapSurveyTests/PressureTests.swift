import SystemPackage
import Testing

@testable import HeapSurvey

@Suite struct PressureTests {
  @Test func `both lines are read, to the hundredth`() throws {
    let pressure = try #require(
      Pressure(
        parsing: """
          some avg10=12.05 avg60=3.40 avg300=0.99 total=123456
          full avg10=100.00 avg60=0.07 avg300=0.00 total=77

          """))
    #expect("\(pressure.some.tenSeconds)" == "12.05")
    #expect(pressure.some.minute.hundredths == 340)
    #expect("\(try #require(pressure.full).tenSeconds)" == "100.00")
    #expect("\(try #require(pressure.full).minute)" == "0.07")
  }

  @Test func `kernels before 5.13 tell no full pressure of the processors`() throws {
    let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    let pressure = try #require(Pressure(parsing: text))
    #expect(pressure.full == nil)
  }

  @Test(arguments: [
    "", "some\n", "some avg10=0.00\n", "some avg10=x avg60=0.00\n", "some avg10=-1.00 avg60=0.00\n",
    "some avg10=1 avg60=0.00\n", "full avg10=0.00 avg60=0.00\n",
  ])
  func `what is no pressure is none`(_ text: String) {
    #expect(Pressure(parsing: text) == nil)
  }

  @Test func `this kernel tells it, or has no file for it`() {
    do throws(Errno) {
      let pressure = try Pressure.read(.memory)
      #expect((0...10_000).contains(pressure.some.tenSeconds.hundredths))
    } catch {
      #expect(error == .noSuchFileOrDirectory)
    }
  }
}

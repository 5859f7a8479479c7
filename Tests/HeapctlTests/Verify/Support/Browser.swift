import Foundation
import Testing

/// Chromium without a window: what a page is when a browser has laid it out.
struct Browser: ~Copyable {
  private static let names = ["chromium", "chromium-browser", "google-chrome"]

  /// An emulated machine takes minutes to start a browser once, and shows no other page than the
  /// machine that it runs on does.
  static let isWanted = ProcessInfo.processInfo.environment["LINUXHEAPS_HEAPS"] == nil
  static let reason: Comment = "a browser runs outside the test kernels"

  private let program: String
  private let folder: URL

  init() throws {
    let program = try Self.installed()
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("heap-report-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    self.program = program
    self.folder = folder
  }

  private static func installed() throws -> String {
    let places = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    let candidates = places.flatMap { place in names.map { "\(place)/\($0)" } }
    return try #require(
      candidates.first { FileManager.default.isExecutableFile(atPath: $0) },
      "the report's page is tested in a browser: apt install chromium, as `make test` does")
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  /// What a script in the page finds, as JSON.
  ///
  /// - Parameter probe: An expression of JavaScript.
  func evaluate(
    _ probe: String, in html: String, dark: Bool = false, width: Int = 1280
  ) throws -> Any {
    // The page has no script of its own; this one is put in at its end.
    let script = """
      <pre id="probe"></pre><script>
      document.getElementById("probe").textContent =
        btoa(unescape(encodeURIComponent(JSON.stringify(\(probe)))));
      </script></body>
      """
    let page = try file(html.replacingOccurrences(of: "</body>", with: script))
    let dump = try run(
      dark: dark, "--window-size=\(width),1000", "--dump-dom", page.absoluteString)
    let text = String(decoding: dump, as: UTF8.self)
    let answer = try #require(try #/<pre id="probe">([^<]*)<\/pre>/#.firstMatch(in: text)?.1)
    let json = try #require(Data(base64Encoded: String(answer)))
    return try JSONSerialization.jsonObject(with: json, options: .fragmentsAllowed)
  }

  /// The page's picture, as PNG.
  func screenshot(of html: String, width: Int, height: Int) throws -> Data {
    let picture = folder.appendingPathComponent("picture.png")
    _ = try run(
      dark: false, "--hide-scrollbars", "--window-size=\(width),\(height)",
      "--screenshot=\(picture.path)", try file(html).absoluteString)
    return try Data(contentsOf: picture)
  }

  private func file(_ html: String) throws -> URL {
    let page = folder.appendingPathComponent("page.html")
    try Data(html.utf8).write(to: page)
    return page
  }

  private func run(dark: Bool, _ arguments: String...) throws -> Data {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    // As root it runs only without its sandbox. The page is our own, and no name resolves.
    process.arguments =
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--user-data-dir=\(folder.path)/profile", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--blink-settings=preferredColorScheme=\(dark ? 0 : 1)",
      ] + arguments
    let output = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    try #require(
      process.terminationStatus == 0, "\(program) ended with \(process.terminationStatus)")
    return bytes
  }
}

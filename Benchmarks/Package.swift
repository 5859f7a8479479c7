// swift-tools-version: 6.2
import PackageDescription

// A package of its own: who uses the library builds none of this. The settings are the library's.
var settings: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .strictMemorySafety(),
]
var cSettings: [CSetting] = [
  .define("_GNU_SOURCE"),
  .enableWarning("all"),
  .enableWarning("extra"),
]
if Context.environment["LINUXHEAPS_STRICT"] != nil {
  settings.append(.treatAllWarnings(as: .error))
  cSettings.append(.treatAllWarnings(as: .error))
}

let package = Package(
  name: "heap-benchmarks",
  targets: [
    // The protocol's bytes and sockets, for both sides: a link to the folder that the tests' clients use.
    .target(name: "CHeapWire", cSettings: cSettings),
    // The server that does what must be done and nothing else.
    .executableTarget(name: "baseline", dependencies: ["CHeapWire"], cSettings: cSettings),
    // The client, the same for every server.
    .executableTarget(name: "load", dependencies: ["CHeapWire"], cSettings: cSettings),
    // Starts both, measures, compares with the targets.
    .target(name: "Processes", cSettings: cSettings),
    .executableTarget(
      name: "heap-bench", dependencies: ["Processes", "CHeapWire"], swiftSettings: settings),
  ]
)

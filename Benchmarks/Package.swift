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
  dependencies: [
    .package(name: "linux-heaps", path: ".."),
    // The server's log says when it reclaims.
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: [
    // The protocol's bytes and sockets, for both sides: a link to the folder that the tests' clients use.
    .target(name: "CHeapWire", cSettings: cSettings),
    // The server that does what must be done and nothing else.
    .executableTarget(name: "baseline", dependencies: ["CHeapWire"], cSettings: cSettings),
    // The client, the same for every server.
    .executableTarget(name: "load", dependencies: ["CHeapWire"], cSettings: cSettings),
    // The client that a Swift program has, with load's orders and answers.
    .executableTarget(
      name: "remote",
      dependencies: [
        .product(name: "HeapClient", package: "linux-heaps"),
        .product(name: "LinuxHeaps", package: "linux-heaps"),
      ],
      swiftSettings: settings),
    // Starts them, measures, compares with the targets.
    .target(name: "Processes", cSettings: cSettings),
    .executableTarget(
      name: "heap-bench", dependencies: ["Figures", "Processes", "CHeapWire"],
      swiftSettings: settings),
    // What C pays the kernel for a buffer: with this library's guarantees, and without.
    .target(name: "Peers", cSettings: cSettings),
    // The library in one process beside those, on the kernel's own heaps.
    .executableTarget(
      name: "kernel-bench",
      dependencies: [
        "Figures", "Peers", .product(name: "HeapClient", package: "linux-heaps"),
        .product(name: "HeapPool", package: "linux-heaps"),
        .product(name: "HeapServer", package: "linux-heaps"),
        .product(name: "LinuxHeaps", package: "linux-heaps"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .target(name: "Figures", swiftSettings: settings),
  ]
)

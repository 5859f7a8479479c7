// swift-tools-version: 6.2
import PackageDescription

// One list for every target. Each entry says why it is here.
var settings: [SwiftSetting] = [
  // `any Heap` is a choice at run time; the word shows where it is made.
  .enableUpcomingFeature("ExistentialAny"),
  // What the interface exposes is said with `public import`, all else stays inside.
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  // `deleteVmo` runs where its caller runs; only the reclaimer has a thread of its own.
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  // `CPUAccess` must not outlive its mapping: `@_lifetime`.
  .enableExperimentalFeature("Lifetimes"),
  // Each use of a pointer is marked `unsafe`.
  .strictMemorySafety(),
]
var cSettings: [CSetting] = [
  .define("_GNU_SOURCE"),
  // Where long has 32 bits.
  .define("_FILE_OFFSET_BITS", to: "64"),
  .enableWarning("all"),
  .enableWarning("extra"),
]
// Only in this package's own builds (Makefile): what another compiler warns of must not keep anybody from
// building a package that depends on this one.
if Context.environment["LINUXHEAPS_STRICT"] != nil {
  settings.append(.treatAllWarnings(as: .error))
  cSettings.append(.treatAllWarnings(as: .error))
}
// Of heapctl, what it alone uses, and what asks devices and /proc: their time is the kernel's, and a board's flash is small.
// SwiftPM takes unsafe flags from a package that is depended on by version since 6.2.
let smallSettings = settings + [.unsafeFlags(["-Osize"], .when(configuration: .release))]
// What serves buffers is compiled for speed, but for the static programs, which have little room (packaging/ship.sh).
let servingSettings =
  Context.environment["LINUXHEAPS_SMALL"] == nil ? settings : smallSettings

// What `--version` tells. A repository's HEAD, or, where a source package has none, the environment's word.
let commit: String = {
  if let named = Context.environment["LINUXHEAPS_COMMIT"], !named.isEmpty { return named }
  guard let git = Context.gitInformation else { return "unknown" }
  return git.currentCommit + (git.hasUncommittedChanges ? " with changes" : "")
}()

// How packaging/ship.sh has programs and the C library linked, one word a line.
func linkerSettings(_ variable: String) -> [LinkerSetting] {
  guard let words = Context.environment[variable], !words.isEmpty else { return [] }
  return [.unsafeFlags(words.split(separator: "\n").map(String.init))]
}
let programLinkerSettings = linkerSettings("LINUXHEAPS_LINK")
let libraryLinkerSettings = linkerSettings("LINUXHEAPS_LINK_LIBRARY")

let package = Package(
  name: "linux-heaps",
  products: [
    .library(name: "LinuxHeaps", targets: ["LinuxHeaps"]),
    .library(name: "LinuxHeapsDRM", targets: ["LinuxHeapsDRM"]),
    .library(name: "LinuxHeapsV4L2", targets: ["LinuxHeapsV4L2"]),
    .library(name: "HeapProtocol", targets: ["HeapProtocol"]),
    .library(name: "HeapClient", targets: ["HeapClient"]),
    .library(name: "HeapPool", targets: ["HeapPool"]),
    .library(name: "HeapFiles", targets: ["HeapFiles"]),
    .library(name: "HeapServer", targets: ["HeapServer"]),
    .library(name: "HeapService", targets: ["HeapService"]),
    .library(name: "HeapTestKit", targets: ["HeapTestKit"]),
    // For C and C++: liblinuxheaps.so and its header.
    .library(name: "linuxheaps", type: .dynamic, targets: ["LinuxHeapsInterface"]),
    .executable(name: "heapctl", targets: ["heapctl"]),
    .executable(name: "heapd", targets: ["heapd"]),
  ],
  dependencies: [
    // Errno and FilePath, in the vocabulary that Swift's own packages use.
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    // heapctl's command line, help and usage errors.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // Where the reclaimer says what it can throw to nobody, and heapd what it refuses.
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    // heapd's counters, so that a program that links HeapServer can send them where it sends its own.
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    // The graceful stop of a program that has a heap server among its services.
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    .target(name: "CLinuxHeaps", path: "CLinuxHeaps", cSettings: cSettings),
    // glibc or musl, which no other target names.
    .target(name: "CLibrary", dependencies: ["CLinuxHeaps"], swiftSettings: settings),
    .target(
      name: "CBuildFacts",
      cSettings: cSettings + [.define("BUILD_FACTS_COMMIT", to: "\"\(commit)\"")]),
    .target(name: "BuildFacts", dependencies: ["CBuildFacts"], swiftSettings: settings),
    .target(
      name: "LinuxHeaps",
      dependencies: [
        "CLibrary", "CLinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: servingSettings),
    // Buffers that are ready before they are asked for. Apart, because liblinuxheaps.so has no room for it.
    .target(
      name: "HeapPool",
      dependencies: [
        "CLibrary", "CLinuxHeaps", "LinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    // Files' bytes in buffers. Apart for the same reason.
    .target(
      name: "HeapFiles",
      dependencies: [
        "CLibrary", "CLinuxHeaps", "LinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings),
    // Who holds which buffer of the machine: /proc, debugfs, and a BPF iterator.
    .target(
      name: "HeapSurvey",
      dependencies: [
        "CLibrary", "CLinuxHeaps", "LinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings),

    // The protocol's messages as bytes; nothing is sent or received here.
    .target(
      name: "HeapProtocol", dependencies: ["LinuxHeaps"], swiftSettings: servingSettings),
    .target(
      name: "HeapServer",
      dependencies: [
        "CLibrary", "CLinuxHeaps", "HeapPool", "HeapProtocol", "HeapSurvey", "LinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
      ],
      swiftSettings: settings),
    .target(
      name: "HeapClient",
      dependencies: [
        "CLibrary", "CLinuxHeaps", "HeapProtocol", "LinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings),
    // The C interface. `@_cdecl`, because `@c` is Swift 6.3's alone: what it would check, that a function is as the header has it,
    // the tests in C show.
    .target(name: "CLinuxHeapsInterface", cSettings: cSettings),
    .target(
      name: "LinuxHeapsInterface",
      dependencies: [
        "BuildFacts", "CLibrary", "CLinuxHeaps", "CLinuxHeapsInterface", "HeapClient", "LinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings, linkerSettings: libraryLinkerSettings),
    .target(
      name: "HeapService",
      dependencies: [
        "HeapServer", "LinuxHeaps", .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: settings),
    .executableTarget(
      name: "heapd",
      dependencies: [
        "BuildFacts", "CLibrary", "CLinuxHeaps", "HeapPool", "HeapServer", "LinuxHeaps",
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings, linkerSettings: programLinkerSettings),

    // Displays and other DRM devices, over libdrm, kept away from the core.
    .systemLibrary(
      name: "CDRM", pkgConfig: "libdrm", providers: [.apt(["libdrm-dev"])]),
    .target(
      name: "LinuxHeapsDRM",
      dependencies: [
        "CDRM", "CLibrary", "LinuxHeaps", .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings),

    // V4L2's requests; own code over linux/videodev2.h, away from the core as libdrm is.
    .target(name: "CV4L2", cSettings: cSettings),
    .target(
      name: "LinuxHeapsV4L2",
      dependencies: [
        "CLibrary", "CV4L2", "LinuxHeaps", .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings),

    .target(name: "CHeapPeer", cSettings: cSettings),
    .target(
      name: "HeapTestKit",
      dependencies: [
        "CHeapPeer", "CLibrary", "CLinuxHeaps", "HeapClient", "HeapSurvey", "LinuxHeaps",
        "LinuxHeapsDRM", "LinuxHeapsV4L2", .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings),

    // /proc/config.gz and PNG files; zlib can be linked statically.
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(
      name: "HeapDoctor",
      dependencies: [
        "CLibrary", "CZlib", "HeapSurvey", "LinuxHeaps", "LinuxHeapsDRM", "LinuxHeapsV4L2",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: smallSettings),

    // What a run of checks found, in every format; nothing is read or run here.
    .target(
      name: "HeapReport", dependencies: ["CLibrary", "LinuxHeaps"], swiftSettings: smallSettings),

    .executableTarget(
      name: "heapctl",
      dependencies: [
        "BuildFacts", "CLibrary", "CZlib", "HeapClient", "HeapDoctor", "HeapFiles", "HeapReport",
        "HeapSurvey", "HeapTestKit", "LinuxHeaps", "LinuxHeapsDRM", "LinuxHeapsV4L2",
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: smallSettings, linkerSettings: programLinkerSettings),

    // What a newcomer writes: products alone, and no file has more than 60 lines. HeapServiceTests runs the programs.
    .executableTarget(
      name: "swap-chain", dependencies: ["LinuxHeaps"], path: "Examples/SwapChain",
      packageAccess: false),
    .executableTarget(
      name: "heap-client", dependencies: ["HeapClient", "LinuxHeaps"], path: "Examples/Client",
      packageAccess: false),
    .testTarget(
      name: "BoardTests", dependencies: ["HeapTestKit", "LinuxHeaps"], path: "Examples/BoardTest",
      packageAccess: false),

    // The protocol in C, written apart from HeapProtocol: the tests' clients use it, and Benchmarks.
    .target(name: "CHeapWire", path: "Tests/CHeapWire", cSettings: cSettings),
    // Clients of heapd that can be killed by the hundred.
    .target(
      name: "CHeapClient", dependencies: ["CHeapPeer", "CHeapWire"], path: "Tests/CHeapClient",
      cSettings: cSettings),
    // What several of the test targets need: the programs under test, a raw client, heaps by name.
    .target(
      name: "TestSupport",
      dependencies: [
        "CDRM", "CHeapClient", "CHeapWire", "CLinuxHeaps", "HeapClient", "HeapProtocol",
        "HeapTestKit", "LinuxHeaps", .product(name: "SystemPackage", package: "swift-system"),
      ],
      path: "Tests/TestSupport", swiftSettings: settings),
    // Which calls a thread makes to have caches agree.
    .target(name: "CSyncCalls", path: "Tests/CSyncCalls", cSettings: cSettings),
    // What a kernel can change: these run here on what this machine has, and inside each test kernel.
    .testTarget(
      name: "KernelTests",
      dependencies: [
        "CHeapClient", "CLinuxHeaps", "CSyncCalls", "HeapClient", "HeapFiles", "HeapPool",
        "HeapProtocol", "HeapTestKit", "LinuxHeaps",
        "LinuxHeapsDRM", "LinuxHeapsV4L2", "TestSupport", "heapctl", "heapd",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    .testTarget(
      name: "LinuxHeapsTests",
      dependencies: [
        "HeapFiles", "HeapTestKit", "LinuxHeaps", "TestSupport",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    // Ways to hold and to close a file that Swift has no call for.
    .target(
      name: "CCloseTests", dependencies: ["CLinuxHeaps"], path: "Tests/CCloseTests",
      cSettings: cSettings),
    .testTarget(
      name: "HeapSurveyTests",
      dependencies: [
        "CCloseTests", "CLinuxHeaps", "HeapSurvey", "LinuxHeaps", "LinuxHeapsDRM", "LinuxHeapsV4L2",
        "TestSupport",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
    .testTarget(
      name: "LinuxHeapsDRMTests", dependencies: ["LinuxHeaps", "LinuxHeapsDRM"],
      swiftSettings: settings),
    .testTarget(
      name: "LinuxHeapsV4L2Tests",
      dependencies: ["HeapTestKit", "LinuxHeaps", "LinuxHeapsV4L2"],
      swiftSettings: settings),
    .testTarget(
      name: "HeapProtocolTests", dependencies: ["HeapProtocol", "LinuxHeaps"],
      swiftSettings: settings),
    .testTarget(
      name: "HeapTestKitTests", dependencies: ["HeapTestKit", "LinuxHeaps"],
      swiftSettings: settings),
    // A vendor's heap, as a package of its own would have it: products alone, nothing testable.
    .testTarget(
      name: "VendorHeapTests",
      dependencies: ["HeapClient", "HeapServer", "HeapTestKit", "LinuxHeaps"],
      packageAccess: false),
    .testTarget(
      name: "HeapServiceTests",
      dependencies: [
        "CHeapClient", "CLinuxHeaps", "HeapClient", "HeapPool", "HeapProtocol", "HeapServer",
        "HeapService", "HeapTestKit", "LinuxHeaps", "TestSupport", "heap-client", "heapctl",
        "heapd", "swap-chain",
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: settings),
    // Clients in C that do what bytes say, and what must hold then: for the fuzzers, and here for their corpora.
    .target(
      name: "FuzzSessions", dependencies: ["CHeapWire"], path: "Tests/Fuzz/Sessions",
      cSettings: cSettings),
    .target(
      name: "Fuzzing",
      dependencies: [
        "FuzzSessions", "HeapProtocol", "HeapServer", "LinuxHeaps",
        .product(name: "SystemPackage", package: "swift-system"),
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Tests/Fuzz/Fuzzing", swiftSettings: settings),
    .testTarget(name: "FuzzTests", dependencies: ["Fuzzing"], swiftSettings: settings),
    // They run the binary.
    .testTarget(
      name: "HeapctlTests",
      dependencies: [
        "HeapReport", "HeapSurvey", "HeapTestKit", "LinuxHeaps", "LinuxHeapsDRM", "LinuxHeapsV4L2",
        "TestSupport", "heapctl", "heapd",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      exclude: ["Verify/Golden"], swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)

// The fuzzers, which libFuzzer's `main` runs: `make fuzz`.
if Context.environment["LINUXHEAPS_FUZZ"] != nil {
  for name in ["decoders", "connections"] {
    package.targets.append(
      .executableTarget(
        name: "fuzz-\(name)", dependencies: ["Fuzzing"], path: "Tests/Fuzz/\(name)",
        cSettings: cSettings))
  }
}

// The documentation's generator, only where it is asked for: `make docs`.
if Context.environment["LINUXHEAPS_DOCS"] != nil {
  package.dependencies.append(
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"))
}

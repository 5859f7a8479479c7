/// The running kernel's release, as `uname -r` shows it; empty where /proc does not tell.
public let kernelRelease = String(
  ((try? SmallFile.read("/proc/sys/kernel/osrelease")) ?? "").prefix { $0 != "\n" })

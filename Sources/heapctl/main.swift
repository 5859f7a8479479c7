import LinuxHeaps

print(try firstBuffer(heap: CommandLine.arguments.dropFirst().first ?? "system", size: 1 << 20))

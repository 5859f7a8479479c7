/// Whether the machine is a container, which has its host's kernel and nodes of its own.
enum Container {
  /// What made it, nil for none that is known.
  static func name(_ files: MachineFiles) -> String? {
    if files.exists("/.dockerenv") { return "Docker" }
    if files.exists("/run/.containerenv") { return "Podman" }
    // systemd's container interface; systemd writes it for every kind.
    return files.line("/run/systemd/container")
  }
}

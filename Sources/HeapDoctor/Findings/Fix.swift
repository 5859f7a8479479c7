/// Commands that several findings give.
enum Fix {
  static func kernelOptions(_ names: [String]) -> String {
    "scripts/config " + names.map { "-e \($0)" }.joined(separator: " ")
      + "  # in the kernel's source tree; then build, install and boot it"
  }

  /// Puts a word on the kernel's command line, where this machine's boot loader reads it.
  static func bootParameter(_ word: String, _ files: MachineFiles) -> String {
    if files.exists("/boot/firmware/cmdline.txt") {
      return "sudo sed -i '1s/$/ \(word)/' /boot/firmware/cmdline.txt  # then reboot"
    }
    if files.exists("/etc/default/grub") {
      return
        "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&\(word) /' /etc/default/grub && sudo update-grub  # then reboot"
    }
    if files.exists("/boot/extlinux/extlinux.conf") {
      return
        "sudo sed -i '/^ *append /Is/$/ \(word)/' /boot/extlinux/extlinux.conf  # then reboot"
    }
    return "cat /proc/cmdline  # add \(word) to it in your boot loader's settings, then reboot"
  }

  static func join(_ group: String, _ user: String) -> String {
    "sudo usermod -aG \(group) \(user)  # then log in again"
  }

  /// - Parameter kind: The devices' name in /proc/devices.
  static func allowDevice(_ kind: String, _ paths: [String], _ machine: Machine) -> String {
    machine.container == nil
      ? "sudo systemctl edit UNIT  # of the unit that runs this: [Service] DeviceAllow=char-\(kind) rw"
      : "docker run \(paths.map { "--device \($0)" }.joined(separator: " ")) …"
  }
}

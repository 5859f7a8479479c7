internal import LinuxHeaps

/// A word of the kernel's command line, put where this machine's boot loader reads it.
struct BootParameter {
  /// `key=value`.
  private let word: String
  private let key: Substring
  private let files: MachineFiles
  /// Takes away every `key=` of a line, whole words only: `hugetlb_cma=` is another.
  private let remove: String

  private init(_ word: String, _ files: MachineFiles) {
    self.word = word
    self.files = files
    key = word.prefix { $0 != "=" }
    let pattern = key.split(separator: ".").joined(separator: "\\.")
    remove = "s/(^|[^[:alnum:]_.-])\(pattern)=[[:alnum:]@-]*/\\1/g"
  }

  /// - Returns: What puts it there in place of every one that is there: the kernel goes by the last.
  static func fix(_ word: String, _ machine: Machine) -> String {
    let parameter = BootParameter(word, machine.files)
    // A container has no boot loader, whatever files its image has.
    let edit = machine.container == nil ? parameter.edit() : nil
    return Fix.ofKernel(edit.map { $0 + "  # then reboot" } ?? parameter.advice(), machine)
  }

  private static let edit = "sudo sed -E -i -e"

  /// Those of boards come first: a board may have grub's settings, too, and not read them.
  private func edit() -> String? {
    raspberryPi() ?? rpmOSTree() ?? grubby() ?? menuOfUBoot() ?? extlinux() ?? environmentOfUBoot()
      ?? grub()
      ?? kernelInstall()
  }

  /// Those of the running kernel that set the key.
  private var present: [Substring] {
    (files.line("/proc/cmdline") ?? "").split(separator: " ").filter { $0.hasPrefix("\(key)=") }
  }

  private func advice() -> String {
    "cat /proc/cmdline  # in your boot loader's settings "
      + (!present.isEmpty
        ? "put \(word) in place of \(present.joined(separator: " and "))" : "add \(word) to it")
      + ", then reboot"
  }

  private func raspberryPi() -> String? {
    ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"].first(where: files.exists).map { path in
      "\(Self.edit) '\(remove)' -e '1s/[[:space:]]*$/ \(word)/' \(path)"
    }
  }

  /// Fedora's systems of images: their kernel's words are kept with a deployment, and of grub's settings nothing is read.
  private func rpmOSTree() -> String? {
    guard files.exists("/run/ostree-booted"), files.hasProgram("rpm-ostree") else { return nil }
    let others = present.filter { $0 != word }.map { "--delete-if-present=\($0) " }.joined()
    return "sudo rpm-ostree kargs \(others)--append-if-missing=\(word)"
  }

  private func grubby() -> String? {
    files.hasProgram("grubby")
      ? "sudo grubby --update-kernel=ALL --remove-args=\(key) --args=\(word)" : nil
  }

  private func extlinux() -> String? {
    let path = "/boot/extlinux/extlinux.conf"
    return files.exists(path)
      ? "\(Self.edit) '/^[[:space:]]*append[[:space:]]/I{\(remove);s/[[:space:]]*$/ \(word)/}' \(path)"
      : nil
  }

  /// Lines of `NAME=VALUE` without quotes, which a boot script imports (`env import -t`). The images that have such a file.
  private func environmentOfUBoot() -> String? {
    for (file, variable) in [
      ("armbianEnv", "extraargs"), ("orangepiEnv", "extraargs"), ("dietpiEnv", "extraargs"),
      // Of BeagleBoard's images; other boards' scripts have other names.
      ("uEnv", "cmdline"),
    ] {
      let path = "/boot/\(file).txt"
      guard let text = files.text(path) else { continue }
      let isSet = "\n\(text)".holds("\n\(variable)=")
      if variable == "cmdline", !isSet { continue }
      let add = isSet ? "s/^\(variable)=/&\(word) /" : "$a\(variable)=\(word)"
      return "\(Self.edit) '/^[[:alnum:]_]*(args|cmdline)=/\(remove)' -e '\(add)' \(path)"
    }
    return nil
  }

  private func grub() -> String? {
    let path = "/etc/default/grub"
    guard files.exists(path) else { return nil }
    let drop = files.entries("\(path).d").filter { $0.hasSuffix(".cfg") }.sorted()
    let update = ["update-grub", "grub2-mkconfig -o /boot/grub2/grub.cfg"].first {
      files.hasProgram(String($0.prefix { $0 != " " }))
    }
    return variable("GRUB_CMDLINE_LINUX", in: [path] + drop.map { "\(path).d/\($0)" })
      + " && sudo " + (update ?? "grub-mkconfig -o /boot/grub/grub.cfg")
  }

  /// u-boot-menu, which writes extlinux.conf anew with each kernel. Its settings may take in /etc/kernel/cmdline.
  private func menuOfUBoot() -> String? {
    guard files.hasProgram("u-boot-update") else { return nil }
    let folder = "/etc/u-boot-menu/conf.d"
    let drop = files.entries(folder).filter { $0.hasSuffix(".conf") }.sorted()
    return variable(
      "U_BOOT_PARAMETERS", default: ":-ro quiet",
      in: ["/etc/default/u-boot"] + drop.map { "\(folder)/\($0)" }, besides: [Self.commandLine])
      + " && sudo u-boot-update"
  }

  private static let commandLine = "/etc/kernel/cmdline"

  /// systemd-boot's entries (kernel-install(8)). Its lines are one; those that begin with `#` are none.
  private func kernelInstall() -> String? {
    guard files.hasProgram("kernel-install"), let text = files.text(Self.commandLine) else {
      return nil
    }
    let line = (text.lines.firstIndex { !$0.hasPrefix("#") } ?? 0) + 1
    let release = files.release
    let image =
      files.exists("/usr/lib/modules/\(release)/vmlinuz")
      ? "/usr/lib/modules/$(uname -r)/vmlinuz" : "/boot/vmlinuz-$(uname -r)"
    return
      "\(Self.edit) '/^#/!\(remove)' -e '\(line)s/[[:space:]]*$/ \(word)/' \(Self.commandLine)"
      + " && sudo kernel-install add $(uname -r) \(image)"
  }

  /// A variable of files that a shell reads one after the other: the last that sets it gets the word.
  ///
  /// - Parameters:
  ///   - default: What stands for it where no file sets it, as a parameter expansion.
  ///   - others: Files that it may take in.
  private func variable(
    _ name: String, default: String = "", in paths: [String], besides others: [String] = []
  ) -> String {
    let all = paths.map { ($0, files.text($0) ?? "") }
    func settings(_ text: String) -> [Substring] {
      text.lines.filter { $0.hasPrefix("\(name)=") }
    }
    let place = all.last { !settings($0.1).isEmpty }
    let (path, text) = place ?? all[0]
    let lines = settings(text)
    let isQuoted =
      lines.count == 1 && "\"'".contains(lines[0].dropFirst(name.count + 1).first ?? " ")
    let line = "\(name)=\"${\(name)\(place == nil ? `default` : "")} \(word)\""
    let removal = "-e '/^[[:space:]]*#/!\(remove)'"
    let had = (all.map(\.0) + others).filter {
      $0 != path && files.text($0)?.holds("\(key)=") == true
    }
    return
      (had.isEmpty ? "" : "sudo sed -E -i \(removal) \(had.joined(separator: " ")) && ")
      // sed(1) adds no line to a file that has none.
      + (text.isEmpty
        ? "echo '\(line)' | sudo tee -a \(path)"
        : "sudo sed -E -i \(removal) -e '\(isQuoted ? "s/^\(name)=./&\(word) /" : "$a\(line)")' \(path)")
  }
}

internal import HeapSurvey
internal import LinuxHeaps
internal import SystemPackage

/// Buffers of heaps that no process holds any more, and that are there nevertheless.
enum HolderExamination {
  static func findings(_ machine: Machine) -> [Finding] {
    guard machine.isRunning, !machine.heaps.isEmpty || machine.files.exists(UDMABufHeap.path)
    else { return [] }
    let survey = BufferSurvey()
    if case .failure(let failure) = survey.list { return [unknown(failure, machine)] }
    let left = orphans(of: survey, machine)
    guard !left.isEmpty else { return [] }
    // A descriptor that went from one process to another while they were looked through was in neither.
    let later = Set(orphans(of: BufferSurvey(), machine).map(\.key))
    let kept = left.filter { later.contains($0.key) }
    let (imported, lost) = (
      kept.filter { !$0.devices.isEmpty }, kept.filter { $0.devices.isEmpty }
    )
    return (imported.isEmpty ? [] : [onlyDevices(imported, survey)])
      + (lost.isEmpty ? [] : [nobody(lost, survey)])
  }

  /// Not drivers' own buffers: a program that draws on one device for another's screen leaves each frame like that.
  private static func orphans(of survey: BufferSurvey, _ machine: Machine) -> [HeldBuffer] {
    let heaps = machine.heaps.map(\.name) + [UDMABufHeap.name]
    return survey.buffers.filter { buffer in
      buffer.isInNoProcess && buffer.heap.map(heaps.contains) == true
    }
  }

  private static func onlyDevices(_ buffers: [HeldBuffer], _ survey: BufferSurvey) -> Finding {
    let importers = survey.importers.filter { importer in
      buffers.contains { $0.devices.contains(importer.name) }
    }
    let openers = importers.flatMap(\.openers)
    let devices = importers.map { importer in
      let open = importer.openers.map { "\($0.path) open in process \($0.process) (\($0.name))" }
      return importer.name
        + " (\(open.isEmpty ? "open in no process seen" : open.joined(separator: ", ")))"
    }
    let processes = Set(openers.map(\.process)).sorted().map { "\($0)" }.joined(separator: ",")
    return Finding(
      isWhole(survey) ? .warning : .note, .memory, "memory.device-only",
      seen: "\(total(buffers)) in no process\(isWhole(survey) ? "" : " that is seen here"): "
        + "imported by \(devices.joined(separator: ", "))",
      why: openers.isEmpty
        ? "no process can be ended to free it: a driver still holds its import"
        : "no process can free it but by closing its import, or the device: every descriptor and mapping is gone",
      fix: openers.isEmpty
        ? "heapctl holders; sudo dmesg | tail  # which buffers; what the driver said: reload it, or reboot"
        : "ps -o pid,user,args -p \(processes)  # one of these has to close its import or the device; its end does both"
    )
  }

  private static func nobody(_ buffers: [HeldBuffer], _ survey: BufferSurvey) -> Finding {
    let tellsDevices = (try? survey.list.get()) == .debugfs
    return Finding(
      .note, .memory, "memory.unseen-holder",
      seen: "\(total(buffers)) in no process\(isWhole(survey) ? "" : " that is seen here")"
        + (tellsDevices ? ", and imported by no device" : ""),
      why: (tellsDevices ? "" : "only debugfs tells whether a device imported it; else ")
        + "it is in a message in flight, or in the kernel: a driver that uses the processor to copy is no device that imported it",
      fix: "heapctl holders  # which buffers, and who has messages that it did not receive")
  }

  private static func unknown(_ failure: BufferList.Failure, _ machine: Machine) -> Finding {
    Finding(
      .note, .memory, "memory.holders-unknown",
      seen: "buffers that no process holds cannot be seen (\(BufferList.path): \(failure.debugfs))",
      why:
        "what a device imported stays after the last descriptor is closed, and only the kernel's own list has it",
      fix: machine.container != nil
        ? "sudo heapctl doctor  # outside of the container"
        : machine.identity.user != 0
          ? "sudo heapctl doctor"
          : failure.debugfs == .noSuchFileOrDirectory
            ? "mount -t debugfs debugfs /sys/kernel/debug  # the kernel needs CONFIG_DEBUG_FS" : nil
    )
  }

  /// Whether every process of the machine was seen.
  private static func isWhole(_ survey: BufferSurvey) -> Bool {
    survey.unseenProcesses == 0 && survey.hidden == nil
  }

  private static func total(_ buffers: [HeldBuffer]) -> String {
    let bytes = buffers.reduce(0 as UInt64) { $0.plus($1.size ?? 0) }
    return "\(buffers.count) buffer\(buffers.count == 1 ? "" : "s"), \(bytes.asByteCount),"
  }
}

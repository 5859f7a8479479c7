internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

/// Whether one device takes a buffer, found out by giving it one and taking it back.
struct ImportTrial {
  enum Outcome {
    /// What took a buffer of which heap.
    case taken(String)
    case finding(Finding)
    /// Not a device for buffers.
    case nothing
  }

  /// The heap whose buffers are tried: a contiguous one where there is one, because every importer
  /// can take those.
  private let heap: HeapNode?

  /// Nil where no buffer can be had to try with.
  init?(_ trial: Trial) {
    heap = trial.working.first { $0.entry?.role == .contiguous } ?? trial.working.first
    guard heap != nil || UDMABufHeap.isUsable else { return nil }
  }

  var source: String { heap?.name ?? UDMABufHeap.name }

  private func buffer(_ size: UInt64) throws(HeapError) -> VMO {
    guard let heap else {
      return try UDMABufHeap().allocateVmo(
        size: size, settings: SingleBufferSettings(), bufferCollectionID: 0, bufferIndex: 0)
    }
    let fd = try attempt("allocate \(size.asByteCount)", at: heap.path) { () throws(Errno) in
      try Trial.buffer(of: heap, size: size)
    }
    return try VMO(adopting: fd)
  }

  // MARK: DRM

  func drm(_ path: String) -> Outcome {
    do throws(HeapError) {
      let device = try DRMDevice(path: path)
      let buffer = try buffer(pageSize)
      do throws(Errno) {
        _ = try device.importBuffer(buffer)
        return .taken("\(path) (\(device.driver))")
      } catch {
        return .finding(refused("\(path) (\(device.driver))", "\(error)"))
      }
    } catch {
      return .finding(failed(path, error))
    }
  }

  // MARK: V4L2

  func camera(_ path: String) -> Outcome {
    do throws(HeapError) {
      let device = try VideoDevice(path)
      let name = "\(path) (\(device.driver))"
      guard device.kind == .capture else { return .nothing }
      if device.takesDMABuf == false {
        return .finding(
          Finding(
            .note, .importers, "import.camera-without-dmabuf", seen: "\(name) takes no dma-bufs",
            why: "its frames have to be copied into buffers",
            fix: "uname -r  # most drivers that are built on videobuf2 do; a newer kernel's may"))
      }
      let camera = try CaptureDevice(path)
      // The present format: to set another one would outlast this.
      var queue = try camera.makeQueue(capacity: 1)
      let buffer = try buffer(queue.format.byteCount)
      do throws(HeapError) {
        try queue.enqueue(buffer)
        return .taken(name)
      } catch {
        return .finding(refused(name, error.cause))
      }
    } catch  where error.errno == .resourceBusy {
      return .finding(
        Finding(
          .note, .importers, "import.camera-busy", seen: "\(path) is in use", why: error.cause,
          fix: "fuser -v \(path)"))
    } catch {
      return .finding(failed(path, error))
    }
  }

  // MARK: Findings

  private func refused(_ device: String, _ error: String) -> Finding {
    guard heap?.entry?.role == .contiguous else {
      return Finding(
        .warning, .importers, "import.needs-contiguous",
        seen: "\(device) refuses a buffer of \(source): \(error)",
        why: "the device may need contiguous memory, and no contiguous heap could be used to try",
        fix: "heapctl alloc --contiguous --size 1M  # says what contiguous memory lacks")
    }
    return Finding(
      .warning, .importers, "import.refused",
      seen: "\(device) refuses a contiguous buffer of \(source): \(error)",
      why:
        "the driver of this kernel imports no buffers of heaps: only its own, exported, can be shared",
      fix:
        "uname -r  # look whether a newer kernel's driver imports (bochs-drm of 6.12 imports none, that of 7.3 does)"
    )
  }

  private func failed(_ path: String, _ error: HeapError) -> Finding {
    Finding(
      .warning, .importers, "import.untried", seen: "\(path) could not be tried: \(error.cause)",
      why: "nothing is known of its imports",
      fix: error.fix ?? "sudo dmesg | tail  # what its driver said")
  }
}

internal import CoreMetrics
internal import HeapPool
internal import LinuxHeaps

/// The server's counters, for the metrics back end that the program chose (swift-metrics).
final class ServerMetrics {
  let refused = Counter(label: "heapd_connections_refused_total")
  let dropped = Counter(label: "heapd_connections_stalled_total")
  private let reclaimSeconds = Timer(label: "heapd_reclaim_seconds")
  private var failures: [HeapError.Code: Counter] = [:]
  /// A few.
  private var heaps: [HeapMetrics] = []

  /// Of one heap.
  private final class HeapMetrics {
    let name: String
    let allocations: Counter
    let buffers: Meter
    let bytes: Meter
    let highWater: Meter
    var usage = Usage()
    var most: UInt64 = 0

    init(_ name: String) {
      self.name = name
      let dimensions = [("heap", name)]
      allocations = Counter(label: "heapd_allocations_total", dimensions: dimensions)
      buffers = Meter(label: "heapd_buffers", dimensions: dimensions)
      bytes = Meter(label: "heapd_bytes", dimensions: dimensions)
      highWater = Meter(label: "heapd_bytes_high_water", dimensions: dimensions)
    }

    func show() {
      buffers.set(usage.buffers)
      bytes.set(Int64(clamping: usage.bytes))
    }
  }

  private func heap(_ name: String) -> HeapMetrics {
    if let metrics = heaps.first(where: { $0.name == name }) { return metrics }
    let metrics = HeapMetrics(name)
    heaps.append(metrics)
    return metrics
  }

  func allocated(_ size: UInt64, heap name: String) {
    let heap = heap(name)
    heap.allocations.increment()
    live(size, heap)
  }

  /// A buffer of the server before this one.
  func tookOver(_ size: UInt64, heap name: String) { live(size, heap(name)) }

  private func live(_ size: UInt64, _ heap: HeapMetrics) {
    heap.usage.add(size)
    heap.show()
    if heap.usage.bytes > heap.most {
      heap.most = heap.usage.bytes
      heap.highWater.set(Int64(clamping: heap.most))
    }
  }

  func failed(_ cause: HeapError.Code) {
    let counter =
      failures[cause]
      ?? Counter(label: "heapd_allocations_failed_total", dimensions: [("cause", "\(cause)")])
    failures[cause] = counter
    counter.increment()
  }

  func reclaimed(_ size: UInt64, heap name: String) {
    let heap = heap(name)
    heap.usage.remove(size)
    heap.show()
  }

  /// From DeleteVmo's arrival to its answer.
  func deleted(since moment: MonotonicTime) {
    reclaimSeconds.recordNanoseconds(
      Int64(clamping: MonotonicTime.now.nanoseconds - moment.nanoseconds))
  }

  private let connections = Meter(label: "heapd_connections")
  private let orphans = Meter(label: "heapd_orphans")

  /// Sets the values that are not counted as they change.
  func show(connections: Int, orphans: Int) {
    self.connections.set(connections)
    self.orphans.set(orphans)
  }

  private lazy var poolBytes = Meter(label: "heapd_pool_bytes")
  private lazy var poolBuffers = Meter(label: "heapd_pool_ready_buffers")
  private lazy var poolHits = Meter(label: "heapd_pool_hits")
  private lazy var poolMisses = Meter(label: "heapd_pool_misses")

  func show(_ pool: PoolFigures) {
    poolBytes.set(Int64(clamping: pool.bytes))
    poolBuffers.set(pool.readyBuffers)
    poolHits.set(pool.hits)
    poolMisses.set(pool.misses)
  }

  /// The most bytes that each heap had, by name.
  var highWater: [(heap: String, bytes: UInt64)] {
    heaps.map { ($0.name, $0.most) }.sorted { $0.0 < $1.0 }
  }
}

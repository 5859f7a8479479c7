/// What each metric means, for whoever reads the page.
enum MetricsHelp {
  static let texts = [
    "heapd_allocations_total": "Buffers allocated.",
    "heapd_allocations_failed_total": "Allocations refused or failed, by the protocol's status.",
    "heapd_buffers": "Buffers that are not fully reclaimed.",
    "heapd_bytes": "Bytes of buffers that are not fully reclaimed.",
    "heapd_bytes_high_water": "The most bytes that were live at once.",
    "heapd_reclaim_seconds": "From DeleteVmo to its answer.",
    "heapd_orphans": "Live buffers whose connection is gone.",
    "heapd_connections": "Open connections of both protocols.",
    "heapd_connections_refused_total": "Connections ended because of what they sent.",
    "heapd_connections_stalled_total": "Connections ended because they did not read.",
  ]
}

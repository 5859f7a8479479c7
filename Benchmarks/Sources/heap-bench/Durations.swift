internal import Glibc

extension Duration {
  var seconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }

  var milliseconds: Double { seconds * 1e3 }
}

/// Lets time go by without using a processor.
func rest(for duration: Duration) {
  let (seconds, attoseconds) = duration.components
  var left = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
  // A signal may end a sleep early; what is left is written back.
  var request = left
  while unsafe nanosleep(&request, &left) != 0 { request = left }
}

/// The nearest rank, as the client reckons it: a value that was measured. `values` has one.
func percentile(_ hundredths: Int, of values: [Double]) -> Double {
  let sorted = values.sorted()
  return sorted[(sorted.count * hundredths + 99) / 100 - 1]
}

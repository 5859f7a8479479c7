extension Report {
  /// Devices by heaps: which of them take whose memory. Absent where no device was asked.
  var deviceSection: Markup {
    let asked = results.filter { !$0.answers.isEmpty }
    let devices = asked.flatMap(\.answers).map(\.device).withoutRepetition
    if devices.isEmpty { return "" }
    let heaps = asked.map(\.heap).withoutRepetition
    let rows: [[Markup]] = devices.map { device in
      ["<th scope=\"row\"><code>\(device)</code></th>"]
        + heaps.map { heap in
          let answers = asked.filter { $0.heap == heap }.flatMap(\.answers)
            .filter { $0.device == device }.map(\.answer).withoutRepetition
          return Page.cell(answers.isEmpty ? nil : answers.joined(separator: "; "))
        }
    }
    return Page.section("devices", "Devices", Page.table(["Device"] + heaps, rows))
  }
}

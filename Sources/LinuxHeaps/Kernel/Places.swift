/// Values by a number that each is given, and that is given out again when its value is gone.
struct Places<Value> {
  private var values: [Value?] = []
  private var free: [Int] = []

  var count: Int { values.count - free.count }
  var isEmpty: Bool { count == 0 }
  var all: [Value] { values.compactMap { $0 } }
  var places: some Sequence<Int> { values.indices.lazy.filter { [values] in values[$0] != nil } }

  subscript(place: Int) -> Value? {
    get { values[place] }
    _modify { yield &values[place] }
  }

  mutating func insert(_ value: Value) -> Int {
    guard let place = free.popLast() else {
      values.append(value)
      return values.count - 1
    }
    values[place] = value
    return place
  }

  mutating func remove(_ place: Int) -> Value? {
    guard let value = values[place].take() else { return nil }
    free.append(place)
    return value
  }
}

extension Places: Sendable where Value: Sendable {}

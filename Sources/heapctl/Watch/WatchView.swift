/// What of a snapshot is shown, and how: what the keys change.
struct WatchView {
  var order: BufferOrder
  var isReversed = false
  var isPaused = false
  var showsHelp = false
  /// The first line of the table that is shown.
  private(set) var top = 0
  /// Lines of the table that the last frame had room for.
  private var page = 1
  /// How far down it could have begun.
  private var bottom = 0

  init(order: BufferOrder) { self.order = order }

  enum Action: Equatable {
    case none, draw, drawAnew, end
  }

  mutating func press(_ key: Key) -> Action {
    switch key {
    case .character("q"), .escape: return .end
    case .character("\u{c}"): return .drawAnew
    case .character(" "), .character("p"): isPaused.toggle()
    case .character("h"), .character("?"): showsHelp.toggle()
    case .character("r"): isReversed.toggle()
    case .left, .character("<"): sort(by: order.neighbour(-1))
    case .right, .character(">"): sort(by: order.neighbour(1))
    case .character(let digit) where BufferOrder(digit: digit) != nil:
      sort(by: BufferOrder(digit: digit) ?? order)
    case .up, .character("k"): scroll(to: top - 1)
    case .down, .character("j"): scroll(to: top + 1)
    case .pageUp: scroll(to: top - page)
    case .pageDown: scroll(to: top + page)
    case .home, .character("g"): scroll(to: 0)
    case .end, .character("G"): scroll(to: bottom)
    default: return .none
    }
    return .draw
  }

  private mutating func scroll(to line: Int) { top = max(0, min(line, bottom)) }

  private mutating func sort(by order: BufferOrder) {
    self.order = order
    isReversed = false
  }

  /// The lines of so many that are shown where so many have room.
  mutating func window(of lines: Int, room: Int) -> Range<Int> {
    page = max(1, room)
    bottom = max(0, lines - max(0, room))
    scroll(to: top)
    return top..<min(lines, top + max(0, room))
  }
}

extension BufferOrder {
  /// `1` is the first column.
  init?(digit: Character) {
    guard let number = digit.wholeNumberValue, Self.allCases.indices.contains(number - 1) else {
      return nil
    }
    self = Self.allCases[number - 1]
  }
}

/// What plots have in common, in a page and in a file of their own.
enum PlotStyle {
  static let style: Markup = """
    svg text { fill: var(--ink); font-size: 13px; font-variant-numeric: tabular-nums; }
    svg .tick, svg .head { fill: var(--soft); font-size: 12px; }
    svg .grid { stroke: var(--line); }
    svg .span { fill: var(--accent); opacity: 0.16; }
    svg .dots { fill: var(--accent); opacity: 0.55; }
    svg .median { stroke: var(--ink); stroke-width: 2.5; }
    """
}

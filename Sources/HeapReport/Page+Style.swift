extension Page {
  /// In the ``Palette``'s colours, and ink on paper in print.
  static let style: Markup = """
    \(Palette.style)
    * { box-sizing: border-box; }
    body {
      margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--ground);
      color: var(--ink); font: 1rem/1.5 system-ui, "Noto Sans", "Liberation Sans", sans-serif;
    }
    code, pre { font: 0.92em/1.5 ui-monospace, "Noto Sans Mono", "Liberation Mono", monospace; }
    code { overflow-wrap: anywhere; }
    header { border-left: 0.5rem solid var(--accent); padding: 0.25rem 0 0.25rem 1.25rem; }
    header.bad { border-color: var(--fail-ground); }
    header.good { border-color: var(--pass); }
    .kind { margin: 0; color: var(--soft); letter-spacing: 0.08em; text-transform: uppercase; font-size: 0.8rem; }
    h1 { margin: 0.1rem 0; font-size: 2.1rem; line-height: 1.2; }
    .bad h1 { color: var(--fail-ink); }
    .where { margin: 0 0 0.75rem; color: var(--soft); overflow-wrap: anywhere; }
    .tally { display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; margin: 0; padding: 0; list-style: none; color: var(--soft); }
    .tally b { color: var(--ink); font-variant-numeric: tabular-nums; }
    section {
      margin-top: 1.5rem; padding: 1rem 1.25rem 1.25rem; background: var(--card);
      border: 1px solid var(--line); border-radius: 0.6rem;
    }
    h2 { margin: 0 0 0.75rem; font-size: 1.25rem; }
    h3 { margin: 1rem 0 0.5rem; font-size: 1rem; }
    .note { color: var(--soft); font-size: 0.88rem; margin: 0.75rem 0 0; max-width: 60rem; }
    pre { margin: 0.5rem 0; padding: 0.6rem 0.8rem; background: var(--ground); border-radius: 0.4rem; white-space: pre-wrap; }
    .wide { overflow-x: auto; }
    table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
    th, td { text-align: left; vertical-align: top; padding: 0.4rem 0.7rem 0.4rem 0; border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
    td:nth-child(n+6) { white-space: nowrap; }
    thead th { color: var(--soft); font-weight: 600; font-size: 0.82rem; }
    tbody th { font-weight: 600; min-width: 8rem; }
    .command { display: block; overflow-x: auto; white-space: pre; }
    tbody tr:last-child > * { border-bottom: 0; }
    .matrix .wide { overflow: visible; }
    .matrix table { border-collapse: separate; border-spacing: 2px; }
    .matrix thead th { position: sticky; top: 0; background: var(--card); color: var(--ink); vertical-align: bottom; text-align: center; padding: 0.4rem 0.3rem; min-width: 5rem; max-width: 8rem; }
    .matrix thead th:first-child { text-align: left; max-width: none; }
    .matrix tbody th { font-weight: 400; padding: 0.15rem 0.8rem 0.15rem 0; border: 0; }
    .matrix tbody th code { font-weight: 600; }
    .matrix tbody th span { display: block; color: var(--soft); font-size: 0.82rem; line-height: 1.3; }
    .matrix td { border: 0; border-radius: 0.3rem; padding: 0.35rem 0.4rem; text-align: center; vertical-align: middle; white-space: nowrap; }
    .matrix i { font-style: normal; font-weight: 700; }
    .matrix .pass { background: var(--pass-ground); color: var(--pass); }
    .matrix .fail { background: var(--fail-ground); color: var(--fail); font-weight: 700; }
    .matrix .fail a { color: inherit; }
    .matrix .skip { color: var(--skip); background: var(--skip-ground); border: 1px dashed currentColor; }
    .matrix .none { color: var(--soft); }
    .aside { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
    td.none { position: relative; }
    article { border-left: 0.3rem solid var(--fail-ground); padding: 0.1rem 0 0.1rem 1rem; margin: 0 0 1rem; }
    article h3 { margin: 0 0 0.35rem; }
    article:target { background: var(--skip-ground); }
    dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.25rem 1.25rem; margin: 0; }
    dt { color: var(--soft); }
    dd { margin: 0; overflow-wrap: anywhere; }
    .found { font-weight: 600; color: var(--fail-ink); }
    .options { columns: 18rem; padding: 0; margin: 0; list-style: none; font-size: 0.88rem; }
    .options li { break-inside: avoid; display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); padding: 0.15rem 0; }
    .options .unset { color: var(--soft); }
    .options .unset b { font-weight: 400; font-style: italic; }
    .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(32rem, 100%), 1fr)); gap: 1rem 2.5rem; margin-top: 1rem; }
    figure { margin: 0; }
    figcaption { font-weight: 600; }
    svg { display: block; width: 100%; height: auto; }
    \(Palette.plotStyle)
    @media (max-width: 40rem) {
      dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
      dd { margin-bottom: 0.5rem; }
      .matrix .wide { overflow-x: auto; }
      .matrix tbody th span { display: none; }
      svg text, svg .tick, svg .head { font-size: 15px; }
    }
    @media print {
      :root {
        color-scheme: light; --ground: #ffffff; --card: #ffffff; --ink: #000000; --soft: #444444;
        --line: #bbbbbb; --accent: #0b6a63; --pass: #12663a; --pass-ground: #e6f3eb;
        --fail-ink: #9c1c14; --skip: #6d5200; --skip-ground: #fbf0cf;
      }
      body { max-width: none; padding: 0; font-size: 10pt; }
      section { border: 0; padding: 0; }
      article, figure, tr { break-inside: avoid; }
      h2 { break-after: avoid; }
      .wide { overflow: visible; }
      table { font-size: 7.5pt; }
      tbody th { min-width: 4.5rem; }
      th, td { padding: 0.2rem 0.5rem 0.2rem 0; white-space: normal !important; }
      .matrix thead th { position: static; min-width: 0; font-size: 7pt; }
      .matrix tbody th { min-width: 16rem; }
      .matrix tbody th span { display: inline; font-size: 7pt; }
      .matrix td { padding: 0.1rem 0.2rem; font-size: 7pt; }
      .plots { grid-template-columns: 1fr 1fr; }
      .pass, .fail, .skip, svg { print-color-adjust: exact; }
    }
    """
}

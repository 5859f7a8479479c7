/// The colours of every page and picture.
enum Palette {
  /// Light and dark by what the reader's system asks for.
  static let style: Markup = """
    :root {
      --ground: #f7f6f3; --card: #ffffff; --ink: #1d1c1a; --soft: #625e58; --line: #e2ded7;
      --accent: #0b6a63; --pass: #12663a; --pass-ground: #e6f3eb; --fail: #ffffff;
      --fail-ground: #b3261e; --fail-ink: #9c1c14; --skip: #6d5200; --skip-ground: #fbf0cf;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --ground: #131416; --card: #1b1d20; --ink: #eceae6; --soft: #a8a39b; --line: #33363b;
        --accent: #63d8c9; --pass: #86d9a6; --pass-ground: #16291d; --fail: #ffffff;
        --fail-ground: #b3261e; --fail-ink: #ff9d94; --skip: #f0cf73; --skip-ground: #33290f;
      }
    }
    """
}

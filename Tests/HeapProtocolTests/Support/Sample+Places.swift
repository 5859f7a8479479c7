/// Where things stand in the message with all settings.
extension Sample {
  struct Envelope: Sendable {
    let field: String
    let offset: Int
    var isInlined = false
  }

  static let envelopes =
    [
      ("", 56, false), (".size_bytes", 88, false), (".is_physically_contiguous", 96, true),
      (".is_secure", 104, true), (".coherency_domain", 112, true), (".heap", 120, false),
      (".raw_vmo_size", 128, false), (".heap.heap_type", 160, false), (".heap.id", 168, false),
    ].map { Envelope(field: "settings.buffer_settings\($0)", offset: $1, isInlined: $2) }
    + [
      ("", 64, false), (".pixel_format", 240, true), (".pixel_format_modifier", 248, false),
      (".color_spaces", 256, false), (".min_size", 264, false), (".max_size", 272, false),
      (".min_bytes_per_row", 280, true), (".max_bytes_per_row", 288, true),
      (".max_width_times_height", 296, false), (".size_alignment", 304, false),
      (".display_rect_alignment", 312, false), (".required_min_size", 320, false),
      (".required_max_size", 328, false), (".bytes_per_row_divisor", 336, true),
      (".start_offset_divisor", 344, true), (".pixel_format_and_modifiers", 352, false),
      (".require_bytes_per_row_at_pixel_boundary", 360, true), (".is_alpha_present", 368, true),
      (".required_max_size_list", 376, false), (".pad_for_block_size", 384, false),
      (".pad_beyond_image_size_bytes", 392, false),
    ].map { Envelope(field: "settings.image_format_constraints\($0)", offset: $1, isInlined: $2) }

  /// A table, vector or string, at the place of its count.
  struct Counted: Sendable {
    let field: String
    let offset: Int
    /// Nil for a table.
    var bound: UInt64?
  }

  static let counted =
    [
      ("settings", 24, nil), ("settings.buffer_settings", 72, nil),
      ("settings.buffer_settings.heap", 144, nil),
      ("settings.buffer_settings.heap.heap_type", 176, 128),
      ("settings.image_format_constraints", 224, nil),
      ("settings.image_format_constraints.color_spaces", 408, 32),
      ("settings.image_format_constraints.pixel_format_and_modifiers", 496, 64),
      ("settings.image_format_constraints.required_max_size_list", 544, 64),
    ].map { Counted(field: $0, offset: $1, bound: $2) }
}

internal import Glibc

/// The whole text of a file, or nil where it cannot be read: what it tells of may just have gone.
func readText(_ path: String) -> String? {
  guard let file = try? Descriptor.open(path, O_RDONLY) else { return nil }
  let number = file.number
  var text: [UInt8] = []
  while true {
    var length = 0
    let part = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
      length = unsafe read(number, buffer.baseAddress, buffer.count)
      count = max(length, 0)
    }
    if length < 0 { return nil }
    if length == 0 { return String(decoding: text, as: UTF8.self) }
    text += part
  }
}

/// The names in a directory, without those that begin with a dot; nil where it cannot be read.
func names(in path: String) -> [String]? {
  guard let directory = unsafe opendir(path) else { return nil }
  defer { unsafe closedir(directory) }
  var names: [String] = []
  while let entry = unsafe readdir(directory) {
    let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name.first != "." { names.append(name) }
  }
  return names
}

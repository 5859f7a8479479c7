# Sourced: where Swift's toolchain is.

# swift_folder: the folder of Swift's own programs, whatever links to them; / where there is none.
swift_folder() {
  local folder chosen
  folder=$(dirname "$(readlink -f "$(command -v swift || echo /)")")
  # swiftly's folder has links to swiftly itself, which chooses a toolchain.
  if [ -e "$folder/swift" ] && [ ! -e "$folder/clang" ]; then
    chosen=$(swift -print-target-info | sed -n 's|.*"runtimeResourcePath": "\(.*\)/lib/swift".*|\1/bin|p')
    [ ! -e "$chosen/clang" ] || folder=$chosen
  fi
  echo "$folder"
}

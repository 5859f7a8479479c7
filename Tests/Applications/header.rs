//! What bindgen reads in the C headers is what Examples/Rust declares. In $BINDINGS are its output, parts of that, and a comparison of each name;
//! compile.sh compares which names there are.
#![allow(dead_code, non_camel_case_types, non_upper_case_globals)]
// Structs, field by field; it takes two without a field for one.
#![deny(clashing_extern_declarations)]

#[path = "../../Examples/Rust/src/sys.rs"]
mod sys;

mod bindings {
    include!(concat!(env!("BINDINGS"), "/bindings.rs"));
}

mod functions {
    use crate::sys::*;
    include!(concat!(env!("BINDINGS"), "/functions.rs"));
}

mod layouts {
    use crate::sys::*;
    include!(concat!(env!("BINDINGS"), "/layouts.rs"));
}

fn compare(ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug, name: &str) {
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{name}");
}

fn main() {
    include!(concat!(env!("BINDINGS"), "/comparisons.rs"));
}

//! allocate [HEAP]: allocates, writes, reads and deletes a buffer, and prints what the heap says to a request that it cannot serve.
use linuxheaps::Heap;
use std::{error::Error, ffi::CString, fs::File, os::fd::AsFd};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).map(CString::new).transpose()?;
    let heap = Heap::open(name.as_deref())?;
    let vmo = heap.allocate(100_000)?;
    // A descriptor of the caller's own: another handle to the buffer.
    let file = File::from(vmo.as_fd().try_clone_to_owned()?);
    let mapping = vmo.map()?;
    mapping.write(4096, b"from Rust")?;
    let mut bytes = [0; 10];
    mapping.read(4096, &mut bytes)?;
    println!("{:?} in {file:?}", String::from_utf8_lossy(&bytes));
    drop((mapping, file));
    heap.delete(vmo)?;
    match heap.allocate(1 << 60) {
        Ok(_) => Err("there is no such memory".into()),
        Err(error) => Ok(println!("{error}")),
    }
}

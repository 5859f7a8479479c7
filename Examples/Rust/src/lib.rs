//! dma-buf heaps by liblinuxheaps: `sys` is its C interface, and the types here own what that gives.
pub mod sys;

use std::ffi::{CStr, c_int};
use std::os::fd::{AsFd, BorrowedFd};
use std::{fmt, ptr, ptr::NonNull};

/// Why a call failed: one of `sys::LHEAP_*`; operation, path, cause and fix in one line.
#[derive(Debug)]
pub struct Error(pub c_int, pub String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.1)
    }
}

impl std::error::Error for Error {}

fn done(call: impl FnOnce(*mut *mut sys::lheap_error) -> c_int) -> Result<(), Error> {
    let mut error = ptr::null_mut();
    let code = call(&mut error);
    if code == sys::LHEAP_OK {
        return Ok(());
    }
    // A call that fails writes its error.
    let text = unsafe { CStr::from_ptr(sys::lheap_error_message(error)) };
    let text = text.to_string_lossy().into_owned();
    unsafe { sys::lheap_error_free(error) };
    Err(Error(code, text))
}

/// An object that is freed once, and whose functions may be called on several threads at once.
macro_rules! owner {
    ($(#[$documentation:meta])* $name:ident, $object:ident, $free:ident) => {
        $(#[$documentation])*
        pub struct $name(NonNull<sys::$object>);

        unsafe impl Send for $name {}
        unsafe impl Sync for $name {}

        impl $name {
            fn make(
                call: impl FnOnce(*mut *mut sys::$object, *mut *mut sys::lheap_error) -> c_int,
            ) -> Result<Self, Error> {
                let mut object = ptr::null_mut();
                done(|error| call(&mut object, error))?;
                Ok(Self(NonNull::new(object).expect("what succeeds writes its object")))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                unsafe { sys::$free(self.0.as_ptr()) }
            }
        }
    };
}
owner!(/// Memory from which buffers are made, which outlive it.
    Heap, lheap, lheap_close);
owner!(/// A handle to a buffer.
    Vmo, lheap_vmo, lheap_vmo_close);
owner!(/// A buffer's bytes in this process.
    Mapping, lheap_mapping, lheap_unmap);

impl Heap {
    /// A node of /dev/dma_heap, `udmabuf`, `memfd` or `opaque`; without a name the kernel's heaps by what is asked for.
    pub fn open(name: Option<&CStr>) -> Result<Self, Error> {
        let name = name.map_or(ptr::null(), CStr::as_ptr);
        Self::make(|heap, error| unsafe { sys::lheap_open(name, 0, heap, error) })
    }

    /// Zeroed bytes, rounded up to whole pages.
    pub fn allocate(&self, byte_count: u64) -> Result<Vmo, Error> {
        let (heap, settings) = (self.0.as_ptr(), ptr::null());
        Vmo::make(|vmo, error| unsafe { sys::lheap_allocate(heap, byte_count, settings, vmo, error) })
    }

    /// Returns when all of the buffer is gone: what others hold, and this process's mappings. The handle is closed, also by an error.
    pub fn delete(&self, vmo: Vmo) -> Result<(), Error> {
        let vmo = std::mem::ManuallyDrop::new(vmo);
        done(|error| unsafe { sys::lheap_delete(self.0.as_ptr(), vmo.0.as_ptr(), error) })
    }
}

impl AsFd for Vmo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unsafe { BorrowedFd::borrow_raw(sys::lheap_vmo_lend_fd(self.0.as_ptr())) }
    }
}

impl Vmo {
    pub fn map(&self) -> Result<Mapping, Error> {
        let (vmo, access) = (self.0.as_ptr(), sys::LHEAP_READ_WRITE);
        Mapping::make(|mapping, error| unsafe { sys::lheap_map(vmo, access, mapping, error) })
    }
}

impl Mapping {
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Error> {
        let place = self.place(offset, bytes.len());
        self.access(sys::LHEAP_READ, || unsafe { place.copy_to(bytes.as_mut_ptr(), bytes.len()) })
    }

    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let place = self.place(offset, bytes.len());
        self.access(sys::LHEAP_WRITE, || unsafe { place.copy_from(bytes.as_ptr(), bytes.len()) })
    }

    fn place(&self, offset: usize, count: usize) -> *mut u8 {
        let whole = unsafe { sys::lheap_mapping_byte_count(self.0.as_ptr()) };
        assert!(offset <= whole && count <= whole - offset, "{count} bytes at {offset} of {whole}");
        unsafe { sys::lheap_mapping_data(self.0.as_ptr()).cast::<u8>().add(offset) }
    }

    /// Others may write the bytes meanwhile: they are copied, and not lent as a slice.
    fn access(&self, access: c_int, copy: impl FnOnce()) -> Result<(), Error> {
        done(|error| unsafe { sys::lheap_mapping_begin(self.0.as_ptr(), access, error) })?;
        copy();
        done(|error| unsafe { sys::lheap_mapping_end(self.0.as_ptr(), access, error) })
    }
}

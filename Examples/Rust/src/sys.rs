//! linuxheaps.h and dmabufheap.h, which say what each function takes, gives and refuses. Tests/Applications/compile.sh compares this with them.
#![allow(non_camel_case_types, non_upper_case_globals)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub struct $name {
            _unused: [u8; 0],
        }
    )*};
}
opaque! { lheap lheap_vmo lheap_mapping lheap_list lheap_error BufferAllocator }

pub const LHEAP_OK: c_int = 0;
pub const LHEAP_INTERNAL: c_int = -1;
pub const LHEAP_NOT_SUPPORTED: c_int = -2;
pub const LHEAP_NO_RESOURCES: c_int = -3;
pub const LHEAP_NO_MEMORY: c_int = -4;
pub const LHEAP_INVALID_ARGS: c_int = -10;
pub const LHEAP_BAD_HANDLE: c_int = -11;
pub const LHEAP_WRONG_TYPE: c_int = -12;
pub const LHEAP_OUT_OF_RANGE: c_int = -14;
pub const LHEAP_BAD_STATE: c_int = -20;
pub const LHEAP_TIMED_OUT: c_int = -21;
pub const LHEAP_SHOULD_WAIT: c_int = -22;
pub const LHEAP_PEER_CLOSED: c_int = -24;
pub const LHEAP_NOT_FOUND: c_int = -25;
pub const LHEAP_ALREADY_EXISTS: c_int = -26;
pub const LHEAP_ACCESS_DENIED: c_int = -30;
pub const LHEAP_IO: c_int = -40;
pub const LHEAP_OWN_LOOP: c_uint = 1;
pub const LHEAP_CONTIGUOUS: c_uint = 1;
pub const LHEAP_NAMED: c_uint = 2;
pub const LHEAP_DMA_BUF: c_int = 0;
pub const LHEAP_MEMFD: c_int = 1;
pub const LHEAP_OPAQUE: c_int = 2;
pub const LHEAP_READ: c_int = 1;
pub const LHEAP_WRITE: c_int = 2;
pub const LHEAP_READ_WRITE: c_int = 3;

#[repr(C)]
pub struct lheap_entry {
    pub size: usize,
    pub name: *const c_char,
    pub path: *const c_char,
    pub role: *const c_char,
    pub duplicate_of: *const c_char,
    pub refusal: *const c_char,
    pub capacity: u64,
    pub free: u64,
}

#[repr(C)]
pub struct lheap_properties {
    pub size: usize,
    pub cpu_supported: bool,
    pub ram_supported: bool,
    pub inaccessible_supported: bool,
    pub need_clear: bool,
    pub need_flush: bool,
}

#[repr(C)]
pub struct lheap_settings {
    pub size: usize,
    pub flags: c_uint,
    pub collection: u64,
    pub index: u64,
    pub cleanup: Option<unsafe extern "C" fn(data: *mut c_void)>,
    pub data: *mut c_void,
}

#[repr(C)]
pub struct lheap_buffer_info {
    pub size: usize,
    pub device: u64,
    pub inode: u64,
    pub byte_count: u64,
    pub kind: c_int,
    pub reference_count: c_int,
    pub exporter: [c_char; 64],
    pub name: [c_char; 256],
}

type Name = *const c_char;
type ErrorOut = *mut *mut lheap_error;

#[link(name = "linuxheaps")]
unsafe extern "C" {
    pub fn lheap_version() -> Name;
    pub fn lheap_error_code(error: *const lheap_error) -> c_int;
    pub fn lheap_error_errno(error: *const lheap_error) -> c_int;
    pub fn lheap_error_message(error: *const lheap_error) -> Name;
    pub fn lheap_error_operation(error: *const lheap_error) -> Name;
    pub fn lheap_error_path(error: *const lheap_error) -> Name;
    pub fn lheap_error_cause(error: *const lheap_error) -> Name;
    pub fn lheap_error_fix(error: *const lheap_error) -> Name;
    pub fn lheap_error_free(error: *mut lheap_error);
    pub fn lheap_list_read(list: *mut *mut lheap_list, error: ErrorOut) -> c_int;
    pub fn lheap_list_count(list: *const lheap_list) -> usize;
    pub fn lheap_list_at(list: *const lheap_list, index: usize) -> *const lheap_entry;
    pub fn lheap_list_free(list: *mut lheap_list);
    pub fn lheap_open(name: Name, flags: c_uint, heap: *mut *mut lheap, error: ErrorOut) -> c_int;
    pub fn lheap_open_first_of(names: *const Name, count: usize, flags: c_uint, heap: *mut *mut lheap, error: ErrorOut) -> c_int;
    pub fn lheap_connect(socket: Name, heap: *mut *mut lheap, error: ErrorOut) -> c_int;
    pub fn lheap_close(heap: *mut lheap);
    pub fn lheap_get_properties(heap: *const lheap, properties: *mut lheap_properties, error: ErrorOut) -> c_int;
    pub fn lheap_live_count(heap: *const lheap) -> usize;
    pub fn lheap_event_fd(heap: *const lheap) -> c_int;
    pub fn lheap_dispatch(heap: *mut lheap);
    pub fn lheap_allocate(
        heap: *mut lheap, byte_count: u64, settings: *const lheap_settings, vmo: *mut *mut lheap_vmo, error: ErrorOut,
    ) -> c_int;
    pub fn lheap_allocate_fd(heap: *mut lheap, byte_count: u64, settings: *const lheap_settings, fd: *mut c_int, error: ErrorOut) -> c_int;
    pub fn lheap_delete(heap: *mut lheap, vmo: *mut lheap_vmo, error: ErrorOut) -> c_int;
    pub fn lheap_buffer_of(heap: *mut lheap, vmo: *const lheap_vmo, collection: *mut u64, index: *mut u64, error: ErrorOut) -> c_int;
    pub fn lheap_track(heap: *mut lheap, collection: u64, remaining: u32, fd: *mut c_int, error: ErrorOut) -> c_int;
    pub fn lheap_vmo_adopt_take(fd: c_int, vmo: *mut *mut lheap_vmo, error: ErrorOut) -> c_int;
    pub fn lheap_vmo_duplicate(vmo: *const lheap_vmo, duplicate: *mut *mut lheap_vmo, error: ErrorOut) -> c_int;
    pub fn lheap_vmo_slice(vmo: *const lheap_vmo, offset: u64, byte_count: u64, slice: *mut *mut lheap_vmo, error: ErrorOut) -> c_int;
    pub fn lheap_vmo_close(vmo: *mut lheap_vmo);
    pub fn lheap_vmo_release_fd(vmo: *mut lheap_vmo) -> c_int;
    pub fn lheap_vmo_lend_fd(vmo: *const lheap_vmo) -> c_int;
    pub fn lheap_vmo_offset(vmo: *const lheap_vmo) -> u64;
    pub fn lheap_vmo_byte_count(vmo: *const lheap_vmo) -> u64;
    pub fn lheap_vmo_kind(vmo: *const lheap_vmo) -> c_int;
    pub fn lheap_vmo_heap_name(vmo: *const lheap_vmo) -> Name;
    pub fn lheap_fd_info(fd: c_int, info: *mut lheap_buffer_info, error: ErrorOut) -> c_int;
    pub fn lheap_vmo_set_name(vmo: *mut lheap_vmo, name: Name, error: ErrorOut) -> c_int;
    pub fn lheap_map(vmo: *const lheap_vmo, access: c_int, mapping: *mut *mut lheap_mapping, error: ErrorOut) -> c_int;
    pub fn lheap_mapping_data(mapping: *const lheap_mapping) -> *mut c_void;
    pub fn lheap_mapping_byte_count(mapping: *const lheap_mapping) -> usize;
    pub fn lheap_mapping_begin(mapping: *mut lheap_mapping, access: c_int, error: ErrorOut) -> c_int;
    pub fn lheap_mapping_end(mapping: *mut lheap_mapping, access: c_int, error: ErrorOut) -> c_int;
    pub fn lheap_unmap(mapping: *mut lheap_mapping);
    pub fn lheap_vmo_export_fence(vmo: *const lheap_vmo, access: c_int, fence: *mut c_int, error: ErrorOut) -> c_int;
    pub fn lheap_vmo_import_fence(vmo: *mut lheap_vmo, fence: c_int, access: c_int, error: ErrorOut) -> c_int;
    pub fn lheap_fence_merge(fence: c_int, other: c_int, merged: *mut c_int, error: ErrorOut) -> c_int;
    pub fn lheap_fence_wait(fence: c_int, nanoseconds: i64, error: ErrorOut) -> c_int;
}

pub const kDmabufSystemHeapName: &CStr = c"system";
pub const kDmabufSystemUncachedHeapName: &CStr = c"system-uncached";

pub type SyncType = c_uint;
pub const kSyncRead: SyncType = 1;
pub const kSyncWrite: SyncType = 2;
pub const kSyncReadWrite: SyncType = 3;
type LegacySync = Option<unsafe extern "C" fn(c_int, c_int, *mut c_void) -> c_int>;

unsafe extern "C" {
    pub fn CreateDmabufHeapBufferAllocator() -> *mut BufferAllocator;
    pub fn FreeDmabufHeapBufferAllocator(allocator: *mut BufferAllocator);
    pub fn DmabufHeapAlloc(allocator: *mut BufferAllocator, heap_name: Name, len: usize, heap_flags: c_uint, legacy_align: usize) -> c_int;
    pub fn DmabufHeapAllocSystem(
        allocator: *mut BufferAllocator, cpu_access: bool, len: usize, heap_flags: c_uint, legacy_align: usize,
    ) -> c_int;
    pub fn MapDmabufHeapNameToIonHeap(
        allocator: *mut BufferAllocator, heap_name: Name, ion_heap_name: Name, ion_heap_flags: c_uint, legacy_ion_heap_mask: c_uint,
        legacy_ion_heap_flags: c_uint,
    ) -> c_int;
    pub fn DmabufHeapCpuSyncStart(
        allocator: *mut BufferAllocator, dmabuf_fd: c_uint, sync_type: SyncType, legacy_ion_cpu_sync: LegacySync,
        legacy_ion_custom_data: *mut c_void,
    ) -> c_int;
    pub fn DmabufHeapCpuSyncEnd(
        allocator: *mut BufferAllocator, dmabuf_fd: c_uint, sync_type: SyncType, legacy_ion_cpu_sync: LegacySync,
        legacy_ion_custom_data: *mut c_void,
    ) -> c_int;
    pub fn CheckIonSupport() -> bool;
}

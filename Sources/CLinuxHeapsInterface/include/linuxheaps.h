/** @file
 * linuxheaps.h: dma-buf heaps with the lifetime rules of Fuchsia's Heap protocol, for C and C++.
 *
 * A heap hands out a buffer's first handle, a vmo, and keeps its parent. The buffer ends when the last reference to it is gone: handles,
 * descriptors in any process or message, mappings, imports of devices. Then its clean-up runs, its memory returns, and whoever waits is told.
 *
 * Results. A function that can fail returns LHEAP_OK or one of enum lheap_code, all negative. Its last parameter takes what stood against
 * it, for the caller to free by lheap_error_free(); NULL where nobody wants to know. Of a failed call nothing is left, and nothing is
 * written to any other parameter. Names and paths are UTF-8; LHEAP_INVALID_ARGS for others.
 *
 * Ownership. Objects (lheap, lheap_vmo, lheap_mapping, lheap_list, lheap_error) are freed by their own function, once, which takes NULL
 * too. For NULL in place of any other object a function that can fail returns LHEAP_INVALID_ARGS; one that cannot requires an object. A
 * descriptor that a function returns or writes belongs to the caller, with close-on-exec, unless the function is said to lend it. A
 * descriptor that a function is given stays the caller's, unless the function is said to take it; then it is close-on-exec from there on.
 *
 * Threads. Functions may be called on any thread, and on several at once for one object; only freeing an object excludes all else. A heap
 * has one thread that notices ends, or none (LHEAP_OWN_LOOP). After fork(2) a child may use the descriptors and mappings that it has, and
 * free objects, whatever other threads were doing: that closes its own descriptors and mappings, and ends nothing of its parent's. Of a
 * parent's heap lheap_close() frees nothing there. Until it calls exec(2) or ends, the child has a copy of each descriptor that the heap has:
 * the connection to a service, and those by which it keeps dma-bufs, which do not end meanwhile. Before that it opens no heap where its parent
 * has opened one, allocates and deletes nothing: LHEAP_BAD_STATE. dlclose(3) does not unload the library.
 *
 * Versions. Structures begin with their size, by which the library knows what the caller knows: set `size` to sizeof, and all else that
 * is not used to 0. Symbols have the version LINUXHEAPS_0_1.
 */
#ifndef LINUXHEAPS_H
#define LINUXHEAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Memory from which buffers are made: heaps of the kernel, memory of this process's own, or a service. */
typedef struct lheap lheap;
/** A handle to a buffer, or to a range of one. */
typedef struct lheap_vmo lheap_vmo;
/** A vmo's bytes in this process. */
typedef struct lheap_mapping lheap_mapping;
/** The heaps of the machine, at one moment. */
typedef struct lheap_list lheap_list;
/** Why a call failed. */
typedef struct lheap_error lheap_error;

/** Statuses of the Heap protocol, with the numbers of zx_status_t. */
enum lheap_code {
  /** Done. */
  LHEAP_OK = 0,
  /** A fault of this library's or of the kernel's. */
  LHEAP_INTERNAL = -1,
  /** No heap here has such memory, or the kernel no such request. */
  LHEAP_NOT_SUPPORTED = -2,
  /** Out of descriptors or of another kernel object, or a service's quota is used up. */
  LHEAP_NO_RESOURCES = -3,
  /** The heap, the machine, a control group or all that a service may hand out cannot serve the size. */
  LHEAP_NO_MEMORY = -4,
  /** A size of 0, a slice that is not whole pages, a NULL where none is taken. */
  LHEAP_INVALID_ARGS = -10,
  /** A descriptor that is not open, or the vmo of another buffer. */
  LHEAP_BAD_HANDLE = -11,
  /** A descriptor of something else than what is asked for. */
  LHEAP_WRONG_TYPE = -12,
  /** A size or a range that does not fit. */
  LHEAP_OUT_OF_RANGE = -14,
  /** The call comes too early or too late. */
  LHEAP_BAD_STATE = -20,
  /** Not done by then. */
  LHEAP_TIMED_OUT = -21,
  /** Not now; try again. */
  LHEAP_SHOULD_WAIT = -22,
  /** The service is gone. */
  LHEAP_PEER_CLOSED = -24,
  /** No such heap, service or buffer. */
  LHEAP_NOT_FOUND = -25,
  /** The buffer's (collection, index) is taken. */
  LHEAP_ALREADY_EXISTS = -26,
  /** This user may not open the node, or use the service. */
  LHEAP_ACCESS_DENIED = -30,
  /** The kernel or a device failed. */
  LHEAP_IO = -40,
};

/** The library's version, for example "0.1.0". Never freed. */
const char *lheap_version(void);

/* --- Errors --- */

/** One of enum lheap_code, never LHEAP_OK. */
int lheap_error_code(const lheap_error *error);
/** The kernel's errno, 0 where the kernel refused nothing. */
int lheap_error_errno(const lheap_error *error);
/** All of it in one line: "OPERATION (PATH): CAUSE [ERRNO]; CODE. To fix it: FIX". Like the next four it lives as long as the error. */
const char *lheap_error_message(const lheap_error *error);
/** What was asked for, for example "allocate 8 MiB". */
const char *lheap_error_operation(const lheap_error *error);
/** The file that it was asked of; NULL where there is none. */
const char *lheap_error_path(const lheap_error *error);
/** What stood against it, with the figures. */
const char *lheap_error_cause(const lheap_error *error);
/** What a person can do about it; NULL where nothing is known. */
const char *lheap_error_fix(const lheap_error *error);
/** Frees an error with its texts. */
void lheap_error_free(lheap_error *error);

/* --- The machine's heaps --- */

/** Lives as long as its list. */
typedef struct lheap_entry {
  /** Of the structure as the library knows it. */
  size_t size;
  /** The node's name, whole. */
  const char *name;
  /** The node's path. */
  const char *path;
  /** "system", "contiguous", "protected" or "other": of the device behind the node, whatever it is called. */
  const char *role;
  /** The name of the heap that has the same memory; NULL where there is none. */
  const char *duplicate_of;
  /** Why this process cannot use it, and what would help; NULL where it can. */
  const char *refusal;
  /** Bytes of its contiguous region; 0 where the kernel does not tell. */
  uint64_t capacity;
  /** Bytes of it that are free, which need not lie together; 0 where the kernel does not tell (before Linux 7.0). */
  uint64_t free;
} lheap_entry;

/** Reads /dev/dma_heap. A machine that has no heap has an empty list. */
int lheap_list_read(lheap_list **list, lheap_error **error);
/** How many heaps it has. */
size_t lheap_list_count(const lheap_list *list);
/** NULL from the list's count on. */
const lheap_entry *lheap_list_at(const lheap_list *list, size_t index);
/** Frees a list with its entries. */
void lheap_list_free(lheap_list *list);

/* --- Heaps --- */

/** How a heap is opened. */
enum lheap_open_flags {
  /** The heap has no thread. The caller's loop waits for lheap_event_fd() and calls lheap_dispatch(). */
  LHEAP_OWN_LOOP = 1u << 0,
};

/** Opens a heap: the name or path of a node of /dev/dma_heap, "udmabuf", "hugetlb", "memfd" (which devices cannot import) or "opaque"
 * (which has no pages). NULL is what `heapd` and `heapctl alloc` take: the kernel's heaps by the memory that is asked for, and memfd where the machine has
 * none. LHEAP_NOT_FOUND, LHEAP_ACCESS_DENIED, LHEAP_NOT_SUPPORTED for memory that this machine has not, LHEAP_INVALID_ARGS for flags that
 * are none. */
int lheap_open(const char *name, unsigned flags, lheap **heap, lheap_error **error);
/** Opens several nodes, of which the next serves where one is absent or full; "hugetlb" may be among them, "udmabuf" the last.
 * LHEAP_NOT_FOUND or LHEAP_NOT_SUPPORTED where none is here, LHEAP_ACCESS_DENIED where the first that is here may not be opened,
 * LHEAP_INVALID_ARGS for a name that cannot be in a list, or not there. */
int lheap_open_first_of(const char *const *names, size_t count, unsigned flags, lheap **heap, lheap_error **error);
/** Connects to a service (heapd), whose memory is charged and limited there. NULL is /run/heapd/heap.sock. It has a thread that receives.
 * LHEAP_NOT_FOUND where nobody serves, LHEAP_ACCESS_DENIED, LHEAP_WRONG_TYPE for another kind of socket. Whom the service has bring the
 * memory (quota-users and quota-groups of heapd) it refuses buffers: that is for RemoteHeap, in Swift, alone. */
int lheap_connect(const char *socket, lheap **heap, lheap_error **error);
/** Frees no buffer: those live until nobody can use them any more. Of a heap without a thread the buffers that are left get one. */
void lheap_close(lheap *heap);

/** What OnRegister tells (fuchsia.hardware.sysmem/HeapProperties). */
typedef struct lheap_properties {
  /** sizeof, set by the caller. */
  size_t size;
  /** Buffers may be used in the CPU domain. */
  bool cpu_supported;
  /** Buffers may be used in the RAM domain. */
  bool ram_supported;
  /** Buffers may be out of the processor's reach. */
  bool inaccessible_supported;
  /** A new buffer has to be zeroed by who allocates it; no heap of Linux asks for that. */
  bool need_clear;
  /** The processor's caches have to be flushed after that. */
  bool need_flush;
} lheap_properties;

/** `properties->size` is set by the caller. */
int lheap_get_properties(const lheap *heap, lheap_properties *properties, lheap_error **error);
/** Buffers that were allocated through this heap and are not fully reclaimed. */
size_t lheap_live_count(const lheap *heap);
/** Lends a descriptor that is readable when lheap_dispatch() has something to do; -1 for a heap that has a thread. */
int lheap_event_fd(const lheap *heap);
/** Takes back what has ended, and runs its clean-up, on the caller's thread. It waits for nothing. Without effect for a heap with a thread. */
void lheap_dispatch(lheap *heap);

/* --- Buffers --- */

/** What an allocation asks for. */
enum lheap_allocate_flags {
  /** Physically contiguous memory, never replaced by other. */
  LHEAP_CONTIGUOUS = 1u << 0,
  /** `collection` and `index` name the buffer; else it is of a collection that nobody else has. */
  LHEAP_NAMED = 1u << 1,
};

/** What an allocation may ask for besides its size. */
typedef struct lheap_settings {
  /** sizeof. */
  size_t size;
  /** Of enum lheap_allocate_flags. */
  unsigned flags;
  /** Of the buffer's name, with LHEAP_NAMED. */
  uint64_t collection;
  /** Of the buffer's name, with LHEAP_NAMED: all 64 bits count. */
  uint64_t index;
  /** Called once with `data` when the buffer's last child is gone: on the heap's thread, in lheap_dispatch(), or in lheap_delete(). Never
   * where the allocation fails, nor where the service of lheap_connect() ends first: then `data` is the caller's. It may use the heap; it
   * must not wait for another buffer's end. */
  void (*cleanup)(void *data);
  /** For `cleanup`. */
  void *data;
} lheap_settings;

/** Allocates zeroed bytes, rounded up to whole pages. NULL settings are those without flags.
 * LHEAP_INVALID_ARGS for no bytes, LHEAP_OUT_OF_RANGE for more than an address can tell, LHEAP_NO_MEMORY, LHEAP_NO_RESOURCES for what is
 * beyond a quota, LHEAP_ALREADY_EXISTS while the name is taken, LHEAP_NOT_SUPPORTED where no heap has such memory, LHEAP_ACCESS_DENIED
 * where a service does not serve this user, LHEAP_PEER_CLOSED where it has ended. */
int lheap_allocate(lheap *heap, uint64_t byte_count, const lheap_settings *settings, lheap_vmo **vmo, lheap_error **error);
/** The same for who needs the descriptor alone: the buffer ends with the last of its descriptors, mappings and imports. */
int lheap_allocate_fd(lheap *heap, uint64_t byte_count, const lheap_settings *settings, int *fd, lheap_error **error);
/** Takes the last handle back, and returns when all of the buffer is gone (DeleteVmo). It waits for other holders, this process's own
 * mappings among them, however long. The vmo is freed, and its handle closed, also where this fails: LHEAP_NOT_FOUND for a vmo that is
 * none of this heap's, LHEAP_PEER_CLOSED where the service ended meanwhile. With LHEAP_INVALID_ARGS, for NULL, nothing is done. */
int lheap_delete(lheap *heap, lheap_vmo *vmo, lheap_error **error);
/** Which buffer a handle is of, whatever way it came (GetVmoInfo). Either place may be NULL. LHEAP_NOT_FOUND
 * where it is none of this heap's. */
int lheap_buffer_of(lheap *heap, const lheap_vmo *vmo, uint64_t *collection, uint64_t *index, lheap_error **error);
/** Makes a descriptor that hangs up (POLLHUP, and read(2) gives 0) once at most `remaining` buffers of the collection are left
 * (AttachLifetimeTracking): at once where that is so already. */
int lheap_track(lheap *heap, uint64_t collection, uint32_t remaining, int *fd, lheap_error **error);

/* --- Handles --- */

/** What a buffer's memory is in the kernel. */
enum lheap_kind {
  /** Devices can import it. */
  LHEAP_DMA_BUF = 0,
  /** Processes can share it. */
  LHEAP_MEMFD = 1,
  /** It has a size and an identity, and no pages. */
  LHEAP_OPAQUE = 2,
};

/** Takes a descriptor from elsewhere, a dma-buf's or a memfd's that is sealed against shrinking; the vmo is the whole buffer. Where it
 * fails the descriptor is closed. LHEAP_WRONG_TYPE, LHEAP_BAD_HANDLE, LHEAP_INVALID_ARGS. */
int lheap_vmo_adopt_take(int fd, lheap_vmo **vmo, lheap_error **error);
/** A second handle to the same range. */
int lheap_vmo_duplicate(const lheap_vmo *vmo, lheap_vmo **duplicate, lheap_error **error);
/** A handle to a part of the range: offset and size are whole pages. LHEAP_INVALID_ARGS, LHEAP_OUT_OF_RANGE. All descriptors of a dma-buf
 * share one open file: who holds a slice can map the rest too. */
int lheap_vmo_slice(const lheap_vmo *vmo, uint64_t offset, uint64_t byte_count, lheap_vmo **slice, lheap_error **error);
/** Closes the handle. */
void lheap_vmo_close(lheap_vmo *vmo);
/** Frees the vmo and returns its descriptor, which is the caller's to close. */
int lheap_vmo_release_fd(lheap_vmo *vmo);
/** Lends the descriptor, for a call or a message; it lives as long as the vmo. */
int lheap_vmo_lend_fd(const lheap_vmo *vmo);
/** Bytes from the buffer's start to the range's: whole pages. */
uint64_t lheap_vmo_offset(const lheap_vmo *vmo);
/** Bytes of the range: whole pages. */
uint64_t lheap_vmo_byte_count(const lheap_vmo *vmo);
/** One of enum lheap_kind. */
int lheap_vmo_kind(const lheap_vmo *vmo);
/** The heap that served; NULL for a vmo that came from elsewhere. Lives as long as the vmo. */
const char *lheap_vmo_heap_name(const lheap_vmo *vmo);

/** What the kernel tells of a buffer. */
typedef struct lheap_buffer_info {
  /** sizeof, set by the caller. */
  size_t size;
  /** st_dev, the same for all handles. */
  uint64_t device;
  /** st_ino, the same for all handles; the kernel gives it to another buffer once this one is gone. */
  uint64_t inode;
  /** Bytes of the whole buffer. */
  uint64_t byte_count;
  /** One of enum lheap_kind. */
  int kind;
  /** References in the whole system, the heap's own included; -1 for a memfd, of which the kernel does not tell. */
  int reference_count;
  /** Of a dma-buf: the kernel's heap, "udmabuf", or a driver. Empty for a memfd. */
  char exporter[64];
  /** As the kernel shows it; empty where it has none. */
  char name[256];
} lheap_buffer_info;

/** About any descriptor of a dma-buf or a memfd. `info->size` is set by the caller. LHEAP_WRONG_TYPE, LHEAP_BAD_HANDLE. */
int lheap_fd_info(int fd, lheap_buffer_info *info, lheap_error **error);
/** Names a dma-buf, for everybody: at most 31 bytes, else LHEAP_OUT_OF_RANGE. LHEAP_NOT_SUPPORTED for a memfd. */
int lheap_vmo_set_name(lheap_vmo *vmo, const char *name, lheap_error **error);

/* --- Memory --- */

/** What is done with a buffer's bytes, with the values of DMA_BUF_SYNC_* (linux/dma-buf.h). */
enum lheap_access {
  /** Reading. */
  LHEAP_READ = 1,
  /** For the processor the same as LHEAP_READ_WRITE. */
  LHEAP_WRITE = 2,
  /** Reading and writing. */
  LHEAP_READ_WRITE = 3,
};

/** Maps the range. A mapping keeps the buffer alive, as a handle does. LHEAP_NOT_SUPPORTED for an opaque vmo. */
int lheap_map(const lheap_vmo *vmo, int access, lheap_mapping **mapping, lheap_error **error);
/** The bytes, to be used between lheap_mapping_begin() and lheap_mapping_end(). */
void *lheap_mapping_data(const lheap_mapping *mapping);
/** How many they are. */
size_t lheap_mapping_byte_count(const lheap_mapping *mapping);
/** Makes the processor's caches agree with the devices (DMA_BUF_IOCTL_SYNC), and waits for devices that are at work. End with the same
 * access. LHEAP_INVALID_ARGS for writing to a mapping that is for reading. */
int lheap_mapping_begin(lheap_mapping *mapping, int access, lheap_error **error);
/** Ends what lheap_mapping_begin() began. */
int lheap_mapping_end(lheap_mapping *mapping, int access, lheap_error **error);
/** Unmaps, and frees the mapping. */
void lheap_unmap(lheap_mapping *mapping);

/* --- Fences: sync_file descriptors, of dma-bufs alone (LHEAP_NOT_SUPPORTED), from Linux 6.0 on --- */

/** What has to be waited for before the buffer is used so (DMA_BUF_IOCTL_EXPORT_SYNC_FILE): LHEAP_READ waits for writers, LHEAP_WRITE for
 * readers too. */
int lheap_vmo_export_fence(const lheap_vmo *vmo, int access, int *fence, lheap_error **error);
/** Makes who uses the buffer from now on wait for the fence (DMA_BUF_IOCTL_IMPORT_SYNC_FILE). LHEAP_WRONG_TYPE for what is no sync_file. */
int lheap_vmo_import_fence(lheap_vmo *vmo, int fence, int access, lheap_error **error);
/** A fence that is signalled when both are. LHEAP_WRONG_TYPE for what is no sync_file. */
int lheap_fence_merge(int fence, int other, int *merged, lheap_error **error);
/** Waits until it is signalled, by a device that is done or has failed; a negative time is for ever. LHEAP_TIMED_OUT, LHEAP_WRONG_TYPE for what is no sync_file. */
int lheap_fence_wait(int fence, int64_t nanoseconds, lheap_error **error);

#ifdef __cplusplus
}
#endif
#endif

#ifndef C_LINUX_HEAPS_H
#define C_LINUX_HEAPS_H

#ifdef __linux__
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/sync_file.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/types.h>

// What Swift cannot see of the kernel's interface, and nothing else. A function that can fail
// returns -1 with the cause in `errno`, as the system call beneath it does, and retries nothing.

/// `DMA_HEAP_IOCTL_ALLOC` (linux/dma-heap.h). `_IOWR` uses `sizeof`, which Swift cannot import.
int CLinuxHeaps_dma_heap_alloc(int heap, struct dma_heap_allocation_data *_Nonnull data);

/// Whether a seccomp filter ends who makes `DMA_HEAP_IOCTL_ALLOC`, tried by a child with an argument that the kernel refuses. False
/// also where no child can be had.
bool CLinuxHeaps_dma_heap_alloc_kills(int heap);

/// Whether `DMA_HEAP_IOCTL_ALLOC` takes a descriptor that says whom to charge: 1 or 0, -1 where that cannot be told. A proposal
/// of 2026 has it behind the other fields, first as `charge_pid_fd`. A child tries it on one page with a descriptor that no process
/// can have, because a kernel takes what is longer than its own struct and ignores the rest.
int CLinuxHeaps_dma_heap_knows_charge(int heap);

/// `DMA_BUF_IOCTL_SYNC` (linux/dma-buf.h) with these `DMA_BUF_SYNC_*` flags.
int CLinuxHeaps_dma_buf_sync(int buffer, uint64_t flags);

/// `DMA_BUF_SET_NAME` (linux/dma-buf.h): at most 31 bytes and a NUL.
int CLinuxHeaps_dma_buf_set_name(int buffer, const char *_Nonnull name);

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE` (Linux 6.0): a sync_file, close-on-exec, of the fences that an access
/// with these `DMA_BUF_SYNC_*` flags has to wait for.
int CLinuxHeaps_export_fence(int buffer, uint32_t flags);

/// `DMA_BUF_IOCTL_IMPORT_SYNC_FILE` (Linux 6.0): others wait for the sync_file as for a device's access.
int CLinuxHeaps_import_fence(int buffer, uint32_t flags, int fence);

/// `SYNC_IOC_MERGE` (linux/sync_file.h): a sync_file, close-on-exec, that waits for both. A name is cut
/// at 31 bytes.
int CLinuxHeaps_merge_fences(int first, int second, const char *_Nonnull name);

/// `SYNC_IOC_FILE_INFO` (linux/sync_file.h). With a capacity of 0 only `num_fences` is told; EINVAL where
/// there are more than `capacity`.
int CLinuxHeaps_fence_info(int fence, struct sync_file_info *_Nonnull information,
                           struct sync_fence_info *_Nullable points, uint32_t capacity);

/// `UDMABUF_CREATE` (linux/udmabuf.h): a dma-buf, close-on-exec, of a page-aligned part of a memfd.
int CLinuxHeaps_udmabuf_create(int udmabuf, int memfd, uint64_t offset, uint64_t size);

/// The same of `UDMABUF_CREATE` as `CLinuxHeaps_dma_heap_alloc_kills`.
bool CLinuxHeaps_udmabuf_create_kills(int udmabuf);

/// The same of memfd_create(2).
bool CLinuxHeaps_memfd_create_kills(void);

/// memfd_create(2), hidden behind `_GNU_SOURCE`. `flags` are `CLinuxHeaps_MFD_*`.
int CLinuxHeaps_memfd_create(const char *_Nonnull name, unsigned int flags);
extern const unsigned int CLinuxHeaps_MFD_CLOEXEC;
extern const unsigned int CLinuxHeaps_MFD_ALLOW_SEALING;
/// `MFD_HUGETLB` with the size of the pages, a power of two (linux/memfd.h).
unsigned int CLinuxHeaps_MFD_huge(uint64_t size);

/// fallocate(2) from the file's start, hidden behind `_GNU_SOURCE`.
int CLinuxHeaps_fallocate(int file, uint64_t size);

/// Whether a file has huge pages (hugetlbfs, statfs(2)).
bool CLinuxHeaps_has_huge_pages(int file);

/// What the access control list of a file (acl(5)) gives the file's own group, as one digit of a mode, before its mask; -1 where there is
/// none.
int CLinuxHeaps_listed_group_mode(const char *_Nonnull path);

/// `F_ADD_SEALS` (fcntl(2)) with `CLinuxHeaps_F_SEAL_*`.
int CLinuxHeaps_add_seals(int memfd, int seals);
extern const int CLinuxHeaps_F_SEAL_SEAL;
extern const int CLinuxHeaps_F_SEAL_SHRINK;
extern const int CLinuxHeaps_F_SEAL_GROW;
extern const int CLinuxHeaps_F_SEAL_WRITE;
extern const int CLinuxHeaps_F_SEAL_FUTURE_WRITE;

/// `F_GET_SEALS` (fcntl(2)); fails with EINVAL on a file that is no memfd.
int CLinuxHeaps_get_seals(int memfd);

/// `F_SETLEASE` (fcntl(2)) with `F_WRLCK` or `F_UNLCK`.
int CLinuxHeaps_set_lease(int file, int type);

/// `F_SETSIG` (fcntl(2)): the signal that tells of a broken lease.
int CLinuxHeaps_set_lease_signal(int file, int signal);

/// Whether a memfd is of single pages (tmpfs), and not of huge ones (hugetlbfs): fstatfs(2), whose struct Swift cannot see.
bool CLinuxHeaps_is_shmem(int memfd);

/// `SEEK_HOLE` from the start (lseek(2)): of tmpfs the first page that is not there, or that nobody has written or
/// mapped, in bytes; the file's size where there is none.
int64_t CLinuxHeaps_first_hole(int memfd);

/// `FALLOC_FL_PUNCH_HOLE` (fallocate(2)) of the first `size` bytes: the file lets go of the pages.
int CLinuxHeaps_punch_hole(int memfd, uint64_t size);

/// sendmsg(2) of `bytes` with one `SCM_RIGHTS` message when `count` is not 0. At most
/// `CLinuxHeaps_MAX_DESCRIPTORS` of them. Never raises SIGPIPE.
ssize_t CLinuxHeaps_send(int socket, const void *_Nonnull bytes, size_t length,
                         const int *_Nullable descriptors, size_t count);

/// recvmsg(2) with `MSG_CMSG_CLOEXEC`. Every descriptor that arrived stands in `descriptors`, which has
/// room for `CLinuxHeaps_MAX_ARRIVING`, its number in `count`, whatever else is wrong with the message:
/// the caller owns them. `fault` is 0 for a whole message; else `EMSGSIZE` where bytes found no room, `EINVAL` where a
/// control message was no `SCM_RIGHTS` or more than `CLinuxHeaps_MAX_DESCRIPTORS` came, `EMFILE` where this process
/// was not given all that came (`MSG_CTRUNC`).
ssize_t CLinuxHeaps_receive(int socket, void *_Nonnull bytes, size_t length,
                            int *_Nonnull descriptors, size_t *_Nonnull count, int *_Nonnull fault);

/// Ends a connection, and closes its socket where nothing is in it, so that the close waits for nobody.
///
/// After shutdown(2) nothing more comes (unix_dgram_sendmsg, net/unix/af_unix.c). Files that are in flight on each other only
/// are closed by a work of the kernel's (unix_gc, net/unix/garbage.c, Linux 6.9); where that is not so, whoever closes
/// a socket next does it, whatever is in its own.
/// - Parameter has_reader: Set to whether the peer may still read, so that a closer has to drain the socket.
/// - Returns: Whether it is closed. Otherwise something may be in it, or it is a stream.
bool CLinuxHeaps_end_connection(int socket, bool *_Nonnull has_reader);

/// Starts the process that makes closers, which is no child of this one. It keeps no descriptor and no shared mapping of this process's,
/// blocks all signals, and ends at the end of the socket that this returns.
///
/// A closer closes what this process has sent it, because the last close of a file can wait for as long as whoever made it likes. Some such
/// waits no signal ends (`pipe_release`, fs/pipe.c): a thread that waits so keeps its process from ending.
int CLinuxHeaps_start_closers(void);

/// A new closer: a socket to it that does not block, and in `process` its pidfd, both close-on-exec. ETIMEDOUT where there is none after a
/// second.
///
/// It receives descriptors at once (`CLinuxHeaps_send`, one byte with at most `CLinuxHeaps_MAX_DESCRIPTORS`) and keeps them open. At
/// `CLinuxHeaps_order_close` it closes all, answers with a byte, and receives again; at the end of its socket it closes all, and ends.
int CLinuxHeaps_new_closer(int source, int *_Nonnull process);

/// What is sent with descriptors.
enum {
    CLinuxHeaps_CLOSE = 'f',
    /// Of sockets: what is unread is taken out before, up to 16 messages or 128 KiB of a stream. A socket that is closed with some answers
    /// ECONNRESET to a peer that has yet to read what was sent to it.
    CLinuxHeaps_CLOSE_DRAINED = 's'
};

/// Has a closer close all that it was sent. Whoever closes last waits: no descriptor of the files may be open here.
int CLinuxHeaps_order_close(int closer);

/// Whether a closer has closed all: 1, 0 where it has ended, EAGAIN as long as neither is so.
int CLinuxHeaps_hear_closer(int closer);

/// SIGKILL (`pidfd_send_signal(2)`): its end closes what is left, and most of what waits in a close does not wait any more.
void CLinuxHeaps_kill_closer(int process);

/// recv(2) with `MSG_PEEK`: the bytes of a stream's next messages, which stay in it with what came along.
ssize_t CLinuxHeaps_peek(int socket, void *_Nonnull bytes, size_t length);

/// ppoll(2) for something to receive, for so long, or for ever where that is negative: 1; 0 where nothing came.
int CLinuxHeaps_await_message(int socket, int64_t nanoseconds);

/// Sends a message where that does not wait; -1 and EAGAIN where the receiver's queue is full.
ssize_t CLinuxHeaps_send_now(int socket, const void *_Nonnull bytes, size_t length);

/// `SIOCOUTQ` (unix(7)): what sent messages that the peer has not read take in memory; 0 once it has read
/// them all.
int CLinuxHeaps_unread(int socket);

enum {
    CLinuxHeaps_MAX_DESCRIPTORS = 64,
    /// `SCM_MAX_FD` (unix(7)), the most that anybody can send. Those without room would be closed before
    /// recvmsg(2) returns, which takes as long as their file systems like.
    CLinuxHeaps_MAX_ARRIVING = 253
};

/// accept4(2), hidden behind `_GNU_SOURCE`: close-on-exec, and non-blocking.
int CLinuxHeaps_accept(int listener);

/// `SO_PEERCRED` (unix(7)): who connected, as it was then.
int CLinuxHeaps_peer(int socket, pid_t *_Nonnull process, uid_t *_Nonnull user, gid_t *_Nonnull group);

/// `SO_PEERGROUPS` (Linux 4.13): the peer's supplementary groups. Returns how many; ERANGE where they
/// are more than `capacity`.
int CLinuxHeaps_peer_groups(int socket, gid_t *_Nonnull groups, size_t capacity);

/// A pidfd of the peer, close-on-exec: `SO_PEERPIDFD`, or pidfd_open(2) of `process` before Linux 6.5.
int CLinuxHeaps_peer_pidfd(int socket, pid_t process);

/// A new open file of the same inode, close-on-exec.
int CLinuxHeaps_reopen(int file, int flags);

/// Flags of open(2), hidden behind `_GNU_SOURCE`.
extern const int CLinuxHeaps_O_DIRECT;
extern const int CLinuxHeaps_O_PATH;

/// Whether another process, or an open file, has a lock of fcntl(2) on the file (`F_GETLK`): the kernel answers with the first.
bool CLinuxHeaps_is_locked_by_others(int file);

/// Takes away the locks that belong to an open file (`F_OFD_SETLK`, flock(2)), whoever set them by a descriptor of it.
void CLinuxHeaps_remove_locks(int file);

/// `STATX_DIOALIGN` (statx(2), Linux 6.1): whether the file system tells that `O_DIRECT` has no effect on this file. Where it does not
/// tell, open(2) may still refuse it.
bool CLinuxHeaps_lacks_direct_io(int file);

/// A pipe whose two ends are close-on-exec (pipe2(2)): the reading one first.
int CLinuxHeaps_pipe(int ends[_Nonnull 2]);

/// vmsplice(2) of `length` bytes into a pipe, hidden behind `_GNU_SOURCE`, without waiting (`SPLICE_F_NONBLOCK`): the pipe holds the pages
/// themselves. EFAULT where the kernel lends none out of such a mapping (`VM_PFNMAP`, `VM_IO`).
ssize_t CLinuxHeaps_vmsplice(int pipe, const void *_Nonnull bytes, size_t length);

/// Has every last close of an open file of the inode reported (`IN_CLOSE`, inotify(7)). A watch, or -1.
int CLinuxHeaps_watch_closes(int inotify, int file);

/// `st_dev` and `st_ino` as the kernel knows them already (`AT_STATX_DONT_SYNC`, statx(2)): a file of a
/// file system in user space, or of a network, does not make the caller wait. EBADF for a descriptor that was opened with `O_PATH`, which
/// is no reference to the file: it would answer for whatever the memory is of next.
int CLinuxHeaps_identity(int file, uint64_t *_Nonnull device, uint64_t *_Nonnull inode);

/// Blocks SIGTERM, SIGINT and SIGHUP in this thread and those that it starts; a descriptor that is
/// readable when one has come (signalfd(2), whose struct Swift cannot see).
int CLinuxHeaps_signals(void);

/// The number of the next signal that waits, 0 for none.
int CLinuxHeaps_next_signal(int signals);

/// `BPF_PROG_LOAD` (bpf(2)) of a tracing program, close-on-exec, for `place`, a `CLinuxHeaps_BPF_TRACE_*`, of the
/// function that has this number in the BTF of the kernel. `log` takes the verifier's words, where it has a capacity;
/// ENOSPC where they are longer.
int CLinuxHeaps_bpf_load(const void *_Nonnull instructions, uint32_t count, uint32_t place, uint32_t function,
                         const char *_Nonnull license, char *_Nullable log, uint32_t capacity);
extern const uint32_t CLinuxHeaps_BPF_TRACE_FEXIT;
extern const uint32_t CLinuxHeaps_BPF_TRACE_ITER;

/// `BPF_LINK_CREATE` (bpf(2)) of such a program, close-on-exec; of one for an iterator, with all that it iterates over.
int CLinuxHeaps_bpf_link(int program, uint32_t place);

/// `BPF_ITER_CREATE` (bpf(2)): a file, close-on-exec, whose reading runs the program of a link.
int CLinuxHeaps_bpf_iterate(int link);

/// `BPF_MAP_CREATE` (bpf(2)) of an array of one value, zeroed, close-on-exec, which mmap(2) shares with programs.
int CLinuxHeaps_bpf_shared_value(uint32_t size);

/// `BPF_MAP_CREATE` (bpf(2)) of a ring buffer, close-on-exec; `size` is a power of two and whole pages.
int CLinuxHeaps_bpf_ring(uint32_t size);

/// How often the kernel did not run a program, because it was running already on that processor
/// (`bpf_prog_info.recursion_misses`, Linux 5.12).
int CLinuxHeaps_bpf_missed(int program, uint64_t *_Nonnull count);

/// Gives up CAP_BPF and CAP_PERFMON (capabilities(7)) for good: of the calling thread, so before there are others.
int CLinuxHeaps_drop_bpf_capabilities(void);

/// The program's arguments as main got them, without /proc, the first `count` of the array; NULL where the C library does not
/// tell (musl).
char *_Nonnull *_Nullable CLinuxHeaps_arguments(int *_Nonnull count);

/// `pthread_setname_np(3)`, hidden behind `_GNU_SOURCE`, for the calling thread; at most 15 bytes.
void CLinuxHeaps_name_this_thread(const char *_Nonnull name);

/// Has a thread of its own, detached, run `run(argument)`, and returns 0, or the error of pthread_create(3).
int CLinuxHeaps_start_thread(void *_Nullable (*_Nonnull run)(void *_Nullable), void *_Nonnull argument);

/// `pthread_self(3)` to compare; of a thread that ended another one may have it.
uintptr_t CLinuxHeaps_this_thread(void);

/// How many forks are between this process and the one that called this first. What was made under another number is a parent's: its
/// threads are not here, and its locks may be held by them for ever.
unsigned CLinuxHeaps_fork_count(void);

/// Has each large block of malloc(3) mapped, and unmapped when it is freed. glibc raises the size from which it does so with
/// each such block that is freed (mallopt(3), `M_MMAP_THRESHOLD`): what arrays leave behind as they grow would stay.
void CLinuxHeaps_unmap_large_memory(void);

/// Tells ThreadSanitizer that `lock` was taken, or is about to be given up; nothing in other builds.
/// It does not see through `Synchronization.Mutex` on Linux and would report races that are none.
static inline void CLinuxHeaps_lock_acquired(void *_Nonnull lock) {
    extern void __tsan_acquire(void *) __attribute__((weak));
    if (__tsan_acquire) __tsan_acquire(lock);
}
static inline void CLinuxHeaps_lock_released(void *_Nonnull lock) {
    extern void __tsan_release(void *) __attribute__((weak));
    if (__tsan_release) __tsan_release(lock);
}

#endif
#endif

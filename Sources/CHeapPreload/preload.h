#ifndef C_HEAP_PRELOAD_H
#define C_HEAP_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// liblinuxheaps-preload.so: programs that open /dev/dma_heap/NAME get their buffers from heapd.
//
// It is loaded into programs that know nothing of it, and into each that they start. So it is in C and needs the C library
// alone: loading it costs no Swift runtime. It has no thread, no lock, and nothing that a fork, an exec, a signal or a close of
// somebody else's descriptor could leave half changed. A call is made as it is, and answered here only where it failed.

#define EXPORT __attribute__((visibility("default")))

/// The function of this name that would be called without this library, found before `main`.
struct next {
    const char *name;
    void *function;
};

#define WRAPS(function) \
    static struct next next_##function __attribute__((section("nexts"), used)) = {#function, NULL}
#define NEXT(function) ((__typeof__(&function))find_next(&next_##function))

/// Also before `main`, where another library's constructor opens files.
void *find_next(struct next *next);

/// close(2), but no point at which a thread is ended: what is cancelled there stays open, and ioctl(2) and stat(2) are no such points.
static inline void drop(int file) { syscall(SYS_close, file); }

/// Whether the kernel could read 8 bytes there.
bool is_readable(const void *address);

/// The 8 bytes around a byte, which are in one page.
static inline const void *around(const void *byte) { return (const void *)((uintptr_t)byte & ~(uintptr_t)7); }

enum {
    /// Of a heap's name: `heap_type` has 128 bytes, and begins with the folder.
    LONGEST_NAME = 128 - 14,
};

#define HEAP_FOLDER "/dev/dma_heap"

// Names and nodes

enum place { ELSEWHERE, THE_FOLDER, A_HEAP };

/// What a path is, by its text alone. `folder` is openat(2)'s; `name` is the heap's where it is one.
enum place place_of(int folder, const char *path, char name[LONGEST_NAME + 1]);

/// The same of what a path leads to, where that can be found: through links, and through `..`.
enum place place_behind(int folder, const char *path, char name[LONGEST_NAME + 1]);

/// The same of an open file.
enum place place_of_file(int file, char name[LONGEST_NAME + 1]);

/// Whether a call that failed like this may have failed because a node is closed or not there.
bool means_no_node(int error);

/// A descriptor that stands for a heap's node, or -1 with `errno`: what a program has opened. `flags` are open(2)'s.
///
/// It is a memfd that says so itself, sealed so that nobody can change what it says: whatever it is copied to, by dup, fork,
/// exec or a socket, it stays one, and a number that is used anew is none. Where nothing may be written (`RLIMIT_FSIZE`) its name says it.
int open_node(const char *name, int flags);

/// Whether a descriptor is such a node, and of which heap.
bool is_node(int file, char name[LONGEST_NAME + 1]);

/// What stat(2) tells of the heap's node, or would, were it there.
void tell_node(const char *name, struct stat *status);

// The service

/// Whether nodes are not to be opened even where they may be.
bool is_always(void);

/// The names of the heaps that the service has, one after the other, each with its NUL, and an empty one at their end. False, with
/// `names` empty, where there is no service, or it has none; `errno` is EMFILE or ENFILE then where no descriptor was to be had for
/// the question, or ENODEV.
bool ask_for_heaps(char *names, size_t size);

/// Whether the service has this heap; for the folder itself, whether it has any. Where not, `errno` is that of ask_for_heaps(), or ENOENT where
/// it has others.
bool is_served(enum place place, const char *name);

/// After a call that failed, with its `errno`, which is kept: what the service has in the place of what the path names, or ELSEWHERE.
enum place place_served(int folder, const char *path, char name[LONGEST_NAME + 1]);

/// A new buffer of a heap: its descriptor, close-on-exec, or a negative errno.
int ask_for_buffer(const char *name, uint64_t size);

#endif

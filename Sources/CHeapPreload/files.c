#include "preload.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// The functions that this library is called for in place of others

// The linker's names for the ends of the section.
extern struct next __start_nexts[], __stop_nexts[];

void *find_next(struct next *next) {
    // A handle that has the function: the library is not there without one.
    if (!next->function) next->function = dlsym(RTLD_NEXT, next->name);
    return next->function;
}

/// What may be called in a signal handler cannot ask the dynamic linker.
__attribute__((constructor)) static void find_all(void) {
    int error = errno;
    for (struct next *next = __start_nexts; next < __stop_nexts; next++) find_next(next);
    errno = error;
}

// open

enum { NOT_OURS = -2 };

/// In place of a node that is not to be used.
static int open_served(const char *name, int flags) {
    if (is_served(A_HEAP, name)) return open_node(name, flags);
    if (errno == ENODEV) errno = EACCES;
    return -1;
}

/// Before the call. NOT_OURS: it is to be made.
static int open_before(int folder, const char *path, int flags) {
    char name[LONGEST_NAME + 1];
    int error = errno;
    bool is_ours = is_always() && !(flags & O_PATH) && is_readable(around(path)) && place_of(folder, path, name) == A_HEAP;
    errno = error;
    return is_ours ? open_served(name, flags) : NOT_OURS;
}

/// After a call that succeeded: a link, or a path with `..`, may have led to a node.
static int open_instead(int file, int flags) {
    char name[LONGEST_NAME + 1];
    struct stat status;
    if (!is_always() || flags & O_PATH) return file;
    int error = errno;
    if (fstat(file, &status) == 0 && S_ISCHR(status.st_mode) && place_of_file(file, name) == A_HEAP) {
        drop(file);
        return open_served(name, flags);
    }
    errno = error;
    return file;
}

/// After a call that failed, with its `errno`.
static int open_after(int folder, const char *path, int flags) {
    char name[LONGEST_NAME + 1];
    int error = errno;
    if (!means_no_node(error) || flags & O_PATH) return -1;
    enum place place = place_of(folder, path, name);
    // A link, such as those of /dev/dma_heap-by-role.
    if (place == ELSEWHERE && (error == EACCES || error == EPERM)) place = place_behind(folder, path, name);
    if (place == A_HEAP && is_served(place, name)) return open_node(name, flags);
    bool is_full = place == A_HEAP && (errno == EMFILE || errno == ENFILE);
    if (!is_full) errno = error;
    return -1;
}

#define OPENED(folder, call)                                                         \
    int file = open_before(folder, path, flags);                                     \
    if (file != NOT_OURS) return file;                                               \
    file = call;                                                                     \
    return file >= 0 ? open_instead(file, flags) : open_after(folder, path, flags)

/// open(2)'s last argument, which is there where a file may be made.
#define MODE_OF(flags)                                                 \
    mode_t mode = 0;                                                   \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {         \
        va_list arguments;                                             \
        va_start(arguments, flags);                                    \
        mode = va_arg(arguments, mode_t);                              \
        va_end(arguments);                                             \
    }

#define WRAP_OPEN(function)                                  \
    WRAPS(function);                                         \
    EXPORT int function(const char *path, int flags, ...) {  \
        MODE_OF(flags)                                       \
        OPENED(AT_FDCWD, NEXT(function)(path, flags, mode)); \
    }
#define WRAP_OPENAT(function)                                           \
    WRAPS(function);                                                    \
    EXPORT int function(int folder, const char *path, int flags, ...) { \
        MODE_OF(flags)                                                  \
        OPENED(folder, NEXT(function)(folder, path, flags, mode));      \
    }
// What programs call that were compiled with _FORTIFY_SOURCE.
#define WRAP_OPEN_2(function)                         \
    EXPORT int function(const char *path, int flags); \
    WRAPS(function);                                  \
    EXPORT int function(const char *path, int flags) { OPENED(AT_FDCWD, NEXT(function)(path, flags)); }
#define WRAP_OPENAT_2(function)                                   \
    EXPORT int function(int folder, const char *path, int flags); \
    WRAPS(function);                                              \
    EXPORT int function(int folder, const char *path, int flags) { OPENED(folder, NEXT(function)(folder, path, flags)); }

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)
WRAP_OPEN_2(__open_2)
WRAP_OPEN_2(__open64_2)
WRAP_OPENAT_2(__openat_2)
WRAP_OPENAT_2(__openat64_2)

// access

static int access_after(int folder, const char *path, int mode) {
    char name[LONGEST_NAME + 1];
    enum place place = place_served(folder, path, name);
    if (place == ELSEWHERE) return -1;
    // Nodes are not run, and in their folder nothing is made.
    if ((mode & (place == A_HEAP ? X_OK : W_OK)) == 0) return 0;
    errno = EACCES;
    return -1;
}

#define WRAP_ACCESS(function)                                                                       \
    WRAPS(function);                                                                                \
    EXPORT int function(const char *path, int mode) {                                               \
        return NEXT(function)(path, mode) == 0 ? 0 : access_after(AT_FDCWD, path, mode);            \
    }

WRAP_ACCESS(access)
WRAP_ACCESS(eaccess)
WRAP_ACCESS(euidaccess)

WRAPS(faccessat);
EXPORT int faccessat(int folder, const char *path, int mode, int flags) {
    return NEXT(faccessat)(folder, path, mode, flags) == 0 ? 0 : access_after(folder, path, mode);
}

// ioctl

// The kernel reads the mask before it looks what is to be done with it (rt_sigprocmask, kernel/signal.c); NULL would be none.
bool is_readable(const void *address) {
    return address && (syscall(SYS_rt_sigprocmask, ~0, address, NULL, 8) == 0 || errno != EFAULT);
}

/// Whether it could write 8 bytes there, which are lost.
static bool is_writable(void *address) { return syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, address, 8) == 0; }

/// DMA_HEAP_IOCTL_ALLOC as drivers/dma-buf/dma-heap.c has it, by structs of any size; a negative errno where it fails.
static int allocate(const char *name, unsigned request, char *argument) {
    struct dma_heap_allocation_data data = {0};
    size_t size = _IOC_SIZE(request), in = request & IOC_IN ? size : 0, out = request & IOC_OUT ? size : 0;
    if (in > 0 && (!is_readable(argument) || (in > 8 && !is_readable(argument + in - 8)))) return -EFAULT;
    memcpy(&data, argument, in < sizeof data ? in : sizeof data);
    uint64_t page = getauxval(AT_PAGESZ);
    uint64_t length = (data.len + page - 1) / page * page;
    if (data.fd || data.fd_flags & ~DMA_HEAP_VALID_FD_FLAGS || data.heap_flags & ~DMA_HEAP_VALID_HEAP_FLAGS || length == 0) {
        return -EINVAL;
    }
    int buffer = ask_for_buffer(name, length);
    if (buffer < 0) return buffer;
    // Of what is written back nothing but the descriptor has changed, and a struct that ends before it does not tell it.
    enum { BEFORE = offsetof(struct dma_heap_allocation_data, fd), AFTER = BEFORE + sizeof data.fd };
    data.fd = (uint32_t)buffer;
    if (out >= AFTER) {
        // With the last bytes of the length, which are as they were.
        char *place = argument + AFTER - 8;
        if (!is_writable(place)) {
            drop(buffer);
            return -EFAULT;
        }
        memcpy(place, (char *)&data + AFTER - 8, 8);
    } else if (out > BEFORE) {
        memcpy(argument + BEFORE, &data.fd, out - BEFORE);
    }
    if (!(data.fd_flags & O_CLOEXEC)) fcntl(buffer, F_SETFD, 0);
    return 0;
}

/// A memfd that a service has given out where the machine has no heaps.
static bool is_memfd_of_service(int file) {
    char path[32], name[16] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return readlink(path, name, sizeof name - 1) >= 11 && strncmp(name, "/memfd:lh:", 10) == 0;
}

static int check_sync(const char *argument) {
    if (!is_readable(argument)) return -EFAULT;
    uint64_t flags;
    memcpy(&flags, argument, sizeof flags);
    return flags & ~(uint64_t)DMA_BUF_SYNC_VALID_FLAGS_MASK || !(flags & DMA_BUF_SYNC_RW) ? -EINVAL : 0;
}

static int check_name(const char *name) {
    for (size_t at = 0; at < DMA_BUF_NAME_LEN; at++) {
        if (!is_readable(around(name + at))) return -EFAULT;
        if (name[at] == 0) return 0;
    }
    return -EINVAL;
}

/// What a memfd does in place of a dma-buf: where there is nothing to be done, or it has a name for life, that succeeds. Of others, and
/// of what it cannot do, it stays what no dma-buf can do.
static int answer_for_memfd(int file, unsigned request, const char *argument) {
    switch (request) {
    case DMA_BUF_IOCTL_SYNC: return is_memfd_of_service(file) ? check_sync(argument) : -ENOTTY;
    case DMA_BUF_SET_NAME_A:
    case DMA_BUF_SET_NAME_B: return is_memfd_of_service(file) ? check_name(argument) : -ENOTTY;
    default: return -ENOTTY;
    }
}

WRAPS(ioctl);
EXPORT int ioctl(int file, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    char *argument = va_arg(arguments, char *);
    va_end(arguments);
    int result = NEXT(ioctl)(file, request, argument);
    // What a memfd says to all that is no file's; programs ask it of terminals, and of nothing else often.
    if (result != -1 || errno != ENOTTY) return result;
    char name[LONGEST_NAME + 1];
    int error;
    if (is_node(file, name)) {
        // A heap's node looks at the number alone.
        error = _IOC_NR(request) == 0 ? -allocate(name, (unsigned)request, argument) : EINVAL;
    } else {
        error = -answer_for_memfd(file, (unsigned)request, argument);
    }
    if (error == 0) return 0;
    errno = error;
    return -1;
}

// user HEAP: a program that allocates from /dev/dma_heap/HEAP in all the ways that programs do. It knows the kernel alone: what it
// expects is what a node does, and it says the same of one as of heapd through liblinuxheaps-preload.so. A line for each check.
// Status 1: one failed. In the environment FOLDER_IS_CLOSED says that its folder cannot be opened here, and MEMORY_IS_CHECKED that a
// request above all memory is refused: a node takes page after page for it until the machine has none.
//
// user HEAP ask: allocates and keeps a page for each line of standard input, and answers with `ok` or what went wrong.
// user HEAP nested: allocates beside a child that has the same number in a namespace of its own, as the first process of one.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern int __open_2(const char *, int), __open64_2(const char *, int);
extern int __openat_2(int, const char *, int), __openat64_2(int, const char *, int);
// Of programs that were built before glibc 2.33; the version is x86-64's.
extern int __xstat(int, const char *, struct stat *), __fxstat(int, int, struct stat *);

static bool failed;
static size_t page;
static const char *name;
static char path[256];

static void check(bool passed, const char *what) {
    printf("%s  %s\n", passed ? "pass" : "FAIL", what);
    failed |= !passed;
}

/// The errno of a call that has to fail; 0 where it does not.
static int error_of(int result) {
    int error = errno;
    if (result >= 0 && result > 2) close(result);
    return result < 0 ? error : 0;
}

static int allocate(int heap, uint64_t length, uint32_t flags) {
    struct dma_heap_allocation_data data = {.len = length, .fd_flags = flags};
    return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) == 0 ? (int)data.fd : -1;
}

static ino_t identity(int file) {
    struct stat status;
    return fstat(file, &status) == 0 ? status.st_ino : 0;
}

/// Whether an error is that of a heap that is not there, as far as a closed folder tells.
static bool is_absence(int error) { return error == ENOENT || (error == EACCES && getenv("FOLDER_IS_CLOSED")); }

/// Zeroed, written and read back, and closed.
static bool is_good(int buffer, size_t length) {
    if (buffer < 0 || lseek(buffer, 0, SEEK_END) != (off_t)length) return false;
    unsigned char *bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, buffer, 0);
    if (bytes == MAP_FAILED) return false;
    struct dma_buf_sync begin = {DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW}, end = {DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW};
    bool good = ioctl(buffer, DMA_BUF_IOCTL_SYNC, &begin) == 0;
    for (size_t at = 0; at < length; at += 512) good &= bytes[at] == 0;
    memset(bytes, 0x5a, length);
    good &= bytes[length - 1] == 0x5a;
    good &= ioctl(buffer, DMA_BUF_IOCTL_SYNC, &end) == 0;
    munmap(bytes, length);
    close(buffer);
    return good;
}

static bool serves(int heap) {
    bool good = is_good(allocate(heap, 2 * page, O_RDWR | O_CLOEXEC), 2 * page);
    close(heap);
    return good;
}

// The folder and the node

static void look(void) {
    struct stat status;
    struct stat64 status64;
    struct statx extended;
    DIR *folder = opendir("/dev/dma_heap");
    int listed = 0, again = 0;
    struct dirent *entry;
    if (folder) {
        while ((entry = readdir(folder))) listed += strcmp(entry->d_name, name) == 0;
        rewinddir(folder);
        while ((entry = readdir(folder))) again += strcmp(entry->d_name, name) == 0;
        closedir(folder);
    }
    check(listed == 1 && again == 1, "readdir lists the heap, and lists it again");
    check(stat("/dev/dma_heap", &status) == 0 && S_ISDIR(status.st_mode), "the folder is one");
    check(stat(path, &status) == 0 && S_ISCHR(status.st_mode), "stat");
    check(lstat(path, &status) == 0 && S_ISCHR(status.st_mode), "lstat");
    check(stat64(path, &status64) == 0 && S_ISCHR(status64.st_mode), "stat64");
    check(fstatat(AT_FDCWD, path, &status, 0) == 0 && S_ISCHR(status.st_mode), "fstatat");
    check(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &extended) == 0 && S_ISCHR(extended.stx_mode), "statx");
    check(access(path, F_OK) == 0 && access(path, R_OK | W_OK) == 0, "access");
    check(faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0, "faccessat");
    check(error_of(access(path, X_OK)) == EACCES, "access: a node is not run");
    check(is_absence(error_of(access("/dev/dma_heap/no-such-heap", F_OK))), "access: no such heap");
    check(is_absence(error_of(stat("/dev/dma_heap/no-such-heap", &status))), "stat: no such heap");
}

static void open_it(void) {
    struct stat of_path, of_file;
    struct statx extended;
    volatile int flags = O_RDWR | O_CLOEXEC;
    check(serves(open(path, O_RDONLY | O_CLOEXEC)), "open, to read");
    check(serves(open(path, O_WRONLY)), "open, to write");
    check(serves(open64(path, O_RDWR)), "open64");
    check(serves(openat(AT_FDCWD, path, O_RDWR)), "openat");
    check(serves(openat64(AT_FDCWD, path, O_RDWR)), "openat64");
    check(serves(__open_2(path, flags)), "__open_2");
    check(serves(__open64_2(path, flags)), "__open64_2");
    check(serves(__openat_2(AT_FDCWD, path, flags)), "__openat_2");
    check(serves(__openat64_2(AT_FDCWD, path, flags)), "__openat64_2");
    char odd[300];
    snprintf(odd, sizeof odd, "//dev/./dma_heap//%s", name);
    check(serves(open(odd, O_RDWR)), "open, by an odd spelling");
    if (!getenv("FOLDER_IS_CLOSED")) {
        int folder = open("/dev/dma_heap", O_RDONLY | O_DIRECTORY | O_CLOEXEC), before = open(".", O_RDONLY | O_DIRECTORY);
        bool good = serves(openat(folder, name, O_RDWR)) && fchdir(folder) == 0 && serves(open(name, O_RDWR));
        snprintf(odd, sizeof odd, "./%s", name);
        good = good && serves(open(odd, O_RDWR));
        snprintf(odd, sizeof odd, "../dma_heap/%s", name);
        good = good && serves(open(odd, O_RDWR));
        snprintf(odd, sizeof odd, "/tmp/link-to-a-heap.%d", (int)getpid());
        good = good && symlink(path, odd) == 0 && serves(open(odd, O_RDWR)) && unlink(odd) == 0;
        check(good && fchdir(before) == 0, "openat in the folder, open in it, through .., through a link");
        close(folder);
        close(before);
    } else {
        check(true, "openat in the folder, open in it, through .., through a link");
    }
    int heap = open(path, O_RDWR);
    check(!(fcntl(heap, F_GETFD) & FD_CLOEXEC), "open without O_CLOEXEC");
    check(stat(path, &of_path) == 0 && fstat(heap, &of_file) == 0 && S_ISCHR(of_file.st_mode) &&
              of_file.st_rdev == of_path.st_rdev && of_file.st_mode == of_path.st_mode,
          "fstat is as stat");
#ifdef __x86_64__
    check(__xstat(1, path, &of_path) == 0 && __fxstat(1, heap, &of_file) == 0 && S_ISCHR(of_path.st_mode) && S_ISCHR(of_file.st_mode),
          "stat and fstat of an old program");
#endif
    check(fstatat(heap, "", &of_file, AT_EMPTY_PATH) == 0 && S_ISCHR(of_file.st_mode), "fstatat of the descriptor");
    check(statx(heap, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended) == 0 && S_ISCHR(extended.stx_mode),
          "statx of the descriptor");
    close(heap);
    heap = open(path, O_RDWR | O_CLOEXEC);
    check(fcntl(heap, F_GETFD) & FD_CLOEXEC, "open with O_CLOEXEC");
    close(heap);
    check(error_of(open(path, O_RDWR | O_DIRECTORY)) == ENOTDIR, "open as a folder");
    check(error_of(open(path, O_RDWR | O_CREAT | O_EXCL, 0600)) == EEXIST, "open as a new file");
    check(is_absence(error_of(open("/dev/dma_heap/no-such-heap", O_RDWR))), "open: no such heap");
    check(error_of(open("/dev/dma_heap/system/x", O_RDWR)) != 0, "open: below a heap");
    check(error_of(open("/no/such/file", O_RDONLY)) == ENOENT, "open: no such file");
    const char *volatile nowhere = (const char *)16, *volatile none = NULL;
    check(error_of(open(nowhere, O_RDONLY)) == EFAULT, "open: a path at no address");
    heap = open(path, O_RDWR | O_CLOEXEC);
    // NULL is an empty path since Linux 6.11.
    int result = statx(heap, none, AT_EMPTY_PATH, STATX_BASIC_STATS, &extended);
    check(result == 0 ? S_ISCHR(extended.stx_mode) : errno == EFAULT, "statx of the descriptor, without a path");
    close(heap);
}

static void limit(int resource, rlim_t most) {
    struct rlimit limit;
    getrlimit(resource, &limit);
    limit.rlim_cur = most;
    setrlimit(resource, &limit);
}

static void open_within_limits(int heap) {
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    for (rlim_t most = 0; most < 100; most += 99) {
        limit(RLIMIT_FSIZE, most);
        int other = open(path, O_RDWR | O_CLOEXEC);
        limit(RLIMIT_FSIZE, before.rlim_cur);
        check(serves(other), most ? "open, where 99 bytes may be written" : "open, where nothing may be written");
    }
    getrlimit(RLIMIT_NOFILE, &before);
    int next = dup(heap);
    close(next);
    limit(RLIMIT_NOFILE, (rlim_t)next);
    int refused = error_of(allocate(heap, page, O_RDWR | O_CLOEXEC)), closed = error_of(open(path, O_RDWR | O_CLOEXEC));
    limit(RLIMIT_NOFILE, before.rlim_cur);
    check(refused == EMFILE, "ioctl: no descriptor is left");
    check(closed == EMFILE, "open: no descriptor is left");
    check(is_good(allocate(heap, page, O_RDWR | O_CLOEXEC), page), "and when there is one again");
}

// The request

static void ask_oddly(int heap) {
    struct dma_heap_allocation_data data;
#define REFUSED(expected, what, ...)                                                     \
    data = (struct dma_heap_allocation_data){__VA_ARGS__};                               \
    check(error_of(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data)) == (expected), "ioctl: " what)
    REFUSED(EINVAL, "no bytes", .len = 0, .fd_flags = O_RDWR);
    REFUSED(EINVAL, "more than can be rounded", .len = UINT64_MAX, .fd_flags = O_RDWR);
    if (getenv("MEMORY_IS_CHECKED")) {
        REFUSED(ENOMEM, "more than there is", .len = 1ull << 50, .fd_flags = O_RDWR);
    }
    REFUSED(EINVAL, "a descriptor", .len = page, .fd = 1, .fd_flags = O_RDWR);
    REFUSED(EINVAL, "unknown flags of the descriptor", .len = page, .fd_flags = O_RDWR | O_NONBLOCK);
    REFUSED(EINVAL, "unknown flags of the heap", .len = page, .fd_flags = O_RDWR, .heap_flags = 1);
    check(error_of(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, NULL)) == EFAULT, "ioctl: no struct");
    check(error_of(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, (void *)16)) == EFAULT, "ioctl: a struct at no address");
    check(error_of(ioctl(heap, _IOWR('H', 1, struct dma_heap_allocation_data), &data)) == EINVAL, "ioctl: another number");
    check(error_of(ioctl(heap, TIOCGWINSZ, &data)) == EINVAL, "ioctl: of a terminal");
    int other = open("/dev/null", O_RDWR | O_CLOEXEC);
    check(error_of(ioctl(other, DMA_HEAP_IOCTL_ALLOC, &data)) == ENOTTY, "ioctl: another device");
    close(other);
    check(error_of(ioctl(-1, DMA_HEAP_IOCTL_ALLOC, &data)) == EBADF, "ioctl: no descriptor");
    int memfd = memfd_create("other", MFD_CLOEXEC);
    struct dma_buf_sync sync = {DMA_BUF_SYNC_RW};
    check(error_of(ioctl(memfd, DMA_BUF_IOCTL_SYNC, &sync)) == ENOTTY, "ioctl: another memfd is no buffer");
    check(error_of(ioctl(memfd, DMA_BUF_SET_NAME, "other")) == ENOTTY, "ioctl: another memfd is not named");
    close(memfd);
    memfd = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool sealed = ftruncate(memfd, 4096) == 0 &&
                  fcntl(memfd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0;
    check(sealed && error_of(ioctl(memfd, DMA_HEAP_IOCTL_ALLOC, &data)) == ENOTTY, "ioctl: another memfd is no node");
    close(memfd);

    struct {
        uint64_t length;
        uint32_t file, flags;
    } shorter = {2 * page, 0, O_RDWR | O_CLOEXEC};
    bool good = ioctl(heap, _IOWR('H', 0, __typeof__(shorter)), &shorter) == 0;
    check(good && is_good((int)shorter.file, 2 * page), "ioctl: a shorter struct");
    struct __attribute__((packed)) {
        uint64_t length;
        uint32_t file;
        char more[4];
    } shortest = {.length = 2 * page, .more = "abc"};
    good = ioctl(heap, _IOC(_IOC_READ | _IOC_WRITE, 'H', 0, 12), &shortest) == 0;
    check(good && lseek((int)shortest.file, 0, SEEK_END) == (off_t)(2 * page) && strcmp(shortest.more, "abc") == 0 &&
              shortest.length == 2 * page,
          "ioctl: a struct that ends with the descriptor");
    close((int)shortest.file);
    struct {
        struct dma_heap_allocation_data known;
        uint64_t more[3];
    } longer = {.known = {.len = 2 * page, .fd_flags = O_RDWR | O_CLOEXEC}, .more = {1, 2, 3}};
    good = ioctl(heap, _IOWR('H', 0, __typeof__(longer)), &longer) == 0;
    check(good && longer.more[2] == 3 && is_good((int)longer.known.fd, 2 * page), "ioctl: a longer struct");

    int buffer = allocate(heap, 1, O_RDWR | O_CLOEXEC);
    check(fcntl(buffer, F_GETFD) & FD_CLOEXEC, "a buffer with O_CLOEXEC");
    check(is_good(buffer, page), "one byte is a page");
    buffer = allocate(heap, page, O_RDWR);
    check(buffer >= 0 && !(fcntl(buffer, F_GETFD) & FD_CLOEXEC), "a buffer without O_CLOEXEC");
    close(buffer);
    check(is_good(allocate(heap, 3 << 20, O_RDWR | O_CLOEXEC), 3 << 20), "3 MiB");
}

// Copies of the descriptor

static void copy(int heap) {
    int copied = dup(heap), moved = fcntl(heap, F_DUPFD_CLOEXEC, 200);
    close(heap);
    check(serves(copied), "dup, and the first is closed");
    check(serves(moved), "F_DUPFD_CLOEXEC");
    int other = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct dma_heap_allocation_data data = {.len = page, .fd_flags = O_RDWR};
    dup2(other, heap);
    check(error_of(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data)) == ENOTTY, "the number is another file's now");
    close(heap);
    close(other);
}

static int finish(pid_t child) {
    int status;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool allocate_many(int heap, int count) {
    for (int at = 0; at < count; at++) {
        size_t length = page * (1 + (size_t)at % 3);
        if (!is_good(allocate(heap, length, O_RDWR | O_CLOEXEC), length)) return false;
    }
    return true;
}

static void fork_it(int heap) {
    // What was asked before is there in the child, too.
    bool good = allocate_many(heap, 1);
    pid_t children[3];
    for (int at = 0; at < 3; at++) {
        children[at] = fork();
        if (children[at] == 0) _exit(!allocate_many(heap, 40));
    }
    good &= allocate_many(heap, 40);
    for (int at = 0; at < 3; at++) good &= finish(children[at]) == 0;
    check(good, "fork: four processes at once");
}

static void *work(void *heap) { return allocate_many(*(int *)heap, 40) ? heap : NULL; }

static void thread_it(int heap) {
    pthread_t threads[8];
    bool good = true;
    for (int at = 0; at < 8; at++) good &= pthread_create(&threads[at], NULL, work, &heap) == 0;
    // A child of a process with threads, while they ask.
    pid_t child = fork();
    if (child == 0) _exit(!allocate_many(heap, 10));
    good &= finish(child) == 0;
    for (int at = 0; at < 8; at++) {
        void *result;
        good &= pthread_join(threads[at], &result) == 0 && result;
    }
    check(good, "eight threads at once, and a fork among them");
}

static void *work_cancelled(void *heap) {
    struct stat status;
    pthread_cancel(pthread_self());
    int buffer = allocate(*(int *)heap, page, O_RDWR | O_CLOEXEC);
    bool good = buffer >= 0 && fstat(*(int *)heap, &status) == 0 && S_ISCHR(status.st_mode);
    *(int *)heap = good ? buffer : -1;
    pthread_testcancel();
    return NULL;
}

static void cancel_it(int heap) {
    pthread_t thread;
    void *result = NULL;
    int buffer = heap;
    bool good = pthread_create(&thread, NULL, work_cancelled, &buffer) == 0 && pthread_join(thread, &result) == 0;
    check(good && result == PTHREAD_CANCELED && is_good(buffer, page), "ioctl and fstat are no points at which a thread is cancelled");
}

/// The first process of a namespace has a child that is the first of another.
static int nest(int heap) {
    bool good = getpid() == 1 && allocate_many(heap, 1) && unshare(CLONE_NEWPID) == 0;
    pid_t child = good ? fork() : -1;
    if (child == 0) _exit(getpid() != 1 || !allocate_many(heap, 100));
    good = good && allocate_many(heap, 100) && finish(child) == 0;
    check(good, "two processes of one number");
    return failed;
}

static void exec_it(int heap, char *program) {
    char number[12];
    int closed = open(path, O_RDWR | O_CLOEXEC);
    pid_t child = fork();
    if (child == 0) {
        snprintf(number, sizeof number, "%d", dup(heap));
        char closed_number[12];
        snprintf(closed_number, sizeof closed_number, "%d", closed);
        execl(program, program, "--inherited", number, closed_number, NULL);
        _exit(99);
    }
    check(finish(child) == 0, "exec: the node is inherited, and not with O_CLOEXEC");
    close(closed);
}

static void pass_it(int heap) {
    int sockets[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets);
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), &heap, sizeof heap);
    char byte = 0;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    bool good = sendmsg(sockets[0], &message, 0) == 1;
    message.msg_controllen = sizeof control.bytes;
    good &= recvmsg(sockets[1], &message, MSG_CMSG_CLOEXEC) == 1;
    int received;
    memcpy(&received, CMSG_DATA(&control.header), sizeof received);
    check(good && serves(received), "a node out of a socket");
    close(sockets[0]);
    close(sockets[1]);
}

static int in_handler = -1;

static void handle(int signal) {
    (void)signal;
    int error = errno;
    int heap = open(path, O_RDWR | O_CLOEXEC);
    in_handler = allocate(heap, page, O_RDWR | O_CLOEXEC);
    close(heap);
    errno = error;
}

static void interrupt(void) {
    signal(SIGUSR1, handle);
    // Who started this program may block it.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
    raise(SIGUSR1);
    check(is_good(in_handler, page), "a signal handler opens and allocates");
}

static void close_all(void) {
    // As a daemon does, which does not know what it has inherited.
    int heap = open(path, O_RDWR | O_CLOEXEC);
    bool good = allocate_many(heap, 1);
    fflush(stdout);
    syscall(SYS_close_range, 3u, ~0u, 0u);
    // Other files have those numbers now.
    int files[600], count = 0;
    while (count < 600 && (files[count] = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0) count++;
    heap = open(path, O_RDWR | O_CLOEXEC);
    good &= allocate_many(heap, 2);
    struct stat null, status;
    good &= stat("/dev/null", &null) == 0;
    for (int at = 0; at < count; at++) good &= fstat(files[at], &status) == 0 && status.st_rdev == null.st_rdev;
    check(good, "every descriptor is closed, and its number used anew");
    for (int at = 0; at < count; at++) close(files[at]);
    close(heap);
}

/// What a program says to a buffer, other than what is_good() says.
static void ask_buffer(int heap) {
    int buffer = allocate(heap, page, O_RDWR | O_CLOEXEC);
    check(ioctl(buffer, DMA_BUF_SET_NAME, "frame-0") == 0, "a buffer is named");
    check(ioctl(buffer, DMA_BUF_SET_NAME_A, "0123456789012345678901234567890") == 0, "by 31 letters and the older number");
    check(error_of(ioctl(buffer, DMA_BUF_SET_NAME, "01234567890123456789012345678901")) == EINVAL, "by 32");
    check(error_of(ioctl(buffer, DMA_BUF_SET_NAME, NULL)) == EFAULT, "by none");
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *end = pages + page;
    munmap(end, page);
    memcpy(end - 3, "ab", 3);
    check(ioctl(buffer, DMA_BUF_SET_NAME, end - 3) == 0, "by one at the end of memory");
    end[-1] = 'c';
    check(error_of(ioctl(buffer, DMA_BUF_SET_NAME, end - 3)) == EFAULT, "by one that goes on beyond it");
    munmap(pages, page);
    check(error_of(ioctl(buffer, DMA_BUF_IOCTL_SYNC, NULL)) == EFAULT, "an access of no struct");
    check(error_of(ioctl(buffer, DMA_BUF_IOCTL_SYNC, &(struct dma_buf_sync){DMA_BUF_SYNC_START})) == EINVAL, "an access of none");
    check(error_of(ioctl(buffer, _IO('b', 200))) == ENOTTY, "a number that no buffer has");
    close(buffer);
}

static int sockets(void) {
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    struct stat status;
    int count = 0;
    while ((entry = readdir(folder))) count += fstat(atoi(entry->d_name), &status) == 0 && S_ISSOCK(status.st_mode);
    closedir(folder);
    return count;
}

static void live(void) {
    int heap = open(path, O_RDWR | O_CLOEXEC);
    int first = allocate(heap, page, O_RDWR | O_CLOEXEC), second = allocate(heap, page, O_RDWR | O_CLOEXEC);
    check(first >= 0 && second >= 0 && identity(first) != identity(second), "two buffers are two");
    unsigned char *bytes = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, first, 0);
    int copied = dup(first);
    close(first);
    close(heap);
    bool good = bytes != MAP_FAILED;
    if (good) bytes[7] = 7;
    pid_t child = fork();
    if (child == 0) _exit(bytes[7] == 7 ? bytes[8] = 8, 0 : 1);
    good &= finish(child) == 0 && bytes[8] == 8;
    munmap(bytes, page);
    bytes = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, copied, 0);
    good = good && bytes != MAP_FAILED && bytes[7] == 7 && bytes[8] == 8;
    munmap(bytes, page);
    check(good, "a buffer outlives the node and its first descriptor, and a child writes it");
    close(copied);
    close(second);
    // More than a quota has of them, if closed ones counted.
    heap = open(path, O_RDWR | O_CLOEXEC);
    int before = sockets();
    check(allocate_many(heap, 300), "300 buffers, one after the other");
    check(sockets() == before, "they leave no socket");
    close(heap);
}

static int ask(void) {
    int heap = open(path, O_RDONLY | O_CLOEXEC);
    if (heap < 0) return printf("open: %s\n", strerror(errno)), 1;
    while (getchar() != EOF) {
        int buffer = allocate(heap, page, O_RDWR | O_CLOEXEC);
        puts(buffer >= 0 ? "ok" : strerror(errno));
    }
    return 0;
}

int main(int count, char **words) {
    page = (size_t)sysconf(_SC_PAGESIZE);
    if (count == 4 && strcmp(words[1], "--inherited") == 0) {
        return !serves(atoi(words[2])) || fcntl(atoi(words[3]), F_GETFD) != -1;
    }
    if (count < 2) return 64;
    name = words[1];
    snprintf(path, sizeof path, "/dev/dma_heap/%s", name);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 3 && strcmp(words[2], "nested") == 0) return nest(open(path, O_RDWR | O_CLOEXEC));
    if (count == 3) return ask();
    look();
    open_it();
    int heap = open(path, O_RDWR);
    if (heap < 0) return 1;
    ask_oddly(heap);
    ask_buffer(heap);
    fork_it(heap);
    thread_it(heap);
    cancel_it(heap);
    open_within_limits(heap);
    exec_it(heap, words[0]);
    pass_it(heap);
    copy(heap);
    interrupt();
    close_all();
    live();
    return failed;
}

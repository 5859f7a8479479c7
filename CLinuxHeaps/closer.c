#ifdef __linux__
#include <CLinuxHeaps.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The same number on all machines; the C library's headers may be older.
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum {
    // Of the only descriptor that a child keeps.
    SERVER = 0,
    MAKE = 'm',
    CLOSE = 'c',
    ROOM = 1 << 16
};

union control {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(int) * CLinuxHeaps_MAX_DESCRIPTORS)];
};

// What follows runs in children of a process that has threads, whose locks are as they were: system calls, and nothing of a library
// that takes one. syscall(3), because a sanitizer's own close(2) does.

static _Noreturn void end_with(int status) {
    while (true) syscall(SYS_exit_group, status);
}

static _Noreturn void end(void) { end_with(0); }

// As a server starts nothing of it is a stranger's, and what makes closers has nothing of the kind.
static void keep_only(int socket) {
    if (socket != SERVER && syscall(SYS_dup3, socket, SERVER, O_CLOEXEC) < 0) end();
    if (syscall(SYS_close_range, 1u, ~0u, 0u) == 0) return;
    // Before Linux 5.9.
    uint64_t limits[2] = {1 << 20, 1 << 20};
    syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, limits);
    for (int number = 1; number < 1 << 20 && (uint64_t)number < limits[0]; number++) syscall(SYS_close, number);
}

// A buffer that is mapped as the child is made would be held by it.
static void unmap_shared_memory(void) {
    int maps = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (maps < 0) end();
    enum { START, END, MODE, REST } part = START;
    uintptr_t places[2] = {0, 0};
    int letter = 0;
    char text[1024];
    long length;
    while ((length = syscall(SYS_read, maps, text, sizeof text)) > 0) {
        for (long at = 0; at < length; at++) {
            char one = text[at];
            if (part < MODE) {
                if (one == '-' || one == ' ') {
                    part++;
                } else {
                    places[part] = places[part] << 4 | (uintptr_t)(one <= '9' ? one - '0' : one - 'a' + 10);
                }
            } else if (part == MODE) {
                // "rwxs"
                if (letter++ < 3) continue;
                if (one == 's') syscall(SYS_munmap, places[0], places[1] - places[0]);
                part = REST;
            } else if (one == '\n') {
                part = START;
                places[0] = places[1] = 0;
                letter = 0;
            }
        }
    }
    syscall(SYS_close, maps);
}

// The length of the next message; 0 where the server is gone.
static long receive(char *order, union control *control, size_t size) {
    struct iovec vector = {.iov_base = order, .iov_len = 1};
    while (true) {
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = size};
        long length = syscall(SYS_recvmsg, SERVER, &message, MSG_CMSG_CLOEXEC);
        if (length >= 0 || errno != EINTR) return length;
    }
}

static void send_order(char order, const int *descriptors, size_t count) {
    union control control;
    struct iovec vector = {.iov_base = &order, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count > 0) {
        control.alignment = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        for (size_t at = 0; at < count; at++) ((int *)CMSG_DATA(&control.alignment))[at] = descriptors[at];
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    }
    syscall(SYS_sendmsg, SERVER, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Without room for descriptors: the kernel lets go of the files as recvmsg(2) returns.
// A stream gives as many bytes at a time as there is room for.
static void drain(int socket) {
    char bytes[8192];
    for (int messages = 0; messages < 16; messages++) {
        struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        long length = syscall(SYS_recvmsg, socket, &message, MSG_DONTWAIT);
        // Also an error that the socket had to tell once, before what is in it.
        if (length < 0 && (errno == EAGAIN || errno == EBADF || errno == ENOTSOCK)) return;
        if (length == 0 && message.msg_flags == 0) return;
    }
}

static bool is_drained[ROOM];

static _Noreturn void close_what_comes(void) {
    int last = SERVER;
    while (true) {
        char order;
        union control control;
        control.alignment.cmsg_len = 0;
        long length = receive(&order, &control, sizeof control);
        size_t count = 0;
        if (length > 0 && control.alignment.cmsg_len > CMSG_LEN(0))
            count = (control.alignment.cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t at = 0; at < count; at++) {
            int number = ((int *)CMSG_DATA(&control.alignment))[at];
            if (number > last) last = number;
            if (number < ROOM) is_drained[number] = order == CLinuxHeaps_CLOSE_DRAINED;
        }
        if (length > 0 && order != CLOSE) continue;
        for (int number = 1; number <= last; number++) {
            if (number < ROOM && is_drained[number]) drain(number);
            syscall(SYS_close, number);
        }
        last = SERVER;
        if (length <= 0) end();
        send_order(CLOSE, NULL, 0);
    }
}

static _Noreturn void make_closers(void) {
    // Nobody waits for those that have ended. The kernel's struct, whose first field is the handler, and of which the rest is 0.
    uintptr_t ignored[8] = {(uintptr_t)SIG_IGN};
    syscall(SYS_rt_sigaction, SIGCHLD, ignored, NULL, 8);
    while (true) {
        char order;
        if (receive(&order, NULL, 0) <= 0) end();
        // The server's end, and the process.
        int made[2] = {-1, -1}, ends[2];
        long process = -1;
        errno = 0;
        if (syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
            process = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
            if (process == 0) {
                keep_only(ends[1]);
                close_what_comes();
            }
            made[0] = ends[0];
            syscall(SYS_fcntl, ends[0], F_SETFL, O_NONBLOCK);
            if (process > 0) made[1] = (int)syscall(SYS_pidfd_open, process, 0);
        }
        // A child that nobody hears of finds its socket at its end.
        if (made[1] >= 0) send_order(0, made, 2);
        else send_order((char)errno, NULL, 0);
        if (made[0] >= 0) {
            syscall(SYS_close, ends[0]);
            syscall(SYS_close, ends[1]);
        }
        if (made[1] >= 0) syscall(SYS_close, made[1]);
    }
}

int CLinuxHeaps_start_closers(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    sigset_t all, before;
    sigfillset(&all);
    // A signal to all processes of a terminal or a unit ends none of these before this one.
    pthread_sigmask(SIG_SETMASK, &all, &before);
    // By a child that ends at once, without a signal: who looks for this process's children, as the program that links this may, finds its
    // own, and who looks behind a wrapper finds this.
    pid_t child = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
    if (child == 0) {
        long closers = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
        if (closers != 0) end_with(closers < 0);
        syscall(SYS_prctl, PR_SET_NAME, "heapd-closer");
        keep_only(ends[1]);
        unmap_shared_memory();
        make_closers();
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    int status = 0;
    while (child > 0 && waitpid(child, &status, __WCLONE) < 0 && errno == EINTR) {}
    if (child < 0 || status != 0) {
        close(ends[0]);
        errno = child < 0 ? error : EAGAIN;
        return -1;
    }
    return ends[0];
}

int CLinuxHeaps_new_closer(int source, int *process) {
    unsigned char order = MAKE, answer;
    if (send(source, &order, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) return -1;
    struct pollfd event = {.fd = source, .events = POLLIN};
    int ready;
    do ready = poll(&event, 1, 1000);
    while (ready < 0 && errno == EINTR);
    if (ready == 0) errno = ETIMEDOUT;
    if (ready <= 0) return -1;
    int made[CLinuxHeaps_MAX_ARRIVING], fault;
    size_t count;
    ssize_t length;
    do length = CLinuxHeaps_receive(source, &answer, 1, made, &count, &fault);
    while (length < 0 && errno == EINTR);
    if (length == 1 && count == 2) {
        *process = made[1];
        return made[0];
    }
    for (size_t at = 0; at < count; at++) close(made[at]);
    if (length >= 0) errno = length == 0 ? EPIPE : fault ? fault : answer;
    return -1;
}

int CLinuxHeaps_order_close(int closer) {
    char order = CLOSE;
    return send(closer, &order, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -1;
}

int CLinuxHeaps_hear_closer(int closer) {
    char answer;
    return (int)recv(closer, &answer, 1, MSG_DONTWAIT);
}

void CLinuxHeaps_kill_closer(int process) { syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0); }
#endif

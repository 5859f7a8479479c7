#include <Peers.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "linuxheaps.h"

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int Peers_allocate(int heap, uint64_t size) {
    struct dma_heap_allocation_data data = {.len = size, .fd_flags = O_RDWR | O_CLOEXEC};
    return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) == 0 ? (int)data.fd : -errno;
}

int64_t Peers_libdmabufheap(int heap, uint64_t size, int rounds) {
    int64_t begin = now();
    for (int i = 0; i < rounds; i++) {
        int buffer = Peers_allocate(heap, size);
        if (buffer < 0) return buffer;
        close(buffer);
    }
    return now() - begin;
}

// The fdinfo file of the one number that the parents get, kept open.
static int fdinfo = -1, fdinfo_of = -1;

static int is_alone(int parent) {
    if (fdinfo_of != parent) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", parent);
        if (fdinfo >= 0) close(fdinfo);
        fdinfo = open(path, O_RDONLY | O_CLOEXEC);
        fdinfo_of = parent;
    }
    char text[512];
    ssize_t count = pread(fdinfo, text, sizeof text - 1, 0);
    if (count < 0) return -1;
    text[count] = 0;
    const char *references = strstr(text, "\ncount:\t");
    return references ? atoi(references + 8) == 1 : -1;
}

int64_t Peers_with_guarantees(int heap, uint64_t size, int rounds) {
    int64_t begin = now();
    for (int i = 0; i < rounds; i++) {
        int parent = Peers_allocate(heap, size);
        if (parent < 0) return parent;
        char name[32];
        snprintf(name, sizeof name, "peer:%d", i);
        struct stat status;
        if (ioctl(parent, DMA_BUF_SET_NAME_B, name) != 0 || fstat(parent, &status) != 0) return -errno;
        int child = fcntl(parent, F_DUPFD_CLOEXEC, 0);
        if (child < 0) return -errno;
        close(child);
        if (is_alone(parent) != 1) return -EBUSY;
        close(parent);
    }
    int64_t time = now() - begin;
    if (fdinfo >= 0) close(fdinfo);
    fdinfo = fdinfo_of = -1;
    return time;
}

int64_t Peers_interface(const char *library, const char *heap, uint64_t size, int rounds) {
    // A second Swift runtime in this process: the library has its own inside, and shows none of it.
    void *opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!opened) return -ELIBACC;
#define FUNCTION(name) __typeof__(&name) own_##name = (__typeof__(&name))dlsym(opened, #name)
    FUNCTION(lheap_open);
    FUNCTION(lheap_allocate);
    FUNCTION(lheap_vmo_close);
    FUNCTION(lheap_live_count);
    FUNCTION(lheap_close);
    lheap *memory;
    if (own_lheap_open(heap, 0, &memory, NULL) != LHEAP_OK) return -ENXIO;
    int64_t begin = 0;
    // The first opens the heap's files, as the other heap did in the turn that does not count.
    for (int i = -1; i < rounds; i++) {
        lheap_vmo *vmo;
        if (i == 0) begin = now();
        if (own_lheap_allocate(memory, size, NULL, &vmo, NULL) != LHEAP_OK) return -ENOMEM;
        own_lheap_vmo_close(vmo);
    }
    while (own_lheap_live_count(memory) > 0) usleep(100);
    int64_t time = now() - begin;
    own_lheap_close(memory);
    return time;
}

int64_t Peers_dup(int descriptor, int rounds) {
    int64_t begin = now();
    for (int i = 0; i < rounds; i++) {
        int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
        if (copy < 0) return -errno;
        close(copy);
    }
    return now() - begin;
}

int Peers_count_calls(int thread) {
    FILE *file = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "re");
    if (!file) return -errno;
    unsigned long long id;
    int fields = fscanf(file, "%llu", &id);
    fclose(file);
    if (fields != 1) return -EINVAL;
    struct perf_event_attr event = {
        .type = PERF_TYPE_TRACEPOINT, .size = sizeof event, .config = id, .inherit = 1};
    long counter = syscall(SYS_perf_event_open, &event, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return counter < 0 ? -errno : (int)counter;
}

void Peers_pin(void) {
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
}

// A message of `length` bytes, with a descriptor unless it is -1. 0, or minus an errno.
static int pass(int socket, void *bytes, size_t length, int descriptor) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec vector = {bytes, length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (descriptor >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

// A message's length, or -1; its descriptor, or -1.
static ssize_t take(int socket, void *bytes, size_t length, int *descriptor) {
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {bytes, length};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    *descriptor = -1;
    struct cmsghdr *rights = count > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (rights) memcpy(descriptor, CMSG_DATA(rights), sizeof *descriptor);
    return count;
}

// A process that runs `serve` with its end of a socket. The other end, or minus an errno.
static int start(void (*serve)(int), pid_t *child) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
    *child = fork();
    if (*child < 0) return -errno;
    if (*child == 0) {
        close(ends[0]);
        serve(ends[1]);
    }
    close(ends[1]);
    return ends[0];
}

static void hold(int socket) {
    prctl(PR_SET_PDEATHSIG, 9);
    for (;;) {
        int64_t time;
        int descriptor;
        if (take(socket, &time, sizeof time, &descriptor) != sizeof time) _exit(0);
        struct timespec pause = {time / 1000000000, time % 1000000000};
        nanosleep(&pause, NULL);
        time = now();
        close(descriptor);
        // Later: where there is one processor, whoever reads it would keep the server from it.
        pause = (struct timespec){0, 100000000};
        nanosleep(&pause, NULL);
        if (write(socket, &time, sizeof time) != sizeof time) _exit(1);
    }
}

int Peers_start_holder(void) {
    pid_t child;
    return start(hold, &child);
}

int Peers_hold(int holder, int descriptor, int64_t time) {
    return pass(holder, &time, sizeof time, descriptor);
}

static void answer(int socket) {
    prctl(PR_SET_PDEATHSIG, 9);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event) != 0) _exit(1);
    for (;;) {
        char bytes[64];
        int none;
        epoll_wait(poller, &event, 1, -1);
        if (take(socket, bytes, sizeof bytes, &none) <= 0) _exit(0);
        int descriptor = fcntl(socket, F_DUPFD_CLOEXEC, 0);
        if (pass(socket, bytes, 32, descriptor) != 0) _exit(1);
        close(descriptor);
    }
}

int Peers_round_trips(int64_t *times, int rounds) {
    pid_t child;
    int socket = start(answer, &child);
    if (socket < 0) return socket;
    int result = 0;
    for (int i = 0; i < rounds && result == 0; i++) {
        // As long as AllocateVmo and its answer.
        char bytes[64] = {0};
        int descriptor;
        int64_t begin = now();
        result = pass(socket, bytes, 56, -1);
        if (result == 0 && take(socket, bytes, sizeof bytes, &descriptor) != 32) result = -EPIPE;
        times[i] = now() - begin;
        if (result == 0) close(descriptor);
    }
    close(socket);
    waitpid(child, NULL, 0);
    return result;
}

int64_t Peers_closed(int holder) {
    int64_t time;
    return read(holder, &time, sizeof time) == sizeof time ? time : -EPIPE;
}

#ifdef __linux__
#include <CHeapClient.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "call.h"

// A page whose faults nobody serves.
static void *missing_page(void) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range = {(uintptr_t)page, size}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (page == MAP_FAILED || faults < 0 || ioctl(faults, UFFDIO_API, &api) != 0 || ioctl(faults, UFFDIO_REGISTER, &range) != 0)
        return NULL;
    return page;
}

int CHeapClient_hold_epoll(int file, pid_t *holder) {
    pid_t child = fork();
    if (child == 0) {
        dup2(file, 0);
        syscall(SYS_close_range, 1u, ~0u, 0u);
        void *events = missing_page();
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN};
        if (events && epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event) == 0) {
            close(0);
            syscall(SYS_epoll_pwait, epoll, events, 1, -1, NULL, 0);
        }
        _exit(0);
    }
    if (child < 0) return errno;
    *holder = child;
    await_call(child, SYS_epoll_pwait);
    return 0;
}
#endif

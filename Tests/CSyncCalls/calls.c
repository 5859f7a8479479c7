#ifdef __linux__
#include <CSyncCalls.h>
#include <linux/dma-buf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// The lower half of the second argument.
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define REQUEST offsetof(struct seccomp_data, args[1])
#else
#define REQUEST (offsetof(struct seccomp_data, args[1]) + 4)
#endif

int CSyncCalls_listen(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, REQUEST),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)DMA_BUF_IOCTL_SYNC, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

// What it reads is of a thread that waits in the kernel for its answer, which ThreadSanitizer cannot see.
__attribute__((no_sanitize("thread")))
int CSyncCalls_next(int listener, uint64_t *flags) {
    struct pollfd event = {.fd = listener, .events = POLLIN};
    if (poll(&event, 1, -1) < 0) return -1;
    if (!(event.revents & POLLIN)) return 0;
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return -1;
    // Its memory is this process's.
    const struct dma_buf_sync *sync = (const struct dma_buf_sync *)(uintptr_t)call.data.args[2];
    *flags = sync->flags;
    struct seccomp_notif_resp answer = {.id = call.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0 ? 1 : -1;
}
#endif

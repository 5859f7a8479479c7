#ifdef __linux__
#include <CHeapPeer.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    int kept;
    unsigned char *mapping;
} slots[CHeapPeer_SLOTS];
static pid_t holder = -1;

static bool receive(int socket, struct CHeapPeer_order *order, int *descriptor) {
    union {
        struct cmsghdr alignment;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = order, .iov_len = sizeof *order};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *descriptor = -1;
    ssize_t length;
    do {
        length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (length < 0 && errno == EINTR);
    if (length != sizeof *order) return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header) memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
    return true;
}

static int fork_holder(void) {
    pid_t parent = getpid();
    holder = fork();
    if (holder != 0) return holder < 0 ? errno : 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    for (;;) pause();
}

static int obey(const struct CHeapPeer_order *order, int descriptor, uint32_t *value) {
    if (order->slot >= CHeapPeer_SLOTS) return EINVAL;
    int *kept = &slots[order->slot].kept;
    unsigned char **mapping = &slots[order->slot].mapping;
    switch (order->verb) {
    case CHeapPeer_KEEP:
        *kept = descriptor;
        return descriptor < 0 ? EBADF : 0;
    case CHeapPeer_CLOSE:
        close(*kept);
        *kept = -1;
        return 0;
    case CHeapPeer_MAP:
        *mapping = mmap(NULL, order->length, PROT_READ | PROT_WRITE, MAP_SHARED, *kept,
                        (off_t)order->offset);
        return *mapping == MAP_FAILED ? errno : 0;
    case CHeapPeer_UNMAP:
        return munmap(*mapping + order->offset, order->length) ? errno : 0;
    case CHeapPeer_READ:
        *value = ((volatile unsigned char *)*mapping)[order->offset];
        return 0;
    case CHeapPeer_WRITE:
        ((volatile unsigned char *)*mapping)[order->offset] = (unsigned char)order->value;
        return 0;
    case CHeapPeer_FORK_HOLDER:
        return fork_holder();
    case CHeapPeer_KILL_HOLDER:
        kill(holder, SIGKILL);
        waitpid(holder, NULL, 0);
        return 0;
    case CHeapPeer_PID:
        *value = (uint32_t)getpid();
        return 0;
    default:
        return ENOSYS;
    }
}

static void answer(int socket, int error, uint32_t value) {
    struct CHeapPeer_reply reply = {.error = error, .value = value};
    send(socket, &reply, sizeof reply, MSG_NOSIGNAL);
}

_Noreturn static void serve_as_peer(int socket) {
    struct CHeapPeer_order order;
    int descriptor;
    signal(SIGCHLD, SIG_DFL);
    for (int slot = 0; slot < CHeapPeer_SLOTS; slot++) slots[slot].kept = -1;
    while (receive(socket, &order, &descriptor)) {
        uint32_t value = 0;
        int error = obey(&order, descriptor, &value);
        answer(socket, error, value);
    }
    _exit(0);
}

_Noreturn static void serve_as_nursery(int socket) {
    struct CHeapPeer_order order;
    int peer_socket;
    signal(SIGCHLD, SIG_IGN);
    // What a terminal or a service manager sends to a whole group is for the checks' own process: it gives
    // all back, and that ends the peers.
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    while (receive(socket, &order, &peer_socket)) {
        pid_t child = fork();
        if (child == 0) {
            close(socket);
            serve_as_peer(peer_socket);
        }
        int error = child < 0 ? errno : 0;
        close(peer_socket);
        answer(socket, error, 0);
    }
    _exit(0);
}

__attribute__((constructor)) static void become_nursery_if_asked(void) {
    const char *socket = getenv("HEAPTESTKIT_NURSERY");
    if (socket) serve_as_nursery(atoi(socket));
}
#endif

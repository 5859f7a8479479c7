#ifdef __linux__
#include <CLinuxHeaps.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

union control {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(int) * CLinuxHeaps_MAX_ARRIVING)];
};

ssize_t CLinuxHeaps_send(int socket, const void *bytes, size_t length, const int *descriptors,
                         size_t count) {
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    union control control;
    if (count > CLinuxHeaps_MAX_DESCRIPTORS) {
        errno = EINVAL;
        return -1;
    }
    if (count > 0) {
        memset(&control, 0, CMSG_SPACE(sizeof(int) * count));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

ssize_t CLinuxHeaps_receive(int socket, void *bytes, size_t length, int *descriptors, size_t *count,
                            bool *truncated) {
    struct iovec vector = {.iov_base = bytes, .iov_len = length};
    union control control;
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *count = 0;
    *truncated = false;
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (received < 0) return received;
    *truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            *truncated = true;
            continue;
        }
        // The buffer holds no more than MAX_ARRIVING in all, so this cannot overrun.
        size_t arrived = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors + *count, CMSG_DATA(header), sizeof(int) * arrived);
        *count += arrived;
    }
    if (*count > CLinuxHeaps_MAX_DESCRIPTORS) *truncated = true;
    return received;
}

int CLinuxHeaps_await_message(int socket, int64_t nanoseconds) {
    struct pollfd event = {.fd = socket, .events = POLLIN};
    struct timespec time = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return ppoll(&event, 1, nanoseconds < 0 ? NULL : &time, NULL);
}

int CLinuxHeaps_unread(int socket) {
    int bytes = 0;
    return ioctl(socket, SIOCOUTQ, &bytes) ? -1 : bytes;
}

// Of Linux 6.5; the C library's headers may be older.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int CLinuxHeaps_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int CLinuxHeaps_peer(int socket, pid_t *process, uid_t *user, gid_t *group) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return -1;
    *process = peer.pid;
    *user = peer.uid;
    *group = peer.gid;
    return 0;
}

int CLinuxHeaps_peer_groups(int socket, gid_t *groups, size_t capacity) {
    socklen_t length = (socklen_t)(capacity * sizeof *groups);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &length) != 0) return -1;
    return (int)(length / sizeof *groups);
}

int CLinuxHeaps_peer_pidfd(int socket, pid_t process) {
    int pidfd = -1;
    socklen_t length = sizeof pidfd;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) return pidfd;
    if (errno != ENOPROTOOPT) return -1;
    return (int)syscall(SYS_pidfd_open, process, 0);
}
#endif

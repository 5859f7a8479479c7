#ifdef __linux__
#include <CLinuxHeaps.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
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
                            int *fault) {
    struct iovec vector = {.iov_base = bytes, .iov_len = length};
    union control control;
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *count = 0;
    *fault = 0;
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (received < 0) return received;
    if (message.msg_flags & MSG_TRUNC) *fault = EMSGSIZE;
    if (message.msg_flags & MSG_CTRUNC) *fault = EMFILE;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            *fault = EINVAL;
            continue;
        }
        // The buffer holds no more than MAX_ARRIVING in all, so this cannot overrun.
        size_t arrived = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors + *count, CMSG_DATA(header), sizeof(int) * arrived);
        *count += arrived;
    }
    if (*count > CLinuxHeaps_MAX_DESCRIPTORS) *fault = EINVAL;
    return received;
}

ssize_t CLinuxHeaps_peek(int socket, void *bytes, size_t length) {
    return recv(socket, bytes, length, MSG_PEEK);
}

int CLinuxHeaps_await_message(int socket, int64_t nanoseconds) {
    struct pollfd event = {.fd = socket, .events = POLLIN};
    struct timespec time = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return ppoll(&event, 1, nanoseconds < 0 ? NULL : &time, NULL);
}

ssize_t CLinuxHeaps_send_now(int socket, const void *bytes, size_t length) {
    return send(socket, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int CLinuxHeaps_unread(int socket) {
    int bytes = 0;
    return ioctl(socket, SIOCOUTQ, &bytes) ? -1 : bytes;
}

// Of Linux 6.5; the C library's headers may be older.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

bool CLinuxHeaps_end_connection(int socket, bool *has_reader) {
    // Before the shutdown, after which any socket is hung up. So is one whose peer shut both directions down, and may read what it was
    // sent; of a closed one nothing is left (unix_release_sock, net/unix/af_unix.c).
    struct pollfd state = {.fd = socket};
    *has_reader = poll(&state, 1, 0) != 1 || CLinuxHeaps_unread(socket) != 0;
    shutdown(socket, SHUT_RDWR);
    int type = 0, on = 1;
    socklen_t size = sizeof type;
    // In a stream, what was sent out of band lies behind the end that a look finds.
    if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) return false;
    // With it every message has something that finds no room here, and says so in its flags; the end has nothing.
    if (setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return false;
    // The first look may find an error that the socket had to tell once.
    for (int looks = 0; looks < 2; looks++) {
        char byte;
        struct iovec vector = {.iov_base = &byte, .iov_len = 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        ssize_t length = recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT);
        if (length < 0) continue;
        return length == 0 && message.msg_flags == 0 && close(socket) == 0;
    }
    return false;
}

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

int CLinuxHeaps_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

ssize_t CLinuxHeaps_vmsplice(int pipe, const void *bytes, size_t length) {
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};
    return vmsplice(pipe, &part, 1, SPLICE_F_NONBLOCK);
}

#ifdef __linux__
#include <CHeapWire.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

bool Wire_send_all(int socket, const void *bytes, size_t length, const int *descriptors,
                   size_t count, int flags) {
    // Only what is used of it is written.
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(Wire_MOST_DESCRIPTORS * sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count > Wire_MOST_DESCRIPTORS) {
        errno = EINVAL;
        return false;
    }
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof *descriptors);
        memset(control.bytes, 0, message.msg_controllen);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof *descriptors);
        memcpy(CMSG_DATA(&control.header), descriptors, count * sizeof *descriptors);
    }
    return sendmsg(socket, &message, flags | MSG_NOSIGNAL) == (ssize_t)length;
}

bool Wire_send(int socket, const void *message, size_t length, int descriptor, int flags) {
    return Wire_send_all(socket, message, length, &descriptor, descriptor >= 0, flags);
}

ssize_t Wire_receive(int socket, void *bytes, size_t capacity, int flags, int *descriptor) {
    struct iovec vector = {.iov_base = bytes, .iov_len = capacity};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof *descriptor)];
    } control;
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *descriptor = -1;
    ssize_t length = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    if (length < 0) return length;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        if (*descriptor >= 0) close(*descriptor);
        *descriptor = -1;
        errno = EPROTO;
        return -1;
    }
    return length;
}

typedef int use_address(int, const struct sockaddr *, socklen_t);

/// A new socket that was bound or connected to `path`, or -1.
static int open_at(const char *path, int type, unsigned patience, use_address *use) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = patience / 1000, .tv_usec = patience % 1000 * 1000};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int file = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (file < 0) return -1;
    if (setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) ||
        setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) ||
        use(file, (struct sockaddr *)&address, sizeof address)) {
        int error = errno;
        close(file);
        errno = error;
        return -1;
    }
    return file;
}

int Wire_connect(const char *path, int type, unsigned patience) {
    return open_at(path, type, patience, connect);
}

int Wire_bind(const char *path, int type) { return open_at(path, type, 0, bind); }
#endif

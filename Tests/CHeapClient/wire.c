#ifdef __linux__
#include "client.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct board *board;
struct CHeapClient_setup setup;
int pool[2] = {-1, -1};

void fault(const char *format, ...) {
    if (__atomic_fetch_add(&board->report.faults, 1, __ATOMIC_RELAXED) > 0) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(board->report.fault, sizeof board->report.fault, format, arguments);
    va_end(arguments);
}

uint64_t next_random(struct random *random) {
    uint64_t value = random->state += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

uint32_t random_below(struct random *random, uint32_t bound) {
    return (uint32_t)((next_random(random) >> 32) * bound >> 32);
}

static int try_to_connect(const char *path) {
    int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    struct timeval patience = {.tv_sec = setup.patience / 1000,
                               .tv_usec = setup.patience % 1000 * 1000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, sizeof address.sun_path);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0) return descriptor;
    int error = errno;
    close(descriptor);
    errno = error;
    return -1;
}

int connect_to(const char *path) {
    int descriptor = try_to_connect(path);
    if (descriptor < 0) fault("connect: %s", strerror(errno));
    return descriptor;
}

enum result send_message(int socket, const void *bytes, size_t length, int descriptor, int flags) {
    union {
        struct cmsghdr alignment;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (descriptor >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    if (sendmsg(socket, &message, MSG_NOSIGNAL | flags) >= 0) return DONE;
    if (errno == EAGAIN && flags & MSG_DONTWAIT) return LOST;
    if (errno != EPIPE && errno != ECONNRESET) fault("send: %s", strerror(errno));
    return LOST;
}

enum result receive_message(int socket, struct message *message, int flags) {
    union {
        struct cmsghdr alignment;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = message->words, .iov_len = sizeof message->words};
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    message->length = 0;
    message->descriptor = -1;
    ssize_t length = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | flags);
    if (length < 0 && errno == EAGAIN && flags & MSG_DONTWAIT) return DONE;
    if (length < 0 && errno != ECONNRESET) fault("receive: %s", strerror(errno));
    if (length <= 0) return LOST;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    if (rights) memcpy(&message->descriptor, CMSG_DATA(rights), sizeof message->descriptor);
    if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) fault("a message was cut");
    message->length = (size_t)length;
    return DONE;
}

void drain_pool(void) {
    struct message message;
    while (receive_message(pool[1], &message, MSG_DONTWAIT) == DONE && message.length > 0) {
        if (message.descriptor >= 0) close(message.descriptor);
    }
}
#endif

// The floor that heapd is measured against: a server for AllocateVmo and DeleteVmo on memfds, in
// one thread, that makes the system calls which the memfd heap cannot do without, and no others.
//
// What it leaves out, besides everything that heapd checks, limits, counts and logs: a buffer whose
// last child closes without DeleteVmo stays in its table.

#include "buffers.h"

#include <CHeapWire.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

static int poller;
static int inotify;

/// Deletions of buffers that had a child left when they were asked for.
static struct buffer *waiting;

// MARK: Requests. Each answers whether the connection can go on.

static bool allocate(int connection, const struct Wire_Allocate *request) {
    struct Wire_Result reply = {
        .header = Wire_header(request->header.txid, Wire_ALLOCATE_VMO),
        .member = 1,
        .envelope = {.value = UINT32_MAX, .handles = 1, .flags = Wire_INLINED}};
    int child = -1;
    if (find_buffer(request->key)) return false;
    if (!make_buffer(inotify, request->key, request->size, &child)) {
        fprintf(stderr, "baseline: no buffer made: %s\n", strerror(errno));
        reply.member = 2;
        reply.envelope.value = (uint32_t)Wire_NO_MEMORY;
        reply.envelope.handles = 0;
    }
    bool sent = Wire_send(connection, &reply, sizeof reply, child, 0);
    if (child >= 0) close(child);
    return sent;
}

static bool answer_deletion(int connection, uint32_t txid) {
    struct Wire_Header reply = Wire_header(txid, Wire_DELETE_VMO);
    return Wire_send(connection, &reply, sizeof reply, -1, 0);
}

/// The vmo is closed here whatever happens.
static bool delete (int connection, const struct Wire_Delete *request, int vmo) {
    struct buffer *buffer = find_buffer(request->key);
    bool is_right = buffer && is_of_buffer(vmo, buffer);
    close(vmo);
    if (!is_right) return false;
    if (reclaim_buffer(inotify, buffer)) return answer_deletion(connection, request->header.txid);
    // A sender's own descriptor closes after its message is sent, so this process may be faster.
    buffer->connection = connection;
    buffer->txid = request->header.txid;
    buffer->next_waiting = waiting;
    waiting = buffer;
    return true;
}

static bool serve_request(int connection) {
    union Wire_Message request;
    int vmo;
    // A connection that another event of the same turn closed must not block the others.
    ssize_t length = Wire_receive(connection, &request, sizeof request, MSG_DONTWAIT, &vmo);
    if (length < 0) return errno == EAGAIN;
    if (length == sizeof request.allocate && request.header.ordinal == Wire_ALLOCATE_VMO &&
        vmo < 0) {
        return allocate(connection, &request.allocate);
    }
    if (length == sizeof request.delete && request.header.ordinal == Wire_DELETE_VMO && vmo >= 0) {
        return delete (connection, &request.delete, vmo);
    }
    if (length > 0) fprintf(stderr, "baseline: not a message that it knows\n");
    if (vmo >= 0) close(vmo);
    return false;
}

// MARK: Other events

static void watch(int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event)) {
        perror("baseline: epoll_ctl");
    }
}

static void accept_connection(int listener) {
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0) return;
    watch(connection);
    Wire_send(connection, Wire_on_register, sizeof Wire_on_register, -1, 0);
}

static void close_connection(int connection) {
    // The number may be another connection's soon.
    for (struct buffer *buffer = waiting; buffer; buffer = buffer->next_waiting) {
        if (buffer->connection == connection) buffer->connection = -1;
    }
    close(connection);
}

static void finish_deletions(void) {
    struct buffer **place = &waiting;
    while (*place) {
        struct buffer *buffer = *place;
        struct buffer *next = buffer->next_waiting;
        int connection = buffer->connection;
        uint32_t txid = buffer->txid;
        if (reclaim_buffer(inotify, buffer)) {
            *place = next;
            if (connection >= 0) answer_deletion(connection, txid);
        } else {
            place = &buffer->next_waiting;
        }
    }
}

/// Which child closed is not read: what has to be known is asked of the kernel.
static void drain_inotify(void) {
    char events[4096];
    if (read(inotify, events, sizeof events) < 0) perror("baseline: inotify");
}

/// Tells whoever waits at `$NOTIFY_SOCKET` that this server is ready (sd_notify(3)).
static void notify_ready(void) {
    static const char ready[] = "READY=1";
    const char *path = getenv("NOTIFY_SOCKET");
    int file = path ? Wire_connect(path, SOCK_DGRAM, 0) : -1;
    if (file < 0) return;
    send(file, ready, strlen(ready), MSG_NOSIGNAL);
    close(file);
}

/// Serves every connection to `listener` on this thread. Returns only on an error, with `errno`.
static void serve(int listener) {
    poller = epoll_create1(EPOLL_CLOEXEC);
    inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (poller < 0 || inotify < 0) return;
    watch(listener);
    watch(inotify);
    notify_ready();
    struct epoll_event events[64];
    for (;;) {
        // A report can come a moment before the kernel counts the file as closed, and comes once.
        int count = epoll_wait(poller, events, 64, waiting ? 1 : -1);
        if (count < 0 && errno != EINTR) return;
        for (int i = 0; i < count; i++) {
            int descriptor = events[i].data.fd;
            if (descriptor == listener) {
                accept_connection(listener);
            } else if (descriptor == inotify) {
                drain_inotify();
                finish_deletions();
            } else if (!serve_request(descriptor)) {
                close_connection(descriptor);
            }
        }
        if (count == 0) finish_deletions();
    }
}

int main(int count, char **arguments) {
    const char *path = NULL;
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(arguments[i], "--socket")) path = arguments[i + 1];
    }
    if (!path) {
        fprintf(stderr, "usage: baseline --socket PATH\n"
                        "Options of heapd may stand there too, with values; none matters.\n");
        return 64;
    }
    signal(SIGURG, SIG_IGN);
    int listener = Wire_bind(path, SOCK_SEQPACKET | SOCK_NONBLOCK);
    if (listener < 0 || listen(listener, SOMAXCONN)) {
        fprintf(stderr, "baseline: cannot listen at %s: %m\n", path);
        return 1;
    }
    serve(listener);
    perror("baseline");
    return 1;
}

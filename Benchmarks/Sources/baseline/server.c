#include "server.h"

#include "buffers.h"

#include <Wire.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

static int poller;
static int inotify;

/// Deletions of buffers that had a child left when they were asked for.
static struct buffer *waiting;

union request {
    struct Wire_Header header;
    struct Wire_Allocate allocate;
    struct Wire_Delete delete;
};

// MARK: Requests. Each answers whether the connection can go on.

static bool allocate(int connection, const struct Wire_Allocate *request) {
    struct Wire_Allocated reply = {
        .header = Wire_header(request->header.txid, Wire_ALLOCATE_VMO),
        .result = 1,
        .envelope = {.value = UINT32_MAX, .handles = 1, .flags = Wire_INLINED}};
    int child = -1;
    if (find_buffer(request->collection, request->index)) return false;
    if (!make_buffer(inotify, request->collection, request->index, request->size, &child)) {
        fprintf(stderr, "baseline: no buffer made: %s\n", strerror(errno));
        reply.result = 2;
        reply.envelope.value = (uint32_t)Wire_NO_MEMORY;
        reply.envelope.handles = 0;
    }
    bool sent = Wire_send(connection, &reply, sizeof reply, child);
    if (child >= 0) close(child);
    return sent;
}

static bool answer_deletion(int connection, uint32_t txid) {
    struct Wire_Header reply = Wire_header(txid, Wire_DELETE_VMO);
    return Wire_send(connection, &reply, sizeof reply, -1);
}

/// The vmo is closed here whatever happens.
static bool delete (int connection, const struct Wire_Delete *request, int vmo) {
    struct buffer *buffer = find_buffer(request->collection, request->index);
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
    union request request;
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
    Wire_send(connection, Wire_on_register, sizeof Wire_on_register, -1);
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

void serve(int listener) {
    poller = epoll_create1(EPOLL_CLOEXEC);
    inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (poller < 0 || inotify < 0) return;
    watch(listener);
    watch(inotify);
    Wire_notify_ready();
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

#include "client.h"

#include <Wire.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t last_txid;

_Noreturn void fail(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (error) fprintf(stderr, ": %s", strerror(error));
    fputc('\n', stderr);
    exit(1);
}

static uint64_t collection(void) {
    static uint64_t own;
    if (!own) own = (uint64_t)getpid();
    return own;
}

static void send_request(int heap, const char *call, const void *request, size_t length, int vmo) {
    if (!Wire_send(heap, request, length, vmo)) fail("%s was not sent", call);
}

/// Waits for the reply to the last request; `handle` says whether one must come along.
static int receive_reply(int heap, const char *call, const struct Wire_Header *request, void *reply,
                         size_t length, int handle) {
    struct Wire_Header header;
    int vmo;
    errno = 0;
    ssize_t received = Wire_receive(heap, reply, length, 0, &vmo);
    if (received < 0) fail("no reply to %s", call);
    if (received == 0) fail("the server hung up instead of replying to %s", call);
    if ((size_t)received < sizeof header) fail("%s: a reply of %zd bytes", call, received);
    memcpy(&header, reply, sizeof header);
    if (header.ordinal == Wire_EPITAPH) fail("%s: the server closed with an epitaph", call);
    if (memcmp(&header, request, sizeof header)) fail("%s: the reply is to another request", call);
    if ((size_t)received != length) fail("%s: a reply of %zd bytes", call, received);
    if (!handle && vmo >= 0) fail("%s: an unasked handle", call);
    return vmo;
}

int connect_to_heap(const char *path) {
    int heap = Wire_connect(path);
    if (heap < 0) fail("cannot connect to %s", path);
    union {
        struct Wire_Header header;
        uint8_t bytes[512];
    } event;
    int handle;
    errno = 0;
    ssize_t length = Wire_receive(heap, &event, sizeof event, 0, &handle);
    if (length < (ssize_t)sizeof event.header || event.header.ordinal != Wire_ON_REGISTER) {
        fail("%s does not greet with OnRegister", path);
    }
    return heap;
}

int allocate(int heap, uint64_t index) {
    struct Wire_Allocate request = {.header = Wire_header(++last_txid, Wire_ALLOCATE_VMO),
                                    .size = BUFFER_SIZE,
                                    .settings = {.presence = UINT64_MAX},
                                    .collection = collection(),
                                    .index = index};
    struct Wire_Allocated reply;
    send_request(heap, "AllocateVmo", &request, sizeof request, -1);
    int vmo = receive_reply(heap, "AllocateVmo", &request.header, &reply, sizeof reply, 1);
    if (reply.result != 1) {
        fail("AllocateVmo of buffer %llu: status %d", (unsigned long long)index,
             (int32_t)reply.envelope.value);
    }
    if (vmo < 0) fail("AllocateVmo: no vmo came with the reply (descriptors used up?)");
    return vmo;
}

void delete_vmo(int heap, uint64_t index, int vmo) {
    struct Wire_Delete request = {.header = Wire_header(++last_txid, Wire_DELETE_VMO),
                                  .collection = collection(),
                                  .index = index,
                                  .vmo = UINT32_MAX};
    struct Wire_Header reply;
    send_request(heap, "DeleteVmo", &request, sizeof request, vmo);
    close(vmo);
    receive_reply(heap, "DeleteVmo", &request.header, &reply, sizeof reply, 0);
}

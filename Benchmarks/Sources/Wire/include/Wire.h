#ifndef HEAP_WIRE_H
#define HEAP_WIRE_H

#ifdef __linux__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The Heap protocol's messages as they lie in memory on a little-endian machine: one message is one
// datagram of a SOCK_SEQPACKET socket, and its handle comes along in SCM_RIGHTS.

#define Wire_ALLOCATE_VMO 0x5fb41a7ca22c2a64u
#define Wire_DELETE_VMO 0x4c13703898112c92u
#define Wire_ON_REGISTER 0x364b39390a966fc5u
/// Of the observer protocol, which is served beside the heap's socket.
#define Wire_AWAIT_RECLAIMED 0x33f44999d227e2c2u
/// The ordinal of a server's last message.
#define Wire_EPITAPH UINT64_MAX

enum {
    Wire_AT_REST_V2 = 2,
    Wire_MAGIC = 1,
    /// The dynamic flag of a method that an older peer may not know.
    Wire_FLEXIBLE = 0x80,
    /// In an envelope: the value itself stands in it.
    Wire_INLINED = 1,
    /// ZX_ERR_NO_MEMORY.
    Wire_NO_MEMORY = -4,
    Wire_ON_REGISTER_LENGTH = 96,
};

struct Wire_Header {
    uint32_t txid;
    uint8_t at_rest[2];
    uint8_t dynamic;
    uint8_t magic;
    uint64_t ordinal;
};

/// A table or a vector: the highest ordinal or the count, and UINT64_MAX for "present".
struct Wire_Sized {
    uint64_t count;
    uint64_t presence;
};

struct Wire_Envelope {
    uint32_t value;
    uint16_t handles;
    uint16_t flags;
};

struct Wire_Allocate {
    struct Wire_Header header;
    uint64_t size;
    /// Without fields here.
    struct Wire_Sized settings;
    uint64_t collection;
    uint64_t index;
};

struct Wire_Allocated {
    struct Wire_Header header;
    /// 1: the vmo follows. 2: a status, as an int32.
    uint64_t result;
    struct Wire_Envelope envelope;
};

struct Wire_Delete {
    struct Wire_Header header;
    uint64_t collection;
    uint64_t index;
    /// UINT32_MAX: the handle that came along.
    uint32_t vmo;
    uint32_t padding;
};

struct Wire_Await {
    struct Wire_Header header;
    struct Wire_Sized table;
    struct Wire_Envelope vmo;
};

/// The event that greets each connection: cpu and ram domains, no clearing, flushing needed.
extern const uint8_t Wire_on_register[Wire_ON_REGISTER_LENGTH];

struct Wire_Header Wire_header(uint32_t txid, uint64_t ordinal);

/// AwaitReclaimed of the vmo that goes along.
struct Wire_Await Wire_await(uint32_t txid);

/// Sends one message, with a descriptor unless it is -1. False: not sent, with `errno`.
bool Wire_send(int socket, const void *_Nonnull message, size_t length, int descriptor);

/// Receives one message; `flags` are recvmsg(2)'s. `*descriptor` is what came along, close-on-exec,
/// or -1; more than one come with no message of these, so a peer that sends them is refused with
/// EPROTO, as is one whose message is longer than `capacity`. 0: the peer hung up. -1: `errno`.
ssize_t Wire_receive(int socket, void *_Nonnull message, size_t capacity, int flags,
                     int *_Nonnull descriptor);

/// A connection to the server at `path`, or -1 with `errno`. Close-on-exec, like all of these.
int Wire_connect(const char *_Nonnull path);

/// A non-blocking socket that listens at `path`, where nothing may be yet; or -1 with `errno`.
int Wire_listen(const char *_Nonnull path);

/// A datagram socket bound to `path`, to be somebody's `NOTIFY_SOCKET`; or -1 with `errno`.
int Wire_bind_notify(const char *_Nonnull path);

/// Tells whoever waits at `$NOTIFY_SOCKET` that this server is ready (sd_notify(3)).
void Wire_notify_ready(void);

/// Raises the limit of open descriptors to what this user may have.
void Wire_raise_descriptor_limit(void);

#endif
#endif

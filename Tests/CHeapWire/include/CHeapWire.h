#ifndef C_HEAP_WIRE_H
#define C_HEAP_WIRE_H

#ifdef __linux__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The Heap protocol's messages as they lie in memory on a little-endian machine: one message is one
// packet of a SOCK_SEQPACKET socket, and its handle comes along in SCM_RIGHTS.
//
// Written apart from HeapProtocol, so that each is a check of the other. The tests' clients use it,
// and so do both sides of the benchmarks, where a link leads here.

#define Wire_ALLOCATE_VMO 0x5fb41a7ca22c2a64u
#define Wire_DELETE_VMO 0x4c13703898112c92u
#define Wire_ON_REGISTER 0x364b39390a966fc5u
// Of the observer protocol, which is served beside the heap's socket.
#define Wire_GET_VMO_INFO 0x21a881120aa0ddf9u
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
    /// ZX_ERR_NO_RESOURCES and ZX_ERR_NO_MEMORY.
    Wire_NO_RESOURCES = -3,
    Wire_NO_MEMORY = -4,
    Wire_ON_REGISTER_LENGTH = 96,
    /// The most descriptors that the kernel takes with one message (`SCM_MAX_FD`, unix(7)).
    Wire_MOST_DESCRIPTORS = 253,
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

struct Wire_Key {
    uint64_t collection;
    uint64_t index;
};

struct Wire_Allocate {
    struct Wire_Header header;
    uint64_t size;
    /// Their fields, if there are any, come after the key.
    struct Wire_Sized settings;
    struct Wire_Key key;
};

struct Wire_Delete {
    struct Wire_Header header;
    struct Wire_Key key;
    /// UINT32_MAX: the handle that came along.
    uint32_t vmo;
    uint32_t padding;
};

/// GetVmoInfo or AwaitReclaimed of the vmo that goes along.
struct Wire_Observe {
    struct Wire_Header header;
    struct Wire_Sized table;
    struct Wire_Envelope vmo;
};

/// A reply that can be a refusal.
struct Wire_Result {
    struct Wire_Header header;
    /// 1: the response. 2: a status, as an int32 in the envelope.
    uint64_t member;
    /// Of AllocateVmo's response: the vmo.
    struct Wire_Envelope envelope;
};

/// GetVmoInfo's response.
struct Wire_Info {
    struct Wire_Result result;
    struct Wire_Sized table;
    struct Wire_Envelope fields[2];
    struct Wire_Key key;
};

struct Wire_Epitaph {
    struct Wire_Header header;
    int32_t status;
    uint32_t padding;
};

/// Room for each message of these; `header` says which it is.
union Wire_Message {
    struct Wire_Header header;
    struct Wire_Allocate allocate;
    struct Wire_Delete delete;
    struct Wire_Observe observe;
    struct Wire_Result result;
    struct Wire_Info info;
    struct Wire_Epitaph epitaph;
    uint8_t bytes[256];
};

/// The event that greets each connection: cpu and ram domains, no clearing, flushing needed.
extern const uint8_t Wire_on_register[Wire_ON_REGISTER_LENGTH];

struct Wire_Header Wire_header(uint32_t txid, uint64_t ordinal);

/// With empty settings.
struct Wire_Allocate Wire_allocate(uint32_t txid, uint64_t size, struct Wire_Key key);

struct Wire_Delete Wire_delete(uint32_t txid, struct Wire_Key key);

struct Wire_Observe Wire_observe(uint32_t txid, uint64_t ordinal);

/// Sends one message, with a descriptor unless it is -1; `flags` are sendmsg(2)'s. False: not sent,
/// with `errno`.
bool Wire_send(int socket, const void *_Nonnull message, size_t length, int descriptor, int flags);

/// Sends any bytes with up to Wire_MOST_DESCRIPTORS descriptors, which may be more than a message of
/// the protocol has. False: not sent, with `errno`.
bool Wire_send_all(int socket, const void *_Nullable bytes, size_t length,
                   const int *_Nullable descriptors, size_t count, int flags);

/// Receives one message; `flags` are recvmsg(2)'s. `*descriptor` is what came along, close-on-exec,
/// or -1; more than one come with no message of these, so a peer that sends them is refused with
/// EPROTO, as is one whose message is longer than `capacity`. 0: the peer hung up. -1: `errno`.
ssize_t Wire_receive(int socket, void *_Nonnull message, size_t capacity, int flags,
                     int *_Nonnull descriptor);

/// A new socket of this type, connected to `path`; or -1 with `errno`. Close-on-exec.
///
/// Connecting, sending and receiving fail after `patience` milliseconds; 0: they wait forever.
int Wire_connect(const char *_Nonnull path, int type, unsigned patience);

/// A new socket of this type, bound to `path`, where nothing may be yet; or -1 with `errno`.
/// Close-on-exec.
int Wire_bind(const char *_Nonnull path, int type);

#endif
#endif

#ifdef __linux__
#include <CHeapWire.h>
#include <FuzzSessions.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 6, HELD = 8, KEYS = 4, LONGEST = 1024 };

struct Session {
    const char *folder;
    const uint8_t *next;
    const uint8_t *end;
    int clients[CLIENTS];
    // Handles that answers brought, and copies of them.
    int held[HELD];
    void *mappings[HELD];
    uint32_t transaction;
};

static int connected(const char *folder, const char *name, int type, unsigned patience) {
    char path[108];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return Wire_connect(path, type, patience);
}

static uint8_t byte(struct Session *session) {
    return session->next < session->end ? *session->next++ : 0;
}

static void replace(int *place, int descriptor) {
    if (*place >= 0) close(*place);
    *place = descriptor;
}

static int *client(struct Session *session) { return &session->clients[byte(session) % CLIENTS]; }

static int *held(struct Session *session) { return &session->held[byte(session) % HELD]; }

static int copy(int descriptor) {
    return descriptor < 0 ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
}

// MARK: Descriptors

static int end_of_pipe(int which) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    close(ends[1 - which]);
    return ends[which];
}

// One end of a pair. In its queue is `inside`, if there is one; the other end is closed or comes back in `other`.
static int end_of_pair(int inside, int *other) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    if (inside >= 0) Wire_send(ends[1], "x", 1, inside, MSG_DONTWAIT);
    if (other) *other = ends[1];
    else close(ends[1]);
    return ends[0];
}

static int epoll_of(int descriptor) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (set >= 0 && descriptor >= 0) epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
    return set;
}

static int memory(size_t size) {
    int file = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file >= 0 && ftruncate(file, (off_t)size) != 0) replace(&file, -1);
    // Every other one could be brought.
    if (file >= 0 && size & 4096 && pwrite(file, "x", 1, 0) == 1)
        fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return file;
}

// The same file, opened anew.
static int reopened(int descriptor, int flags) {
    char path[40];
    if (descriptor < 0) return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return open(path, flags | O_CLOEXEC);
}

// A descriptor of some kind, new: the caller closes it. -1: there is none.
static int descriptor(struct Session *session) {
    int other = -1, result;
    switch (byte(session) % 20) {
    case 0:
    case 1:
    case 2: return copy(*held(session));
    case 3: return end_of_pipe(0);
    case 4: return end_of_pipe(1);
    case 5: return end_of_pair(-1, NULL);
    case 6: return end_of_pair(*held(session), NULL);
    case 7: return end_of_pair(*client(session), NULL);
    case 8:
        // Each is in the other's queue: nobody but the kernel's collector closes them.
        result = end_of_pair(-1, &other);
        if (result >= 0) {
            Wire_send(result, "x", 1, result, MSG_DONTWAIT);
            Wire_send(result, "x", 1, *held(session), MSG_DONTWAIT);
            close(result);
        }
        return other;
    case 9: return epoll_of(*client(session));
    case 10: return epoll_of(-1);
    case 11: return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 12: return open("/", O_PATH | O_CLOEXEC);
    case 13: return reopened(*held(session), O_PATH);
    case 14: return reopened(*held(session), O_RDONLY);
    case 15: return copy(*client(session));
    case 16: return memory(4096u * byte(session));
    case 17: return eventfd(0, EFD_CLOEXEC);
    case 18: return inotify_init1(IN_CLOEXEC);
    default: return connected(session->folder, "observer", SOCK_SEQPACKET, 2000);
    }
}

// MARK: Messages

static const uint64_t ATTACH = 0x37cd24363f8063a4u;
static const uint64_t STATUS = 0x03019d146e458521u;
static const uint64_t WATCH = 0x11dfbe4fe891d39au;
static const uint64_t ALLOCATE_FROM = 0x63bdefe72dca7eb0u;

struct Attach {
    struct Wire_Header header;
    struct Wire_Sized table;
    struct Wire_Envelope fields[3];
    uint64_t collection;
};

struct AllocateFrom {
    struct Wire_Header header;
    struct Wire_Sized table;
    struct Wire_Envelope fields[5];
    uint64_t size;
    struct Wire_Key key;
};

struct Empty {
    struct Wire_Header header;
    struct Wire_Sized table;
};

static struct Wire_Key key(struct Session *session) {
    uint8_t word = byte(session);
    return (struct Wire_Key){.collection = word >> 4 & 1, .index = word % KEYS};
}

static uint64_t size_of_buffer(struct Session *session) {
    static const uint64_t sizes[] = {4096, 4096, 4096, 1, 0, 8192, 1 << 17, 1 << 20, 1ull << 40, UINT64_MAX};
    return sizes[byte(session) % (sizeof sizes / sizeof *sizes)];
}

// A good message in `bytes`; answers its length.
static size_t good_message(struct Session *session, uint8_t *bytes) {
    union {
        struct Wire_Allocate allocate;
        struct Wire_Delete delete;
        struct Wire_Observe observe;
        struct Attach attach;
        struct AllocateFrom from;
        struct Empty empty;
    } message;
    size_t length = sizeof message.empty;
    uint32_t transaction = ++session->transaction;
    uint8_t kind = byte(session) % 11;
    memset(&message, 0, sizeof message);
    switch (kind) {
    case 0:
    case 1: {
        uint64_t size = size_of_buffer(session);
        message.allocate = Wire_allocate(transaction, size, key(session));
        length = sizeof message.allocate;
        break;
    }
    case 2:
    case 3:
        message.delete = Wire_delete(transaction, key(session));
        length = sizeof message.delete;
        break;
    case 4:
    case 5:
        message.observe =
            Wire_observe(transaction, kind == 4 ? Wire_GET_VMO_INFO : Wire_AWAIT_RECLAIMED);
        length = sizeof message.observe;
        break;
    case 6: {
        struct Wire_Observe handle = Wire_observe(transaction, ATTACH);
        message.attach = (struct Attach){.header = handle.header,
                                         .table = {.count = 3, .presence = UINT64_MAX},
                                         .fields = {handle.vmo,
                                                    {.value = byte(session) % 4, .flags = Wire_INLINED},
                                                    {.value = 8}},
                                         .collection = key(session).collection};
        length = sizeof message.attach;
        break;
    }
    case 10: {
        struct Wire_Observe handle = Wire_observe(transaction, ALLOCATE_FROM);
        uint64_t size = size_of_buffer(session);
        message.from = (struct AllocateFrom){
            .header = handle.header,
            .table = {.count = 5, .presence = UINT64_MAX},
            .fields = {{.value = 8}, {.value = 0}, {.value = 8}, {.value = 8}, handle.vmo},
            .size = size,
            .key = key(session)};
        length = sizeof message.from;
        break;
    }
    default:
        message.empty.header =
            Wire_header(transaction, kind == 7 ? STATUS : kind == 8 ? WATCH : 0x77);
        message.empty.header.dynamic = Wire_FLEXIBLE;
        message.empty.table.presence = UINT64_MAX;
    }
    memcpy(bytes, &message, length);
    return length;
}

// Up to three bytes of it are other ones then, or it is longer or shorter.
static size_t damage(struct Session *session, uint8_t *bytes, size_t length) {
    uint8_t how = byte(session);
    for (int changes = how % 4; changes > 0; changes--) {
        size_t offset = byte(session) % length;
        bytes[offset] = byte(session);
    }
    if (how & 64) length -= byte(session) % length;
    if (how & 128) {
        size_t more = byte(session);
        memset(bytes + length, byte(session), more);
        length += more;
    }
    return length;
}

static void send_message(struct Session *session, const uint8_t *bytes, size_t length) {
    int descriptors[Wire_MOST_DESCRIPTORS];
    uint8_t word = byte(session);
    // Nearly all have one at most, and few have very many of one kind.
    size_t wanted = word < 160 ? word % 2 : word < 250 ? word % 8 : Wire_MOST_DESCRIPTORS;
    size_t count = 0;
    while (count < wanted) {
        int one = count < 8 ? descriptor(session) : copy(descriptors[0]);
        if (one < 0) break;
        descriptors[count++] = one;
    }
    int socket = *client(session);
    if (socket >= 0) Wire_send_all(socket, bytes, length, descriptors, count, MSG_DONTWAIT);
    while (count > 0) close(descriptors[--count]);
}

// What it brings is kept in one of the places.
static bool receive(struct Session *session, int socket, int place) {
    uint8_t bytes[LONGEST];
    int handle = -1;
    if (Wire_receive(socket, bytes, sizeof bytes, MSG_DONTWAIT, &handle) <= 0) return false;
    if (handle >= 0) replace(&session->held[place], handle);
    return true;
}

static void await_answer(int socket) {
    struct pollfd event = {.fd = socket, .events = POLLIN};
    if (socket >= 0) poll(&event, 1, 2);
}

static void unmap(void **place) {
    if (*place) munmap(*place, 4096);
    *place = NULL;
}

// MARK: Steps

static void step(struct Session *session) {
    uint8_t bytes[LONGEST];
    size_t length;
    uint8_t word = byte(session);
    switch (word % 24) {
    case 0:
    case 1: replace(client(session), connected(session->folder, "heap", SOCK_SEQPACKET, 2000)); break;
    case 2: replace(client(session), connected(session->folder, "observer", SOCK_SEQPACKET, 2000)); break;
    case 3: replace(client(session), connected(session->folder, "metrics", SOCK_STREAM, 2000)); break;
    case 4: replace(client(session), -1); break;
    case 5: shutdown(*client(session), byte(session) % 3); break;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        length = good_message(session, bytes);
        send_message(session, bytes, length);
        break;
    case 11:
    case 12:
        length = damage(session, bytes, good_message(session, bytes));
        send_message(session, bytes, length);
        break;
    case 13:
        length = byte(session);
        for (size_t index = 0; index < length; index++) bytes[index] = byte(session);
        send_message(session, bytes, length);
        break;
    case 14:
    case 15:
    case 16: {
        int socket = *client(session);
        await_answer(socket);
        if (socket >= 0) receive(session, socket, byte(session) % HELD);
        break;
    }
    case 17: {
        int socket = *client(session);
        for (int place = 0; socket >= 0 && receive(session, socket, place % HELD); place++) {}
        break;
    }
    case 18: replace(held(session), -1); break;
    case 19: {
        int one = copy(*held(session));
        replace(held(session), one);
        break;
    }
    case 20: {
        int place = byte(session) % HELD;
        unmap(&session->mappings[place]);
        if (session->held[place] < 0) break;
        void *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, session->held[place], 0);
        if (memory != MAP_FAILED) session->mappings[place] = memory;
        break;
    }
    case 21: unmap(&session->mappings[byte(session) % HELD]); break;
    case 22: {
        // Without reading an answer.
        int socket = *client(session);
        length = good_message(session, bytes);
        for (int count = byte(session) % 64; socket >= 0 && count > 0; count--)
            Wire_send(socket, bytes, length, -1, MSG_DONTWAIT);
        break;
    }
    case 23: {
        int off = 0, socket = *client(session);
        // SO_PASSRIGHTS, of Linux 6.16: answers bring nothing then.
        if (word & 128) setsockopt(socket, SOL_SOCKET, 83, &off, sizeof off);
        else sched_yield();
        break;
    }
    }
}

size_t Fuzz_session(const char *folder, const uint8_t *input, size_t length) {
    struct Session session = {.folder = folder, .next = input, .end = input + length};
    for (int index = 0; index < CLIENTS; index++) session.clients[index] = -1;
    for (int index = 0; index < HELD; index++) session.held[index] = -1;
    size_t steps = 0;
    while (session.next < session.end) {
        step(&session);
        steps++;
    }
    // In another order than they came, by the input's length.
    for (int index = 0; index < CLIENTS; index++)
        replace(&session.clients[(index + length) % CLIENTS], -1);
    for (int index = 0; index < HELD; index++) {
        replace(&session.held[index], -1);
        unmap(&session.mappings[index]);
    }
    return steps;
}

bool Fuzz_is_served(const char *folder) {
    // Nobody else's.
    struct Wire_Key key = {.collection = 99, .index = 99};
    uint8_t bytes[LONGEST];
    int handle = -1, none = -1;
    int socket = connected(folder, "heap", SOCK_SEQPACKET, 10000);
    if (socket < 0) return false;
    struct Wire_Allocate allocate = Wire_allocate(1, 4096, key);
    struct Wire_Delete delete = Wire_delete(2, key);
    bool served = Wire_receive(socket, bytes, sizeof bytes, 0, &none) > 0
        && Wire_send(socket, &allocate, sizeof allocate, -1, 0)
        && Wire_receive(socket, bytes, sizeof bytes, 0, &handle) > 0 && handle >= 0
        && Wire_send(socket, &delete, sizeof delete, handle, 0);
    replace(&handle, -1);
    served = served && Wire_receive(socket, bytes, sizeof bytes, 0, &none) == 16;
    close(socket);
    return served;
}

// MARK: What is open

size_t Fuzz_open_descriptors(void) {
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory) return SIZE_MAX;
    while (readdir(directory)) count++;
    closedir(directory);
    // Itself, and the folder's two names.
    return count - 3;
}

void Fuzz_show_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        char target[256] = "";
        if (readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1) > 0)
            fprintf(stderr, "%s %s\n", entry->d_name, target);
    }
    if (directory) closedir(directory);
}
#endif

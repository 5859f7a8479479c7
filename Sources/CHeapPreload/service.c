#include "preload.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// Settings

/// What is added to the path of a service's socket for that which answers questions.
static const char OBSERVER[] = ".observer";

/// LINUXHEAPS_PRELOAD: `always`, the path of the service's socket, or both, `always:PATH`.
static struct {
    bool is_read, is_always;
    char socket[sizeof((struct sockaddr_un *)0)->sun_path];
} settings;

/// Before `main` has threads. Where it is called before, it writes the same twice.
__attribute__((constructor)) static void read_settings(void) {
    const char *text = secure_getenv("LINUXHEAPS_PRELOAD");
    if (!text) text = "";
    if (strcmp(text, "always") == 0 || strncmp(text, "always:", 7) == 0) {
        settings.is_always = true;
        text += text[6] ? 7 : 6;
    }
    if (!*text) text = "/run/heapd/heap.sock";
    // One that is too long, with the suffix of the other socket too, is no service's.
    if (strlen(text) + strlen(OBSERVER) < sizeof settings.socket) strcpy(settings.socket, text);
    settings.is_read = true;
}

bool is_always(void) {
    if (!settings.is_read) read_settings();
    return settings.is_always;
}

// Messages: Sources/HeapProtocol/HeapProtocol.docc/WritingAClient.md

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs are the wire's bytes");

#define ALLOCATE_VMO 0x5fb41a7ca22c2a64u
#define GET_STATUS 0x03019d146e458521u
#define EPITAPH UINT64_MAX
#define PRESENT UINT64_MAX

enum { FLEXIBLE = 0x80, NO_RESOURCES = -3, INVALID_ARGS = -10, OUT_OF_RANGE = -14 };

struct header {
    uint32_t transaction;
    uint8_t format[2], flexible, magic;
    uint64_t ordinal;
};

/// A connection has one request at a time.
#define HEADER(method, flags) \
    { .transaction = 1, .format = {2}, .flexible = flags, .magic = 1, .ordinal = method }

/// A table, a vector or a string.
struct sized {
    uint64_t count, presence;
};

struct envelope {
    uint32_t bytes;
    uint16_t handles, flags;
};

/// AllocateVmo with settings {1: {5: {1: the path of a node}}}.
struct allocation {
    struct header header;
    uint64_t size;
    struct sized settings;
    uint64_t collection, index;
    struct envelope memory_place;
    struct sized memory;
    struct envelope memory_fields[5];
    struct sized heap;
    struct envelope type_place;
    struct sized type;
    char text[136];
};
_Static_assert(offsetof(struct allocation, text) == 16 + 8 + 16 + 16 + 8 + 16 + 40 + 16 + 8 + 16, "AllocateVmo");

struct answer {
    struct header header;
    uint64_t member;
    struct envelope result;
    uint64_t rest[8];
    /// What came along, or -1.
    int file;
    /// In bytes, without that.
    ssize_t length;
    /// Something came along for which this process has no descriptor left.
    bool is_too_much;
};

/// False where the connection is lost.
static bool receive(int connection, struct answer *answer) {
    struct iovec vector = {.iov_base = answer, .iov_len = offsetof(struct answer, file)};
    union {
        struct cmsghdr header;
        // No room for a second one, as CMSG_SPACE has.
        char bytes[CMSG_LEN(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    memset(answer, 0, sizeof *answer);
    answer->file = -1;
    do answer->length = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    while (answer->length < 0 && errno == EINTR);
    if (answer->length <= 0) return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        memcpy(&answer->file, CMSG_DATA(header), sizeof answer->file);
    }
    // Of one that came nothing is told where it has no number.
    answer->is_too_much = message.msg_flags & MSG_CTRUNC && answer->file < 0;
    if (!(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) return true;
    if (answer->file >= 0) close(answer->file);
    return false;
}

/// Sends a request and waits for its answer. False where the connection is lost, or of no more use; a service that has refused it says why
/// in `answer->result`.
static bool ask(int connection, const void *request, size_t length, struct answer *answer) {
    const struct header *header = request;
    ssize_t sent;
    do sent = send(connection, request, length, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    // Also where nothing could be sent: why may be there to read.
    for (;;) {
        if (!receive(connection, answer)) return false;
        if (answer->header.ordinal == EPITAPH) return false;
        if (answer->header.ordinal == header->ordinal && answer->header.transaction == header->transaction) return true;
        // The greeting.
        if (answer->file >= 0) close(answer->file);
    }
}

// Connections

/// A service that does not answer for so long is taken for gone.
static const struct timeval PATIENCE = {.tv_sec = 30};

static bool is_full(int error) { return error == EMFILE || error == ENFILE; }

/// A new connection, or -1 with EMFILE or ENFILE where that is why, else ENODEV.
static int connect_to(const char *suffix) {
    if (!settings.is_read) read_settings();
    // An empty path would be a name of the abstract namespace, and with a suffix a file of the folder where the program is.
    errno = ENODEV;
    if (!settings.socket[0]) return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcat(strcpy(address.sun_path, settings.socket), suffix);
    int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connection < 0) {
        if (!is_full(errno)) errno = ENODEV;
        return -1;
    }
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &PATIENCE, sizeof PATIENCE);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &PATIENCE, sizeof PATIENCE);
    int result;
    do result = connect(connection, (struct sockaddr *)&address, sizeof address);
    while (result != 0 && errno == EINTR);
    if (result == 0) return connection;
    close(connection);
    errno = ENODEV;
    return -1;
}

/// Connections that nobody uses at the moment, each with what the kernel calls it: cookie << 32 | descriptor + 1. Whoever uses
/// one takes it out of here, so that neither a thread nor a signal handler finds it.
static _Atomic uint64_t idle[4];

/// The process whose connections those are, in memory that a forked child finds empty: it makes its own. By its number alone the first
/// processes of two namespaces would be one; that tells a child that shares this memory (vfork(2)).
static _Atomic pid_t *owner(void) {
    static _Atomic pid_t none;
    static _Atomic(_Atomic pid_t *) place;
    _Atomic pid_t *known = atomic_load(&place);
    if (known) return known;
    size_t size = sizeof *known;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED && madvise(memory, size, MADV_WIPEONFORK) == 0) {
        if (atomic_compare_exchange_strong(&place, &known, memory)) return memory;
    } else {
        if (atomic_compare_exchange_strong(&place, &known, &none)) known = &none;
    }
    if (memory != MAP_FAILED) munmap(memory, size);
    return known;
}

/// Out of the way of programs that count on a new descriptor's number.
enum { HIGH_NUMBER = 512 };

/// A number that no other socket has, or 0: under a descriptor's number a program may have another file by now, or none.
static uint32_t cookie_of(int file) {
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    return getsockopt(file, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? (uint32_t)cookie : 0;
}

/// What was kept in a place, or -1.
static int take_from(size_t at) {
    uint64_t kept = atomic_exchange(&idle[at], 0);
    int file = (int)(kept & UINT32_MAX) - 1;
    return kept && cookie_of(file) == kept >> 32 ? file : -1;
}

/// -1 where there is none.
static int take_connection(void) {
    pid_t process = getpid();
    bool is_inherited = atomic_load(owner()) != process;
    for (size_t at = 0; at < sizeof idle / sizeof *idle; at++) {
        int file = take_from(at);
        if (file < 0) continue;
        if (!is_inherited) return file;
        // The parent's: two that read from one would take each other's answers.
        close(file);
    }
    atomic_store(owner(), process);
    return -1;
}

static void put_back(int connection) {
    if (connection < HIGH_NUMBER) {
        int high = fcntl(connection, F_DUPFD_CLOEXEC, HIGH_NUMBER);
        if (high >= 0) {
            close(connection);
            connection = high;
        }
    }
    uint64_t kept = (uint64_t)cookie_of(connection) << 32 | (uint32_t)(connection + 1);
    for (size_t at = 0; kept >> 32 && at < sizeof idle / sizeof *idle; at++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&idle[at], &none, kept)) return;
    }
    close(connection);
}

// Requests

/// The program's name as the digits of a number in base 36, as a buffer's name in the kernel has it: `lh:NAME.INDEX`.
static uint64_t collection_of_program(void) {
    uint64_t collection = 0;
    int digits = 0;
    for (const char *at = program_invocation_short_name; *at && digits < 12; at++) {
        char letter = *at >= 'A' && *at <= 'Z' ? (char)(*at - 'A' + 'a') : *at;
        bool is_digit = letter >= '0' && letter <= '9';
        if (!is_digit && (letter < 'a' || letter > 'z')) continue;
        collection = collection * 36 + (uint64_t)(is_digit ? letter - '0' : letter - 'a' + 10);
        digits++;
    }
    return collection;
}

static int errno_of(int32_t status) {
    switch (status) {
    case INVALID_ARGS:
    case OUT_OF_RANGE: return EINVAL;
    // The kernel's heaps know no other.
    default: return ENOMEM;
    }
}

static int allocate(const char *name, uint64_t size) {
    struct allocation request = {
        .header = HEADER(ALLOCATE_VMO, 0),
        .size = size,
        .settings = {1, PRESENT},
        .collection = collection_of_program(),
        .memory = {5, PRESENT},
        .heap = {1, PRESENT},
        .type = {.presence = PRESENT},
    };
    strcat(strcpy(request.text, HEAP_FOLDER "/"), name);
    request.type.count = strlen(request.text);
    uint32_t text = (uint32_t)(request.type.count + 7) / 8 * 8;
    request.type_place.bytes = (uint32_t)sizeof request.type + text;
    request.memory_fields[4].bytes = (uint32_t)(sizeof request.heap + sizeof request.type_place) + request.type_place.bytes;
    request.memory_place.bytes =
        (uint32_t)(sizeof request.memory + sizeof request.memory_fields) + request.memory_fields[4].bytes;
    // Two numbers that nobody else has.
    if (getrandom(&request.index, sizeof request.index, GRND_NONBLOCK) != sizeof request.index) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        request.index = (uint64_t)getpid() << 40 ^ (uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec;
    }
    for (;;) {
        int connection = take_connection();
        bool is_new = connection < 0;
        if (is_new) connection = connect_to("");
        if (connection < 0) return -errno;
        struct answer answer;
        if (!ask(connection, &request, offsetof(struct allocation, text) + text, &answer)) {
            close(connection);
            if (answer.is_too_much) return -EMFILE;
            // A connection of before may be one to a server that has ended.
            if (!is_new) continue;
            int32_t status = (int32_t)(answer.member & UINT32_MAX);
            return answer.header.ordinal == EPITAPH && status == NO_RESOURCES ? -ENOMEM : -ENODEV;
        }
        put_back(connection);
        if (answer.member == 1 && answer.file >= 0) return answer.file;
        if (answer.file >= 0) close(answer.file);
        return -errno_of((int32_t)answer.result.bytes);
    }
}

int ask_for_buffer(const char *name, uint64_t size) {
    // ioctl(2) is no point at which a thread may be ended.
    int cancel, error = errno;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int result = allocate(name, size);
    // A node's memory is free when the last descriptor is closed. The service notices that later, and looks where it has no room.
    for (int tries = 1; tries <= 2 && result == -ENOMEM; tries++) {
        nanosleep(&(struct timespec){.tv_nsec = tries * 100000000}, NULL);
        result = allocate(name, size);
    }
    pthread_setcancelstate(cancel, NULL);
    errno = error;
    return result;
}

/// The list that the report has near its start: "nodes":["system","reserved"].
static void find_heaps(const char *report, char *names, size_t size) {
    const char *at = strstr(report, "\"nodes\":[");
    if (!at) return;
    for (at += 9; *at == '"'; at += *at == ',') {
        const char *end = strchr(++at, '"');
        if (!end || (size_t)(end - at) + 2 > size) return;
        size_t length = (size_t)(end - at);
        memcpy(names, at, length);
        names[length] = names[length + 1] = 0;
        names += length + 1;
        size -= length + 1;
        at = end + 1;
    }
}

bool ask_for_heaps(char *names, size_t size) {
    static const struct {
        struct header header;
        struct sized table;
    } request = {.header = HEADER(GET_STATUS, FLEXIBLE), .table = {0, PRESENT}};
    int cancel, error = errno;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    names[0] = 0;
    int connection = connect_to(OBSERVER);
    int failure = connection < 0 ? errno : ENODEV;
    struct answer answer = {.is_too_much = false};
    if (connection >= 0 && ask(connection, &request, sizeof request, &answer) && answer.file >= 0) {
        char report[2048];
        ssize_t length = pread(answer.file, report, sizeof report - 1, 0);
        report[length > 0 ? length : 0] = 0;
        find_heaps(report, names, size);
        close(answer.file);
    }
    if (connection >= 0) close(connection);
    if (answer.is_too_much) failure = EMFILE;
    pthread_setcancelstate(cancel, NULL);
    errno = names[0] ? error : failure;
    return names[0] != 0;
}

bool is_served(enum place place, const char *name) {
    char names[1024];
    errno = ENODEV;
    if (place == ELSEWHERE || !ask_for_heaps(names, sizeof names)) return false;
    if (place == THE_FOLDER) return true;
    for (const char *at = names; *at; at += strlen(at) + 1) {
        if (strcmp(at, name) == 0) return true;
    }
    errno = ENOENT;
    return false;
}

enum place place_served(int folder, const char *path, char name[LONGEST_NAME + 1]) {
    int error = errno;
    enum place place = means_no_node(error) ? place_of(folder, path, name) : ELSEWHERE;
    if (!is_served(place, name)) place = ELSEWHERE;
    errno = error;
    return place;
}

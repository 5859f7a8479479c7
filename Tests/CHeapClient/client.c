#ifdef __linux__
#include "client.h"
#include <CHeapWire.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_HELD = 8, MOST_DELETIONS = 8 };

/// A buffer that this client holds, by a descriptor, a mapping or both.
struct held {
    struct Wire_Key key;
    /// -1 where only the mapping is left.
    int descriptor;
    unsigned char *mapping;
    uint32_t length;
    /// It was allocated here, so nobody else deletes it.
    bool is_own;
};

struct board *board;
struct CHeapClient_setup setup;
int pool[2] = {-1, -1};

static struct random randomness;
static int heap = -1, observer = -1;
static uint32_t last_transaction;
static struct Wire_Key next_key;
static struct held held[MOST_HELD];
static int held_count;
/// Deletions that were not answered yet.
static int deletions;

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

// Messages

/// LOST: a connection that does not answer any more.
enum result { DONE, LOST };

/// What clients leave for each other in the pool, with a descriptor.
struct parcel {
    struct Wire_Key key;
    uint64_t length;
};

struct message {
    size_t length;
    /// -1 where none came.
    int descriptor;
    union {
        union Wire_Message wire;
        struct parcel parcel;
    };
};

static enum result send_message(int socket, const void *bytes, size_t length, int descriptor) {
    if (Wire_send(socket, bytes, length, descriptor, 0)) return DONE;
    if (errno != EPIPE && errno != ECONNRESET) fault("send: %s", strerror(errno));
    return LOST;
}

/// Waits for a message; `flags` are recvmsg(2)'s. A message of length 0 came where none was there.
static enum result receive_message(int socket, struct message *message, int flags) {
    ssize_t length =
        Wire_receive(socket, &message->wire, sizeof message->wire, flags, &message->descriptor);
    message->length = length < 0 ? 0 : (size_t)length;
    if (length > 0 || (length < 0 && errno == EAGAIN && flags & MSG_DONTWAIT)) return DONE;
    if (length < 0 && errno != ECONNRESET) fault("receive: %s", strerror(errno));
    return LOST;
}

void drain_pool(void) {
    struct message message;
    while (receive_message(pool[1], &message, MSG_DONTWAIT) == DONE && message.length > 0) {
        if (message.descriptor >= 0) close(message.descriptor);
    }
}

// Holding

static void unmap(struct held *buffer) {
    if (buffer->mapping) munmap(buffer->mapping, buffer->length);
    buffer->mapping = NULL;
}

static void let_go(int index) {
    unmap(&held[index]);
    if (held[index].descriptor >= 0) close(held[index].descriptor);
    held[index] = held[--held_count];
}

static void check_bytes(const struct held *buffer) {
    if (!buffer->mapping) return;
    struct Wire_Key found;
    memcpy(&found, buffer->mapping, sizeof found);
    if (memcmp(&found, &buffer->key, sizeof found) != 0) {
        fault("the bytes of buffer %llx are %llx", (unsigned long long)buffer->key.index,
              (unsigned long long)found.index);
    }
}

static void map(struct held *buffer) {
    if (!setup.is_mappable) return;
    void *start =
        mmap(NULL, buffer->length, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->descriptor, 0);
    if (start == MAP_FAILED) return fault("map: %s", strerror(errno));
    buffer->mapping = start;
}

static void keep(struct Wire_Key key, uint32_t length, int descriptor, bool is_own) {
    struct held *buffer = &held[held_count++];
    *buffer = (struct held){
        .key = key, .descriptor = descriptor, .length = length, .is_own = is_own};
    map(buffer);
}

// Asking

/// Takes any message of the Heap protocol; true where it answers `transaction`.
static bool take(const struct message *message, uint32_t transaction) {
    const struct Wire_Header *header = &message->wire.header;
    if (header->ordinal == Wire_EPITAPH) {
        fault("the service ended the connection with %d", message->wire.epitaph.status);
        return true;
    }
    if (header->ordinal == Wire_DELETE_VMO) {
        deletions--;
        count(&board->report.deleted);
        return false;
    }
    return header->txid == transaction;
}

static enum result answer_to(uint32_t transaction, struct message *message) {
    do {
        if (receive_message(heap, message, 0) == LOST) return LOST;
    } while (!take(message, transaction));
    return DONE;
}

/// Takes what was answered meanwhile.
static enum result collect(void) {
    struct message message;
    while (deletions > 0) {
        if (receive_message(heap, &message, MSG_DONTWAIT) == LOST) return LOST;
        if (message.length == 0) return DONE;
        take(&message, 0);
    }
    return DONE;
}

static enum result allocate(void) {
    if (held_count == MOST_HELD) {
        let_go((int)random_below(&randomness, (uint32_t)held_count));
        return DONE;
    }
    struct Wire_Key key = next_key;
    next_key.index++;
    uint64_t size = (1 + random_below(&randomness, 4)) * setup.page_size;
    // The settings come from the test.
    union Wire_Message request;
    memcpy(&request, setup.allocate, setup.allocate_length);
    request.allocate.header.txid = ++last_transaction;
    request.allocate.size = size;
    request.allocate.key = key;
    struct message answer;
    if (send_message(heap, &request, setup.allocate_length, -1) == LOST) return LOST;
    if (answer_to(last_transaction, &answer) == LOST) return LOST;
    const struct Wire_Result *result = &answer.wire.result;
    if (result->header.ordinal != Wire_ALLOCATE_VMO) return LOST;
    if (result->member != 1) {
        int status = (int)result->envelope.value;
        if (status != Wire_NO_MEMORY && status != Wire_NO_RESOURCES) {
            fault("allocation refused: %d", status);
        }
        count(&board->report.refused);
        return DONE;
    }
    if (answer.descriptor < 0) {
        fault("an allocation without a vmo");
        return LOST;
    }
    count(&board->report.allocated);
    keep(key, (uint32_t)size, answer.descriptor, true);
    struct held *buffer = &held[held_count - 1];
    if (!buffer->mapping) return DONE;
    static const struct Wire_Key zero;
    if (memcmp(buffer->mapping, &zero, sizeof zero) != 0) fault("a new buffer is not zero");
    memcpy(buffer->mapping, &key, sizeof key);
    return DONE;
}

static int random_held(bool is_own) {
    if (held_count == 0) return -1;
    int index = (int)random_below(&randomness, (uint32_t)held_count);
    if (held[index].descriptor < 0 || (is_own && !held[index].is_own)) return -1;
    return index;
}

/// The answer comes when nobody holds the buffer any more, so it is not waited for.
static enum result delete(void) {
    int index = random_held(true);
    if (index < 0 || deletions == MOST_DELETIONS) return DONE;
    struct Wire_Delete request = Wire_delete(++last_transaction, held[index].key);
    if (send_message(heap, &request, sizeof request, held[index].descriptor) == LOST) return LOST;
    deletions++;
    let_go(index);
    return DONE;
}

static enum result ask(struct held *buffer) {
    struct Wire_Observe request = Wire_observe(++last_transaction, Wire_GET_VMO_INFO);
    struct message answer;
    if (send_message(observer, &request, sizeof request, buffer->descriptor) == LOST) return LOST;
    if (receive_message(observer, &answer, 0) == LOST) return LOST;
    const struct Wire_Info *info = &answer.wire.info;
    if (info->result.member != 1) {
        // Who allocated it may have begun to delete it.
        if (buffer->is_own) {
            fault("a buffer is not known: %d", (int)info->result.envelope.value);
        }
        return DONE;
    }
    if (memcmp(&info->key, &buffer->key, sizeof info->key) != 0) {
        fault("a buffer is taken for another");
    }
    count(&board->report.known);
    return DONE;
}

// Sharing

static void share(void) {
    int index = random_held(false);
    if (index < 0) return;
    struct held *buffer = &held[index];
    struct parcel parcel = {.key = buffer->key, .length = buffer->length};
    if (Wire_send(pool[0], &parcel, sizeof parcel, buffer->descriptor, MSG_DONTWAIT)) {
        count(&board->report.shared);
    } else if (errno != EAGAIN) {
        fault("share: %s", strerror(errno));
    }
}

static void take_shared(void) {
    if (held_count == MOST_HELD) return;
    struct message message;
    if (receive_message(pool[1], &message, MSG_DONTWAIT) == LOST || message.length == 0) return;
    if (message.descriptor < 0 || message.length != sizeof message.parcel) {
        return fault("an empty parcel");
    }
    count(&board->report.taken);
    keep(message.parcel.key, (uint32_t)message.parcel.length, message.descriptor, false);
    check_bytes(&held[held_count - 1]);
}

// Running

static void hang_up(void) {
    if (heap >= 0) close(heap);
    if (observer >= 0) close(observer);
    heap = observer = -1;
}

static enum result connect_both(void) {
    struct message message;
    deletions = 0;
    heap = Wire_connect(setup.heap, SOCK_SEQPACKET, setup.patience);
    if (heap >= 0) observer = Wire_connect(setup.observer, SOCK_SEQPACKET, setup.patience);
    if (heap < 0 || observer < 0) {
        fault("connect: %s", strerror(errno));
        _exit(1);
    }
    if (receive_message(heap, &message, 0) == LOST) return LOST;
    if (message.wire.header.ordinal != Wire_ON_REGISTER) fault("the first message is no OnRegister");
    return DONE;
}

/// What was held before the connection was lost is known to the next server.
static enum result check_all(void) {
    for (int index = 0; index < held_count; index++) {
        check_bytes(&held[index]);
        if (held[index].descriptor >= 0 && ask(&held[index]) == LOST) return LOST;
    }
    return DONE;
}

static void reconnect(void) {
    do {
        if (!setup.reconnects) {
            fault("the connection is lost");
            _exit(1);
        }
        hang_up();
    } while (connect_both() == LOST || check_all() == LOST);
    count(&board->report.reconnected);
}

static enum result act(void) {
    uint32_t choice = random_below(&randomness, 100);
    if (choice < 40) return allocate();
    if (choice < 58) return delete();
    if (choice < 75) {
        share();
        return DONE;
    }
    if (choice < 88) {
        take_shared();
        return DONE;
    }
    int index = random_held(false);
    if (index < 0) return DONE;
    if (choice < 92) return ask(&held[index]);
    check_bytes(&held[index]);
    if (choice < 96 && held[index].mapping) {
        // The mapping alone keeps the buffer.
        close(held[index].descriptor);
        held[index].descriptor = -1;
    } else {
        let_go(index);
    }
    return DONE;
}

/// Waits until the service has answered every deletion: all others let go too.
static enum result give_back(void) {
    while (held_count > 0) let_go(0);
    for (uint32_t waited = 0; deletions > 0; waited += 5) {
        drain_pool();
        struct pollfd answered = {.fd = heap, .events = POLLIN};
        poll(&answered, 1, 5);
        if (collect() == LOST) return LOST;
        if (waited > setup.patience) {
            fault("%d deletions are not answered", deletions);
            return DONE;
        }
    }
    return DONE;
}

static bool is_stopped(void) { return __atomic_load_n(&board->stops, __ATOMIC_RELAXED) != 0; }

_Noreturn void run_client(uint64_t seed) {
    randomness.state = seed;
    uint64_t number = __atomic_fetch_add(&board->clients, 1, __ATOMIC_RELAXED);
    next_key.collection = 0xfeed000000000000 + number;
    next_key.index = next_random(&randomness);
    if (connect_both() == LOST) reconnect();
    while (!is_stopped()) {
        if (collect() == LOST || act() == LOST) reconnect();
        // One that goes on for long leaves some of the machine to others.
        if (last_transaction % 8 == 0) usleep(random_below(&randomness, 300));
    }
    while (give_back() == LOST) reconnect();
    _exit(0);
}
#endif

#ifdef __linux__
#include "client.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// Offsets in messages: a header of 16 bytes with the txid first, then the fields.
enum { TXID = 0, ORDINAL = 8, SIZE = 16, ALLOCATE_KEY = 40, REMOVE_KEY = 16 };
enum { MOST_HELD = 8, MOST_DELETIONS = 8 };

static const uint64_t on_register = 0x364b39390a966fc5;
static const uint64_t allocate_vmo = 0x5fb41a7ca22c2a64;
static const uint64_t delete_vmo = 0x4c13703898112c92;
static const uint64_t epitaph = UINT64_MAX;

struct key { uint64_t collection, index; };

/// A buffer that this client holds, by a descriptor, a mapping or both.
struct held {
    struct key key;
    /// -1 where only the mapping is left.
    int descriptor;
    unsigned char *mapping;
    uint32_t length;
    /// It was allocated here, so nobody else deletes it.
    bool is_own;
};

static struct random randomness;
static int heap = -1, observer = -1;
static uint32_t last_transaction;
static struct key next_key;
static struct held held[MOST_HELD];
static int held_count;
/// Deletions that were not answered yet.
static int deletions;

static uint64_t word(const struct message *message, size_t offset) {
    return message->words[offset / 8];
}

static void put(uint8_t *bytes, size_t offset, const void *value, size_t length) {
    memcpy(bytes + offset, value, length);
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
    struct key found;
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

static void keep(struct key key, uint32_t length, int descriptor, bool is_own) {
    struct held *buffer = &held[held_count++];
    *buffer = (struct held){
        .key = key, .descriptor = descriptor, .length = length, .is_own = is_own};
    map(buffer);
}

// Asking

/// Takes any message of the Heap protocol; true where it answers `transaction`.
static bool take(const struct message *message, uint32_t transaction) {
    if (word(message, ORDINAL) == epitaph) {
        fault("the service ended the connection with %d", (int)word(message, 16));
        return true;
    }
    if (word(message, ORDINAL) == delete_vmo) {
        deletions--;
        count(&board->report.deleted);
        return false;
    }
    return (uint32_t)word(message, TXID) == transaction;
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
    uint8_t request[sizeof setup.allocate];
    memcpy(request, setup.allocate, sizeof request);
    uint32_t transaction = ++last_transaction;
    struct key key = next_key;
    next_key.index++;
    uint64_t size = (1 + random_below(&randomness, 4)) * setup.page_size;
    put(request, TXID, &transaction, sizeof transaction);
    put(request, SIZE, &size, sizeof size);
    put(request, ALLOCATE_KEY, &key, sizeof key);
    struct message answer;
    if (send_message(heap, request, setup.allocate_length, -1, 0) == LOST) return LOST;
    if (answer_to(transaction, &answer) == LOST) return LOST;
    if (word(&answer, ORDINAL) != allocate_vmo) return LOST;
    if (word(&answer, 16) != 1) {
        int status = (int)word(&answer, 24);
        // NO_MEMORY, NO_RESOURCES
        if (status != -4 && status != -3) fault("allocation refused: %d", status);
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
    static const struct key zero;
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
    uint8_t request[sizeof setup.remove];
    memcpy(request, setup.remove, sizeof request);
    uint32_t transaction = ++last_transaction;
    put(request, TXID, &transaction, sizeof transaction);
    put(request, REMOVE_KEY, &held[index].key, sizeof held[index].key);
    if (send_message(heap, request, sizeof request, held[index].descriptor, 0) == LOST) return LOST;
    deletions++;
    let_go(index);
    return DONE;
}

static enum result ask(struct held *buffer) {
    uint8_t request[sizeof setup.info];
    memcpy(request, setup.info, sizeof request);
    uint32_t transaction = ++last_transaction;
    put(request, TXID, &transaction, sizeof transaction);
    struct message answer;
    if (send_message(observer, request, sizeof request, buffer->descriptor, 0) == LOST) return LOST;
    if (receive_message(observer, &answer, 0) == LOST) return LOST;
    if (word(&answer, 16) != 1) {
        // Who allocated it may have begun to delete it.
        if (buffer->is_own) fault("a buffer is not known: %d", (int)word(&answer, 24));
        return DONE;
    }
    if (word(&answer, 64) != buffer->key.collection || word(&answer, 72) != buffer->key.index) {
        fault("a buffer is taken for another");
    }
    count(&board->report.known);
    return DONE;
}

// Sharing

struct parcel {
    struct key key;
    uint64_t length;
};

static void share(void) {
    int index = random_held(false);
    if (index < 0) return;
    struct held *buffer = &held[index];
    struct parcel parcel = {.key = buffer->key, .length = buffer->length};
    if (send_message(pool[0], &parcel, sizeof parcel, buffer->descriptor, MSG_DONTWAIT) == DONE) {
        count(&board->report.shared);
    }
}

static void take_shared(void) {
    if (held_count == MOST_HELD) return;
    struct message message;
    if (receive_message(pool[1], &message, MSG_DONTWAIT) == LOST || message.length == 0) return;
    struct parcel parcel;
    memcpy(&parcel, message.words, sizeof parcel);
    if (message.descriptor < 0 || message.length != sizeof parcel) return fault("an empty parcel");
    count(&board->report.taken);
    keep(parcel.key, (uint32_t)parcel.length, message.descriptor, false);
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
    heap = connect_to(setup.heap);
    observer = connect_to(setup.observer);
    if (heap < 0 || observer < 0) _exit(1);
    if (receive_message(heap, &message, 0) == LOST) return LOST;
    if (word(&message, ORDINAL) != on_register) fault("the first message is no OnRegister");
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

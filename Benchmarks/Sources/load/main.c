// The client of every measurement. It takes orders on standard input and answers on standard
// output, one line each, so that a driver can have several take turns.

#include <CHeapWire.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_SIZE = 65536 };

static const char usage[] =
    "usage: load rounds PATH                      for each number read: that many rounds of\n"
    "                                             AllocateVmo and DeleteVmo, then a line of times\n"
    "                                             in ns; at the end of input one of all rounds\n"
    "                                             (not counting those of \"warm-up NUMBER\")\n"
    "       load hold PATH CONNECTIONS BUFFERS    keeps buffers until the end of input; \"ready\"\n"
    "                                             when it has them\n"
    "       load pass PATH BUFFERS                keeps buffers until the end of input, and sends\n"
    "                                             each vmo through the socket that is its input\n";

/// Prints a message like printf, with the cause in `errno` unless it is 0, and ends with status 1:
/// half a load measures nothing.
__attribute__((format(printf, 1, 2))) _Noreturn static void fail(const char *format, ...) {
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

// MARK: Calls on the server

static uint32_t last_txid;

/// In a collection that is this process's own.
static struct Wire_Key key(uint64_t index) {
    static uint64_t collection;
    if (!collection) collection = (uint64_t)getpid();
    return (struct Wire_Key){collection, index};
}

static void send_request(int heap, const char *call, const void *request, size_t length, int vmo) {
    if (!Wire_send(heap, request, length, vmo, 0)) fail("%s was not sent", call);
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

/// Connects, and waits for OnRegister.
static int connect_to_heap(const char *path) {
    int heap = Wire_connect(path, SOCK_SEQPACKET, 0);
    if (heap < 0) fail("cannot connect to %s", path);
    union Wire_Message event;
    int handle;
    errno = 0;
    ssize_t length = Wire_receive(heap, &event, sizeof event, 0, &handle);
    if (length < (ssize_t)sizeof event.header || event.header.ordinal != Wire_ON_REGISTER) {
        fail("%s does not greet with OnRegister", path);
    }
    return heap;
}

/// AllocateVmo of BUFFER_SIZE with empty settings.
static int allocate(int heap, uint64_t index) {
    struct Wire_Allocate request = Wire_allocate(++last_txid, BUFFER_SIZE, key(index));
    struct Wire_Result reply;
    send_request(heap, "AllocateVmo", &request, sizeof request, -1);
    int vmo = receive_reply(heap, "AllocateVmo", &request.header, &reply, sizeof reply, 1);
    if (reply.member != 1) {
        fail("AllocateVmo of buffer %llu: status %d", (unsigned long long)index,
             (int32_t)reply.envelope.value);
    }
    if (vmo < 0) fail("AllocateVmo: no vmo came with the reply (descriptors used up?)");
    return vmo;
}

/// DeleteVmo; closes `vmo` as soon as it is sent.
static void delete_vmo(int heap, uint64_t index, int vmo) {
    struct Wire_Delete request = Wire_delete(++last_txid, key(index));
    struct Wire_Header reply;
    send_request(heap, "DeleteVmo", &request, sizeof request, vmo);
    close(vmo);
    receive_reply(heap, "DeleteVmo", &request.header, &reply, sizeof reply, 0);
}

// MARK: Times

/// Times in nanoseconds, in the order they were taken.
struct samples {
    uint64_t *times;
    size_t count;
    size_t capacity;
};

static struct samples rounds, allocations, deletions;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/// Makes room, so that adding `more` takes no memory while times are taken.
static void reserve(struct samples *samples, size_t more) {
    if (samples->capacity - samples->count >= more) return;
    samples->capacity = samples->count + more;
    samples->times = realloc(samples->times, samples->capacity * sizeof *samples->times);
    if (!samples->times) fail("no memory for the times of %zu rounds", samples->capacity);
    // Touched now: the first use of a page costs more than what is measured.
    memset(samples->times + samples->count, 0, more * sizeof *samples->times);
}

/// Room must have been made.
static void add(struct samples *samples, uint64_t nanoseconds) {
    samples->times[samples->count++] = nanoseconds;
}

static int in_order(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/// Prints ` NAME.p50=NS NAME.p90=NS NAME.p99=NS NAME.max=NS` of the samples from `first` on; there
/// must be one. A percentile is a time that was taken: the nearest rank.
static void print_percentiles(const char *name, const struct samples *samples, size_t first) {
    static const struct {
        const char *name;
        size_t hundredths;
    } ranks[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"max", 100}};
    size_t count = samples->count - first;
    uint64_t *sorted = malloc(count * sizeof *sorted);
    if (!sorted) fail("no memory to sort the times");
    memcpy(sorted, samples->times + first, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, in_order);
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        size_t rank = (count * ranks[i].hundredths + 99) / 100;
        printf(" %s.%s=%llu", name, ranks[i].name, (unsigned long long)sorted[rank - 1]);
    }
    free(sorted);
}

/// The times of every round from `first` on, if there is one.
static void print_times(size_t first) {
    if (rounds.count == first) return;
    printf("rounds=%zu", rounds.count - first);
    print_percentiles("round", &rounds, first);
    print_percentiles("allocate", &allocations, first);
    print_percentiles("delete", &deletions, first);
    putchar('\n');
    fflush(stdout);
}

// MARK: Modes

static void do_rounds(int heap, size_t count) {
    // Never the same one twice, as in a client's life.
    static uint64_t index;
    reserve(&rounds, count);
    reserve(&allocations, count);
    reserve(&deletions, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now();
        int vmo = allocate(heap, index);
        uint64_t middle = now();
        delete_vmo(heap, index, vmo);
        uint64_t end = now();
        index++;
        add(&allocations, middle - start);
        add(&deletions, end - middle);
        add(&rounds, end - start);
    }
}

/// An order is a number. The last line does not count the rounds of an order `warm-up NUMBER`.
static void obey_orders(int heap) {
    static const char warm_up[] = "warm-up ";
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        bool counts = strncmp(line, warm_up, strlen(warm_up)) != 0;
        long count = strtol(counts ? line : line + strlen(warm_up), NULL, 10);
        errno = 0;
        if (count <= 0) fail("not a number of rounds: %s", line);
        size_t first = rounds.count;
        do_rounds(heap, (size_t)count);
        print_times(first);
        if (!counts) rounds.count = allocations.count = deletions.count = first;
    }
    print_times(0);
}

static void wait_for_end_of_input(void) {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
}

static void hold(const char *path, size_t connections, size_t buffers) {
    int *heaps = calloc(connections, sizeof *heaps);
    if (!heaps) fail("no memory for %zu connections", connections);
    for (size_t i = 0; i < connections; i++) heaps[i] = connect_to_heap(path);
    // Spread evenly; the descriptors need no names, since the end of the process closes them.
    for (size_t i = 0; i < buffers; i++) allocate(heaps[i % connections], i);
    puts("ready");
    fflush(stdout);
    wait_for_end_of_input();
}

static void pass(const char *path, size_t buffers) {
    int heap = connect_to_heap(path);
    for (size_t i = 0; i < buffers; i++) {
        int vmo = allocate(heap, i);
        if (!Wire_send(STDIN_FILENO, &vmo, sizeof vmo, vmo, 0)) fail("a vmo was not passed on");
    }
    wait_for_end_of_input();
}

/// A count on the command line, or 0 where there is none.
static size_t number(char **arguments, int count, int position) {
    if (position >= count) return 0;
    long number = strtol(arguments[position], NULL, 10);
    return number > 0 && number < INT_MAX ? (size_t)number : 0;
}

int main(int count, char **arguments) {
    const char *mode = count > 2 ? arguments[1] : "";
    const char *path = count > 2 ? arguments[2] : "";
    size_t first = number(arguments, count, 3);
    size_t second = number(arguments, count, 4);
    if (!strcmp(mode, "rounds") && count == 3) {
        obey_orders(connect_to_heap(path));
    } else if (!strcmp(mode, "hold") && first && second && count == 5) {
        hold(path, first, second);
    } else if (!strcmp(mode, "pass") && first && count == 4) {
        pass(path, first);
    } else {
        fputs(usage, stderr);
        return 64;
    }
    return 0;
}

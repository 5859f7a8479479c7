// The client of every measurement. It takes orders on standard input and answers on standard
// output, one line each, so that a driver can have several take turns.

#include "client.h"
#include "samples.h"

#include <Wire.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: load rounds PATH                      for each number read: that many rounds of\n"
    "                                             AllocateVmo and DeleteVmo, then a line of times\n"
    "                                             in ns; at the end of input one of all rounds\n"
    "                                             (not counting those of \"warm-up NUMBER\")\n"
    "       load hold PATH CONNECTIONS BUFFERS    keeps buffers until the end of input; \"ready\"\n"
    "                                             when it has them\n"
    "       load pass PATH BUFFERS                keeps buffers until the end of input, and sends\n"
    "                                             each vmo through the socket that is its input\n";

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static struct samples rounds, allocations, deletions;

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
    Wire_raise_descriptor_limit();
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
        if (!Wire_send(STDIN_FILENO, &vmo, sizeof vmo, vmo)) fail("a vmo was not passed on");
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

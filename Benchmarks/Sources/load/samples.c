#include "samples.h"

#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void reserve(struct samples *samples, size_t more) {
    if (samples->capacity - samples->count >= more) return;
    samples->capacity = samples->count + more;
    samples->times = realloc(samples->times, samples->capacity * sizeof *samples->times);
    if (!samples->times) fail("no memory for the times of %zu rounds", samples->capacity);
    // Touched now: the first use of a page costs more than what is measured.
    memset(samples->times + samples->count, 0, more * sizeof *samples->times);
}

void add(struct samples *samples, uint64_t nanoseconds) {
    samples->times[samples->count++] = nanoseconds;
}

static int in_order(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

void print_percentiles(const char *name, const struct samples *samples, size_t first) {
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

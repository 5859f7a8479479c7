#ifndef LOAD_SAMPLES_H
#define LOAD_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

/// Times in nanoseconds, in the order they were taken.
struct samples {
    uint64_t *times;
    size_t count;
    size_t capacity;
};

/// Makes room, so that adding `more` takes no memory while times are taken.
void reserve(struct samples *samples, size_t more);

/// Room must have been made.
void add(struct samples *samples, uint64_t nanoseconds);

/// Prints ` NAME.p50=NS NAME.p90=NS NAME.p99=NS NAME.max=NS` of the samples from `first` on; there
/// must be one. A percentile is a time that was taken: the nearest rank.
void print_percentiles(const char *name, const struct samples *samples, size_t first);

#endif

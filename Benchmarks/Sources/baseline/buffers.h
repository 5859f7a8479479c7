#ifndef BASELINE_BUFFERS_H
#define BASELINE_BUFFERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/// One live buffer: the open file that the server keeps, and what a passed handle must be of.
struct buffer {
    uint64_t collection;
    uint64_t index;
    /// The next in its bucket of the table.
    struct buffer *next;
    int parent;
    int watch;
    dev_t device;
    ino_t inode;
    /// While its deletion waits for a child's close: the next of these, who asked, and the request.
    struct buffer *next_waiting;
    int connection;
    uint32_t txid;
};

/// Makes a memfd whose last child's close `inotify` reports, and enters it in the table.
/// `*child` is the caller's to send and close. NULL: not made, with `errno`.
struct buffer *make_buffer(int inotify, uint64_t collection, uint64_t index, uint64_t size,
                           int *child);

/// NULL: there is none.
struct buffer *find_buffer(uint64_t collection, uint64_t index);

/// Whether a descriptor is of this buffer.
bool is_of_buffer(int descriptor, const struct buffer *buffer);

/// Frees all of it, unless a child is left: then it answers false.
bool reclaim_buffer(int inotify, struct buffer *buffer);

#endif

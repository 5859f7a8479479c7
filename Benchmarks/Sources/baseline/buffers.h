#ifndef BASELINE_BUFFERS_H
#define BASELINE_BUFFERS_H

#include <CHeapWire.h>

/// One live buffer: the open file that the server keeps, and what a passed handle must be of.
struct buffer {
    struct Wire_Key key;
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
struct buffer *make_buffer(int inotify, struct Wire_Key key, uint64_t size, int *child);

/// NULL: there is none.
struct buffer *find_buffer(struct Wire_Key key);

/// Whether a descriptor is of this buffer.
bool is_of_buffer(int descriptor, const struct buffer *buffer);

/// Frees all of it, unless a child is left: then it answers false.
bool reclaim_buffer(int inotify, struct buffer *buffer);

#endif

#include "buffers.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUCKETS = 1 << 14 };
static struct buffer *table[BUCKETS];

static struct buffer **bucket(struct Wire_Key key) {
    // Indices count up, so they spread by themselves; an odd factor keeps collections apart.
    return &table[(key.collection * 0x9e3779b97f4a7c15u + key.index) % BUCKETS];
}

struct buffer *find_buffer(struct Wire_Key key) {
    struct buffer *buffer = *bucket(key);
    while (buffer && (buffer->key.collection != key.collection || buffer->key.index != key.index)) {
        buffer = buffer->next;
    }
    return buffer;
}

static void enter(struct buffer *buffer) {
    struct buffer **place = bucket(buffer->key);
    buffer->next = *place;
    *place = buffer;
}

static void strike_out(struct buffer *buffer) {
    struct buffer **place = bucket(buffer->key);
    while (*place != buffer) place = &(*place)->next;
    *place = buffer->next;
}

/// The path under which this process can open a file anew that it has open.
struct path {
    char text[32];
};

static struct path path_of(int descriptor) {
    struct path path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d", descriptor);
    return path;
}

/// A sealed memfd of `size` bytes, reopened for reading; its first open file closes. -1: `errno`.
static int make_parent(uint64_t size) {
    int file = memfd_create("baseline", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return -1;
    int parent = -1;
    if (!ftruncate(file, (off_t)size) &&
        !fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        parent = open(path_of(file).text, O_RDONLY | O_CLOEXEC);
    }
    close(file);
    return parent;
}

/// Opens the child and has its close reported. False: `errno`, and what was made is undone.
static bool open_child(int inotify, struct buffer *buffer, int *child) {
    // Who opened the file while a lease is held would have SIGIO end this process.
    if (fcntl(buffer->parent, F_SETSIG, SIGURG)) return false;
    struct stat status;
    if (fstat(buffer->parent, &status)) return false;
    buffer->device = status.st_dev;
    buffer->inode = status.st_ino;
    struct path path = path_of(buffer->parent);
    buffer->watch = inotify_add_watch(inotify, path.text, IN_CLOSE);
    if (buffer->watch < 0) return false;
    if (!fchmod(buffer->parent, 0600)) {
        *child = open(path.text, O_RDWR | O_CLOEXEC);
        if (*child >= 0) return true;
    }
    inotify_rm_watch(inotify, buffer->watch);
    return false;
}

struct buffer *make_buffer(int inotify, struct Wire_Key key, uint64_t size, int *child) {
    struct buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer) return NULL;
    buffer->key = key;
    buffer->parent = make_parent(size);
    if (buffer->parent >= 0 && open_child(inotify, buffer, child)) {
        enter(buffer);
        return buffer;
    }
    int error = errno;
    if (buffer->parent >= 0) close(buffer->parent);
    free(buffer);
    errno = error;
    return NULL;
}

bool is_of_buffer(int descriptor, const struct buffer *buffer) {
    struct stat status;
    return !fstat(descriptor, &status) && status.st_dev == buffer->device &&
           status.st_ino == buffer->inode;
}

bool reclaim_buffer(int inotify, struct buffer *buffer) {
    // Granted only to the one open file of an inode.
    if (fcntl(buffer->parent, F_SETLEASE, F_WRLCK)) return false;
    fcntl(buffer->parent, F_SETLEASE, F_UNLCK);
    inotify_rm_watch(inotify, buffer->watch);
    close(buffer->parent);
    strike_out(buffer);
    free(buffer);
    return true;
}

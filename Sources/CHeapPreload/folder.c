#include "preload.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// opendir(3) of /dev/dma_heap, where it is closed or not there: a stream of the names of the service's heaps.

_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64), "one struct for both");

/// A stream of ours.
struct stream {
    /// In the C library's own, a descriptor, a lock and where its reader is. What is not answered here finds none to read.
    int head[32];
    size_t at;
    struct dirent entry;
    char names[1024];
};

/// Those that are open. A program has one or two.
static _Atomic(struct stream *) streams[8];

static struct stream *ours(DIR *folder) {
    for (size_t at = 0; at < sizeof streams / sizeof *streams; at++) {
        struct stream *stream = atomic_load(&streams[at]);
        if (stream && (DIR *)stream == folder) return stream;
    }
    return NULL;
}

WRAPS(opendir);
EXPORT DIR *opendir(const char *path) {
    DIR *folder = NEXT(opendir)(path);
    int error = errno;
    char name[LONGEST_NAME + 1];
    if (folder || !means_no_node(error) || place_of(AT_FDCWD, path, name) != THE_FOLDER) {
        errno = error;
        return folder;
    }
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream && ask_for_heaps(stream->names, sizeof stream->names)) {
        stream->head[0] = -1;
        for (size_t at = 0; at < sizeof streams / sizeof *streams; at++) {
            struct stream *none = NULL;
            if (atomic_compare_exchange_strong(&streams[at], &none, stream)) return (DIR *)stream;
        }
        error = EMFILE;
    } else if (stream && (errno == EMFILE || errno == ENFILE)) {
        error = errno;
    }
    free(stream);
    errno = error;
    return NULL;
}

static struct dirent *next_entry(struct stream *stream) {
    const char *name = stream->names + stream->at;
    if (!*name) return NULL;
    size_t length = strlen(name);
    stream->at += length + 1;
    stream->entry.d_ino = stream->at;
    stream->entry.d_off = (off_t)stream->at;
    stream->entry.d_reclen = sizeof stream->entry;
    stream->entry.d_type = DT_CHR;
    memcpy(stream->entry.d_name, name, length + 1);
    return &stream->entry;
}

WRAPS(readdir);
EXPORT struct dirent *readdir(DIR *folder) {
    struct stream *stream = ours(folder);
    return stream ? next_entry(stream) : NEXT(readdir)(folder);
}

WRAPS(readdir64);
EXPORT struct dirent64 *readdir64(DIR *folder) {
    struct stream *stream = ours(folder);
    return stream ? (struct dirent64 *)next_entry(stream) : NEXT(readdir64)(folder);
}

WRAPS(rewinddir);
EXPORT void rewinddir(DIR *folder) {
    struct stream *stream = ours(folder);
    if (!stream) return NEXT(rewinddir)(folder);
    stream->at = 0;
}

WRAPS(closedir);
EXPORT int closedir(DIR *folder) {
    struct stream *stream = ours(folder);
    if (!stream) return NEXT(closedir)(folder);
    for (size_t at = 0; at < sizeof streams / sizeof *streams; at++) {
        struct stream *closed = stream;
        if (atomic_compare_exchange_strong(&streams[at], &closed, NULL)) break;
    }
    free(stream);
    return 0;
}

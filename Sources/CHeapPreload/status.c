#include "preload.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>

// stat(2) and its kin. Of a node's descriptor they tell what they would of the node; of a path, where it is not there.

_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one struct for both");

static int path_after(int folder, const char *path, struct stat *status) {
    char name[LONGEST_NAME + 1];
    enum place place = place_served(folder, path, name);
    if (place == ELSEWHERE) return -1;
    if (place == A_HEAP) {
        tell_node(name, status);
    } else {
        *status = (struct stat){.st_mode = S_IFDIR | 0755, .st_nlink = 2, .st_blksize = 4096};
    }
    return 0;
}

/// After a call that succeeded.
static int file_after(int file, struct stat *status) {
    char name[LONGEST_NAME + 1];
    if (S_ISREG(status->st_mode) && status->st_nlink == 0 && is_node(file, name)) tell_node(name, status);
    return 0;
}

/// NULL too: Linux 6.11.
static bool is_empty(const char *path) {
    // glibc declares that statx(2) takes no NULL, so the compiler would leave the question out.
    __asm__("" : "+r"(path));
    return !path || !*path;
}

static int folder_after(int result, int folder, const char *path, int flags, struct stat *status) {
    if (result != 0) return path_after(folder, path, status);
    return flags & AT_EMPTY_PATH && is_empty(path) ? file_after(folder, status) : 0;
}

#define WRAP_PATH(function, type)                                                        \
    WRAPS(function);                                                                     \
    EXPORT int function(const char *path, struct type *status) {                         \
        if (NEXT(function)(path, status) == 0) return 0;                                 \
        return path_after(AT_FDCWD, path, (struct stat *)status);                        \
    }
#define WRAP_FILE(function, type)                                                        \
    WRAPS(function);                                                                     \
    EXPORT int function(int file, struct type *status) {                                 \
        return NEXT(function)(file, status) ? -1 : file_after(file, (struct stat *)status); \
    }
#define WRAP_AT(function, type)                                                          \
    WRAPS(function);                                                                     \
    EXPORT int function(int folder, const char *path, struct type *status, int flags) {  \
        int result = NEXT(function)(folder, path, status, flags);                        \
        return folder_after(result, folder, path, flags, (struct stat *)status);         \
    }

WRAP_PATH(stat, stat)
WRAP_PATH(stat64, stat64)
WRAP_PATH(lstat, stat)
WRAP_PATH(lstat64, stat64)
WRAP_FILE(fstat, stat)
WRAP_FILE(fstat64, stat64)
WRAP_AT(fstatat, stat)
WRAP_AT(fstatat64, stat64)

// What programs call that were built with a C library before 2.33.
#define WRAP_OLD_PATH(function, type)                                                    \
    EXPORT int function(int version, const char *path, struct type *status);             \
    WRAPS(function);                                                                     \
    EXPORT int function(int version, const char *path, struct type *status) {            \
        if (NEXT(function)(version, path, status) == 0) return 0;                        \
        return path_after(AT_FDCWD, path, (struct stat *)status);                        \
    }
#define WRAP_OLD_FILE(function, type)                                                    \
    EXPORT int function(int version, int file, struct type *status);                     \
    WRAPS(function);                                                                     \
    EXPORT int function(int version, int file, struct type *status) {                    \
        return NEXT(function)(version, file, status) ? -1 : file_after(file, (struct stat *)status); \
    }
#define WRAP_OLD_AT(function, type)                                                      \
    EXPORT int function(int version, int folder, const char *path, struct type *status, int flags); \
    WRAPS(function);                                                                     \
    EXPORT int function(int version, int folder, const char *path, struct type *status, int flags) { \
        int result = NEXT(function)(version, folder, path, status, flags);               \
        return folder_after(result, folder, path, flags, (struct stat *)status);         \
    }

WRAP_OLD_PATH(__xstat, stat)
WRAP_OLD_PATH(__xstat64, stat64)
WRAP_OLD_PATH(__lxstat, stat)
WRAP_OLD_PATH(__lxstat64, stat64)
WRAP_OLD_FILE(__fxstat, stat)
WRAP_OLD_FILE(__fxstat64, stat64)
WRAP_OLD_AT(__fxstatat, stat)
WRAP_OLD_AT(__fxstatat64, stat64)

static void convert(const struct stat *status, struct statx *extended) {
    *extended = (struct statx){
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)status->st_blksize,
        .stx_nlink = (uint32_t)status->st_nlink,
        .stx_uid = status->st_uid,
        .stx_gid = status->st_gid,
        .stx_mode = (uint16_t)status->st_mode,
        .stx_ino = status->st_ino,
        .stx_atime = {.tv_sec = status->st_atim.tv_sec, .tv_nsec = (uint32_t)status->st_atim.tv_nsec},
        .stx_ctime = {.tv_sec = status->st_ctim.tv_sec, .tv_nsec = (uint32_t)status->st_ctim.tv_nsec},
        .stx_mtime = {.tv_sec = status->st_mtim.tv_sec, .tv_nsec = (uint32_t)status->st_mtim.tv_nsec},
        .stx_rdev_major = major(status->st_rdev),
        .stx_rdev_minor = minor(status->st_rdev),
        .stx_dev_major = major(status->st_dev),
        .stx_dev_minor = minor(status->st_dev),
    };
}

WRAPS(statx);
EXPORT int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict extended) {
    struct stat status;
    if (NEXT(statx)(folder, path, flags, mask, extended) != 0) {
        if (path_after(folder, path, &status) != 0) return -1;
    } else {
        if (!(flags & AT_EMPTY_PATH) || !is_empty(path)) return 0;
        status = (struct stat){.st_mode = extended->stx_mode, .st_nlink = extended->stx_nlink};
        file_after(folder, &status);
        if (!S_ISCHR(status.st_mode)) return 0;
    }
    convert(&status, extended);
    return 0;
}

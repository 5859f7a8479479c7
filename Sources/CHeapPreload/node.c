#include "preload.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

WRAPS(openat);
WRAPS(stat);

// Names

/// What follows a component, with the slashes and `.` behind it; NULL where the path begins with another.
static const char *after(const char *path, const char *component) {
    size_t length = strlen(component);
    if (strncmp(path, component, length) != 0 || (path[length] != '/' && path[length] != 0)) return NULL;
    path += length;
    for (;;) {
        if (*path == '/') {
            path++;
        } else if (path[0] == '.' && (path[1] == '/' || path[1] == 0)) {
            path++;
        } else {
            return path;
        }
    }
}

static enum place place_of_absolute(const char *path, char name[LONGEST_NAME + 1]) {
    path = after(path, "");
    if (path) path = after(path, "dev");
    if (path) path = after(path, "dma_heap");
    if (!path) return ELSEWHERE;
    if (*path == 0) return THE_FOLDER;
    size_t length = strlen(path);
    if (length > LONGEST_NAME || strchr(path, '/') || strcmp(path, "..") == 0) return ELSEWHERE;
    memcpy(name, path, length + 1);
    return A_HEAP;
}

static bool link_of(const char *folder, int file, char *text, size_t size) {
    char path[32];
    snprintf(path, sizeof path, file < 0 ? "/proc/self/%s" : "/proc/self/%s/%d", folder, file);
    ssize_t length = readlink(path, text, size - 1);
    if (length < 0 || (size_t)length >= size - 1) return false;
    text[length] = 0;
    return true;
}

enum place place_of(int folder, const char *path, char name[LONGEST_NAME + 1]) {
    if (!path) return ELSEWHERE;
    if (path[0] == '/') return place_of_absolute(path, name);
    while (path[0] == '.' && path[1] == '/') path += 2;
    // From the folder a name, from above it one that has the folder's: no other program pays for the question where it is.
    char whole[32 + LONGEST_NAME] = "";
    if (path[0] == 0 || strlen(path) > LONGEST_NAME || (strchr(path, '/') && !strstr(path, "dma_heap"))) return ELSEWHERE;
    bool is_told = folder == AT_FDCWD ? link_of("cwd", -1, whole, 32) : folder >= 0 && link_of("fd", folder, whole, 32);
    if (!is_told) return ELSEWHERE;
    strcat(strcat(whole, "/"), path);
    return place_of_absolute(whole, name);
}

enum place place_behind(int folder, const char *path, char name[LONGEST_NAME + 1]) {
    // Needs no right on the file itself.
    int file = NEXT(openat)(folder, path, O_PATH | O_CLOEXEC);
    if (file < 0) return ELSEWHERE;
    enum place place = place_of_file(file, name);
    drop(file);
    return place;
}

enum place place_of_file(int file, char name[LONGEST_NAME + 1]) {
    char whole[32 + LONGEST_NAME];
    return link_of("fd", file, whole, sizeof whole) ? place_of_absolute(whole, name) : ELSEWHERE;
}

bool means_no_node(int error) {
    return error == EACCES || error == EPERM || error == ENOENT || error == ENXIO || error == ENODEV;
}

// Nodes

struct node {
    char kind[32];
    char name[LONGEST_NAME + 1];
};

static const char KIND[32] = "linux-heaps: a node of heapd's";

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

#define LABEL "dma_heap:"

/// Whether as many bytes may be written: beyond the limit the kernel ends the process (SIGXFSZ), also of a memfd.
static bool may_write(size_t count) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= count;
}

int open_node(const char *name, int flags) {
    if (flags & O_DIRECTORY) {
        errno = ENOTDIR;
        return -1;
    }
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        errno = EEXIST;
        return -1;
    }
    char label[sizeof LABEL + LONGEST_NAME];
    snprintf(label, sizeof label, LABEL "%s", name);
    unsigned how = MFD_ALLOW_SEALING | (flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    // Where vm.memfd_noexec is 2 no other is to be had; kernels before 6.3 know none.
    int file = memfd_create(label, how | MFD_NOEXEC_SEAL);
    if (file < 0 && errno == EINVAL) file = memfd_create(label, how);
    if (file < 0) return -1;
    struct node node = {0};
    memcpy(node.kind, KIND, sizeof node.kind);
    strcpy(node.name, name);
    bool is_written = !may_write(sizeof node) || syscall(SYS_pwrite64, file, &node, sizeof node, 0) == sizeof node;
    if (is_written && fcntl(file, F_ADD_SEALS, SEALS) == 0) return file;
    int error = errno;
    drop(file);
    errno = error;
    return -1;
}

static bool is_called_node(int file, char name[LONGEST_NAME + 1]) {
    static const char BEFORE[] = "/memfd:" LABEL, AFTER[] = " (deleted)";
    char text[sizeof BEFORE + LONGEST_NAME + sizeof AFTER];
    if (!link_of("fd", file, text, sizeof text) || strncmp(text, BEFORE, sizeof BEFORE - 1) != 0) return false;
    size_t length = strlen(text) - (sizeof AFTER - 1);
    if (length < sizeof BEFORE || strcmp(text + length, AFTER) != 0) return false;
    text[length] = 0;
    strcpy(name, text + sizeof BEFORE - 1);
    return true;
}

bool is_node(int file, char name[LONGEST_NAME + 1]) {
    int error = errno;
    struct node node;
    int seals = fcntl(file, F_GET_SEALS);
    bool is_one = false;
    if (seals >= 0 && (seals & SEALS) == SEALS) {
        long length = syscall(SYS_pread64, file, &node, sizeof node, 0);
        if (length == sizeof node) {
            is_one = memcmp(node.kind, KIND, sizeof KIND) == 0 && node.name[LONGEST_NAME] == 0;
            if (is_one) strcpy(name, node.name);
        } else if (length == 0) {
            is_one = is_called_node(file, name);
        }
    }
    errno = error;
    return is_one;
}

void tell_node(const char *name, struct stat *status) {
    int error = errno;
    char path[sizeof HEAP_FOLDER + 1 + LONGEST_NAME];
    snprintf(path, sizeof path, HEAP_FOLDER "/%s", name);
    if (NEXT(stat)(path, status) != 0 || !S_ISCHR(status->st_mode)) {
        *status = (struct stat){.st_mode = S_IFCHR | 0666, .st_nlink = 1, .st_blksize = 4096};
    }
    errno = error;
}

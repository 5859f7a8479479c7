#include "preload.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
    close(file);
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

int open_node(const char *name, int flags) {
    if (flags & O_DIRECTORY) {
        errno = ENOTDIR;
        return -1;
    }
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        errno = EEXIST;
        return -1;
    }
    char label[16 + LONGEST_NAME];
    snprintf(label, sizeof label, "dma_heap:%s", name);
    unsigned how = MFD_ALLOW_SEALING | (flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    // Where vm.memfd_noexec is 2 no other is to be had; kernels before 6.3 know none.
    int file = memfd_create(label, how | MFD_NOEXEC_SEAL);
    if (file < 0 && errno == EINVAL) file = memfd_create(label, how);
    if (file < 0) return -1;
    struct node node = {0};
    memcpy(node.kind, KIND, sizeof node.kind);
    strcpy(node.name, name);
    if (pwrite(file, &node, sizeof node, 0) == sizeof node && fcntl(file, F_ADD_SEALS, SEALS) == 0) return file;
    int error = errno;
    close(file);
    errno = error;
    return -1;
}

bool is_node(int file, char name[LONGEST_NAME + 1]) {
    int error = errno;
    struct node node;
    int seals = fcntl(file, F_GET_SEALS);
    bool is_one = seals >= 0 && (seals & SEALS) == SEALS && pread(file, &node, sizeof node, 0) == sizeof node &&
                  memcmp(node.kind, KIND, sizeof KIND) == 0 && node.name[LONGEST_NAME] == 0;
    if (is_one) strcpy(name, node.name);
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

#ifdef __linux__
#include <CLinuxHeaps.h>
#include <errno.h>
#include <fcntl.h>
#include <endian.h>
#include <linux/magic.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

const unsigned int CLinuxHeaps_MFD_CLOEXEC = MFD_CLOEXEC;
const unsigned int CLinuxHeaps_MFD_ALLOW_SEALING = MFD_ALLOW_SEALING;
const int CLinuxHeaps_F_SEAL_SEAL = F_SEAL_SEAL;
const int CLinuxHeaps_F_SEAL_SHRINK = F_SEAL_SHRINK;
const int CLinuxHeaps_F_SEAL_GROW = F_SEAL_GROW;
const int CLinuxHeaps_F_SEAL_WRITE = F_SEAL_WRITE;
const int CLinuxHeaps_F_SEAL_FUTURE_WRITE = F_SEAL_FUTURE_WRITE;
const int CLinuxHeaps_O_DIRECT = O_DIRECT;
const int CLinuxHeaps_O_PATH = O_PATH;

int CLinuxHeaps_memfd_create(const char *name, unsigned int flags) { return memfd_create(name, flags); }

unsigned int CLinuxHeaps_MFD_huge(uint64_t size) {
    return MFD_HUGETLB | (unsigned int)__builtin_ctzll(size) << MAP_HUGE_SHIFT;
}

bool CLinuxHeaps_has_huge_pages(int file) {
    struct statfs status;
    // Of 32 bits and signed on some architectures, where this number is negative.
    return fstatfs(file, &status) == 0 && (uint32_t)status.f_type == HUGETLBFS_MAGIC;
}

int CLinuxHeaps_listed_group_mode(const char *path) {
    struct {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[64];
    } list;
    ssize_t size = getxattr(path, "system.posix_acl_access", &list, sizeof list);
    for (size_t index = 0; size >= (ssize_t)(sizeof list.header + (index + 1) * sizeof *list.entries); index++)
        if (le16toh(list.entries[index].e_tag) == ACL_GROUP_OBJ) return le16toh(list.entries[index].e_perm);
    return -1;
}

int CLinuxHeaps_fallocate(int file, uint64_t size) { return fallocate(file, 0, 0, (off_t)size); }

int CLinuxHeaps_add_seals(int memfd, int seals) { return fcntl(memfd, F_ADD_SEALS, seals); }

int CLinuxHeaps_get_seals(int memfd) { return fcntl(memfd, F_GET_SEALS); }

bool CLinuxHeaps_is_shmem(int memfd) {
    struct statfs status;
    return fstatfs(memfd, &status) == 0 && status.f_type == TMPFS_MAGIC;
}

int64_t CLinuxHeaps_first_hole(int memfd) { return lseek(memfd, 0, SEEK_HOLE); }

int CLinuxHeaps_punch_hole(int memfd, uint64_t size) {
    return fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
}

int CLinuxHeaps_set_lease(int file, int type) { return fcntl(file, F_SETLEASE, type); }

int CLinuxHeaps_set_lease_signal(int file, int signal) { return fcntl(file, F_SETSIG, signal); }

// Twice for each memfd buffer: printf would cost more than the kernel's part.
static const char *link_of(int file, char path[32]) {
    char digits[12];
    int count = 0;
    do digits[count++] = (char)('0' + file % 10);
    while (file /= 10);
    char *end = stpcpy(path, "/proc/self/fd/");
    while (count > 0) *end++ = digits[--count];
    *end = 0;
    return path;
}

int CLinuxHeaps_reopen(int file, int flags) {
    char path[32];
    return open(link_of(file, path), flags | O_CLOEXEC);
}

int CLinuxHeaps_watch_closes(int inotify, int file) {
    char path[32];
    return inotify_add_watch(inotify, link_of(file, path), IN_CLOSE);
}

int CLinuxHeaps_identity(int file, uint64_t *device, uint64_t *inode) {
    struct statx status;
    int flags = fcntl(file, F_GETFL);
    if (flags < 0 || flags & O_PATH) {
        errno = EBADF;
        return -1;
    }
    if (statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status) != 0) return -1;
    *device = makedev(status.stx_dev_major, status.stx_dev_minor);
    *inode = status.stx_ino;
    return 0;
}

bool CLinuxHeaps_is_locked_by_others(int file) {
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(file, F_GETLK, &all) == 0 && all.l_type != F_UNLCK;
}

void CLinuxHeaps_remove_locks(int file) {
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    fcntl(file, F_OFD_SETLK, &all);
    flock(file, LOCK_UN);
}

bool CLinuxHeaps_lacks_direct_io(int file) {
#ifdef STATX_DIOALIGN
    struct statx status;
    return statx(file, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN) &&
           status.stx_dio_offset_align == 0;
#else
    return false;
#endif
}
#endif

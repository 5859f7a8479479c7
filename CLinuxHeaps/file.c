#ifdef __linux__
#include <CLinuxHeaps.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int CLinuxHeaps_identity(int file, uint64_t *device, uint64_t *inode) {
    struct statx status;
    if (statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status) != 0) return -1;
    *device = makedev(status.stx_dev_major, status.stx_dev_minor);
    *inode = status.stx_ino;
    return 0;
}
#endif

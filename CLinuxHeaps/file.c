#ifdef __linux__
#include <CLinuxHeaps.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

const unsigned int CLinuxHeaps_MFD_CLOEXEC = MFD_CLOEXEC;
const unsigned int CLinuxHeaps_MFD_ALLOW_SEALING = MFD_ALLOW_SEALING;
const int CLinuxHeaps_F_SEAL_SEAL = F_SEAL_SEAL;
const int CLinuxHeaps_F_SEAL_SHRINK = F_SEAL_SHRINK;
const int CLinuxHeaps_F_SEAL_GROW = F_SEAL_GROW;
const int CLinuxHeaps_F_SEAL_WRITE = F_SEAL_WRITE;
const int CLinuxHeaps_F_SEAL_FUTURE_WRITE = F_SEAL_FUTURE_WRITE;

int CLinuxHeaps_memfd_create(const char *name, unsigned int flags) { return memfd_create(name, flags); }

int CLinuxHeaps_add_seals(int memfd, int seals) { return fcntl(memfd, F_ADD_SEALS, seals); }

int CLinuxHeaps_get_seals(int memfd) { return fcntl(memfd, F_GET_SEALS); }

int CLinuxHeaps_set_lease(int file, int type) { return fcntl(file, F_SETLEASE, type); }

int CLinuxHeaps_set_lease_signal(int file, int signal) { return fcntl(file, F_SETSIG, signal); }

int CLinuxHeaps_identity(int file, uint64_t *device, uint64_t *inode) {
    struct statx status;
    if (statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status) != 0) return -1;
    *device = makedev(status.stx_dev_major, status.stx_dev_minor);
    *inode = status.stx_ino;
    return 0;
}
#endif

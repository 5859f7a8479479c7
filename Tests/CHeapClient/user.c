#ifdef __linux__
#include <CHeapClient.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// The C library's own functions change all threads; the system calls, the calling one alone.

static int become(uid_t user, gid_t group, const gid_t *groups, size_t count) {
    if (syscall(SYS_setgroups, count, groups) != 0) return -1;
    if (syscall(SYS_setresgid, -1, group, -1) != 0) return -1;
    return (int)syscall(SYS_setresuid, -1, user, -1);
}

int CHeapClient_connect_as(uid_t user, gid_t group, const gid_t *groups, size_t count, int socket,
                         const void *address, uint32_t length) {
    gid_t own[256];
    int own_count = getgroups(256, own);
    if (own_count < 0) return -1;
    int result = become(user, group, groups, count);
    if (result == 0) result = connect(socket, address, length);
    int error = errno;
    // The saved user is root still.
    if (syscall(SYS_setresuid, -1, 0, -1) != 0 || become(0, 0, own, (size_t)own_count) != 0) abort();
    errno = error;
    return result;
}
#endif

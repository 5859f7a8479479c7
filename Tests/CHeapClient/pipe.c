#ifdef __linux__
#include <CHeapClient.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "call.h"

int CHeapClient_hold_pipe(int pipe, pid_t *holder) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return errno;
    pid_t child = fork();
    if (child == 0) {
        int kept[3] = {fcntl(pipe, F_DUPFD, 3), fcntl(ends[0], F_DUPFD, 3), fcntl(ends[1], F_DUPFD, 3)};
        for (int at = 0; at < 3; at++) dup2(kept[at], at);
        syscall(SYS_close_range, 3u, ~0u, 0u);
        splice(1, NULL, 0, NULL, 1, 0);
        _exit(0);
    }
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    if (child < 0) return error;
    *holder = child;
    await_call(child, SYS_splice);
    return 0;
}
#endif

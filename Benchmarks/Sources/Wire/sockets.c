#ifdef __linux__
#include <Wire.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef int use_address(int, const struct sockaddr *, socklen_t);

/// A new socket that was bound or connected to `path`, or -1.
static int open_at(const char *path, int type, use_address *use) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int file = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (file < 0) return -1;
    if (use(file, (struct sockaddr *)&address, sizeof address)) {
        int error = errno;
        close(file);
        errno = error;
        return -1;
    }
    return file;
}

int Wire_connect(const char *path) { return open_at(path, SOCK_SEQPACKET, connect); }

int Wire_listen(const char *path) {
    int file = open_at(path, SOCK_SEQPACKET | SOCK_NONBLOCK, bind);
    if (file >= 0 && listen(file, SOMAXCONN)) {
        int error = errno;
        close(file);
        errno = error;
        return -1;
    }
    return file;
}

int Wire_bind_notify(const char *path) { return open_at(path, SOCK_DGRAM, bind); }

void Wire_notify_ready(void) {
    static const char ready[] = "READY=1";
    const char *path = getenv("NOTIFY_SOCKET");
    int file = path ? open_at(path, SOCK_DGRAM, connect) : -1;
    if (file < 0) return;
    send(file, ready, strlen(ready), MSG_NOSIGNAL);
    close(file);
}

void Wire_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
#endif

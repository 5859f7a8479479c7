#ifdef __linux__
#include "call.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int call_of(pid_t process) {
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/syscall", process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atoi(text) : -1;
}

void await_call(pid_t process, long number) {
    // "running" is 0 here, as no call that is waited for is.
    for (int tries = 0; tries < 1000 && call_of(process) != number; tries++) poll(NULL, 0, 1);
}
#endif

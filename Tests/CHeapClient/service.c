#ifdef __linux__
#include <CHeapClient.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/// The strings of a list in which each ends with a NUL, and room for one more.
static char **split(const char *list, size_t length) {
    size_t count = 0;
    for (size_t at = 0; at < length; at++) count += list[at] == 0;
    char **strings = calloc(count + 2, sizeof *strings);
    if (!strings) return NULL;
    count = 0;
    for (size_t at = 0; at < length; at += strlen(list + at) + 1) strings[count++] = (char *)list + at;
    return strings;
}

/// In the child, which has its own descriptors and borrows the memory.
_Noreturn static void become(const struct CHeapClient_service *service, char **arguments,
                             char **environment, int *high) {
    static char pid[32];
    int first_free = 3 + (int)service->count;
    sigset_t none;
    snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid() + service->pid_offset);
    char **last = environment;
    while (*last) last++;
    *last = pid;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    // Out of each other's way first.
    for (size_t at = 0; at < service->count; at++) {
        high[at] = fcntl(service->descriptors[at], F_DUPFD, first_free + 16);
    }
    int output = fcntl(service->output, F_DUPFD, first_free + 16);
    int input = open("/dev/null", O_RDONLY);
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(127);
    for (size_t at = 0; at < service->count; at++) {
        if (dup2(high[at], 3 + (int)at) < 0) _exit(127);
    }
    close_range((unsigned)first_free, ~0u, 0);
    execve(arguments[0], arguments, environment);
    _exit(127);
}

int CHeapClient_start_service(const struct CHeapClient_service *service, pid_t *pid) {
    char **arguments = split(service->arguments, service->arguments_length);
    char **environment = split(service->environment, service->environment_length);
    int *high = calloc(service->count + 1, sizeof *high);
    int error = ENOMEM;
    if (arguments && environment && high) {
        // Cheaper than a shell that puts its own pid in: this program is large.
        *pid = vfork();
        if (*pid == 0) become(service, arguments, environment, high);
        error = *pid < 0 ? errno : 0;
    }
    free(arguments);
    free(environment);
    free(high);
    return error;
}
#endif

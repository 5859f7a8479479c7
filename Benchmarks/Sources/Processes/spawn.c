#ifdef __linux__
#include <Processes.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/// This process's environment, with `assignment` as its only NOTIFY_SOCKET unless that is null.
/// The caller frees the array. NULL: no memory.
static char **environment_with(char *assignment) {
    static const char name[] = "NOTIFY_SOCKET=";
    size_t count = 0;
    while (environ[count]) count++;
    char **environment = calloc(count + 2, sizeof *environment);
    if (!environment) return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], name, strlen(name))) environment[kept++] = environ[i];
    }
    if (assignment) environment[kept] = assignment;
    return environment;
}

/// In the child, on the parent's memory: system calls only. Answers an errno if it answers.
static int become(const char *path, char *const *arguments, char *const *environment,
                  const struct Processes_Start *start, pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL)) return errno;
    if (getppid() != parent) return ESRCH;
    if (start->processor >= 0) {
        cpu_set_t processors;
        CPU_ZERO(&processors);
        CPU_SET(start->processor, &processors);
        if (sched_setaffinity(0, sizeof processors, &processors)) return errno;
    }
    if (dup2(start->input, 0) < 0 || dup2(start->output, 1) < 0 || dup2(start->error, 2) < 0) {
        return errno;
    }
    execve(path, arguments, environment);
    return errno;
}

pid_t Processes_spawn(const char *path, char *const *arguments,
                      const struct Processes_Start *start) {
    char assignment[160];
    if (start->notify_socket) {
        int length =
            snprintf(assignment, sizeof assignment, "NOTIFY_SOCKET=%s", start->notify_socket);
        if (length >= (int)sizeof assignment) {
            errno = ENAMETOOLONG;
            return -1;
        }
    }
    char **environment = environment_with(start->notify_socket ? assignment : NULL);
    if (!environment) return -1;
    pid_t parent = getpid();
    volatile int error = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        error = become(path, arguments, environment, start, parent);
        _exit(127);
    }
    if (pid < 0) error = errno;
    free(environment);
    if (!error) return pid;
    if (pid > 0) waitpid(pid, NULL, 0);
    errno = error;
    return -1;
}

int Processes_pidfd(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

void Processes_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
#endif

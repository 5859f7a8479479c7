#ifdef __linux__
#include <CHeapPeer.h>
#include <errno.h>
#include <linux/ioctl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

int CHeapPeer_start_nursery(int socket, pid_t *pid) {
    return CHeapPeer_start_again("heap-peer", "HEAPTESTKIT_NURSERY=3", socket, pid);
}

int CHeapPeer_start_again(const char *name, const char *asked, int socket, pid_t *pid) {
    size_t count = 0;
    while (environ[count]) count++;
    char **environment = calloc(count + 2, sizeof *environment);
    if (!environment) return ENOMEM;
    memcpy(environment, environ, count * sizeof *environment);
    environment[count] = (char *)asked;

    // Descriptor 3 loses its close-on-exec flag in the child, also where it was 3 already.
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    int error = posix_spawn_file_actions_adddup2(&actions, socket, 3);
    // Which signals the calling thread blocks says nothing of the child: those of Swift's pool block all.
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    char *const arguments[] = {(char *)name, NULL};
    if (!error)
        error = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    return error;
}

int CHeapPeer_pidfd_open(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

int CHeapPeer_ioctl(int descriptor, unsigned long request, void *argument) {
    return ioctl(descriptor, request, argument);
}

unsigned long CHeapPeer_dma_heap_alloc_request(unsigned int size) {
    return _IOC(_IOC_READ | _IOC_WRITE, 'H', 0, size);
}
#endif

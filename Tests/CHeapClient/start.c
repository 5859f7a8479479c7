#ifdef __linux__
#include <CHeapClient.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int CHeapClient_start_nursery(int socket, pid_t *pid) {
    static char asked[] = "HEAPCLIENT_NURSERY=3";
    size_t count = 0;
    while (environ[count]) count++;
    char **environment = calloc(count + 2, sizeof *environment);
    if (!environment) return ENOMEM;
    memcpy(environment, environ, count * sizeof *environment);
    environment[count] = asked;

    // Descriptor 3 loses its close-on-exec flag in the child, also where it was 3 already.
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    int error = posix_spawn_file_actions_adddup2(&actions, socket, 3);
    char *const arguments[] = {(char *)"heap-clients", NULL};
    if (!error) error = posix_spawn(pid, "/proc/self/exe", &actions, NULL, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    return error;
}
#endif

#ifdef __linux__
#include "client.h"
#include <CHeapPeer.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CLIENTS = 64, AT_ONCE = 4, TRIAL_STEPS = 10, LONGEST_TRIAL = 20000 };

static pid_t clients[MOST_CLIENTS];
static int client_count;
static int orders = -1;

static uint64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static pid_t fork_client(uint64_t seed) {
    pid_t nursery = getpid();
    pid_t client = fork();
    if (client < 0) fault("fork: %s", strerror(errno));
    if (client != 0) return client;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != nursery) _exit(0);
    close(orders);
    run_client(seed);
}

static void kill_client(pid_t client) {
    kill(client, SIGKILL);
    int status;
    waitpid(client, &status, 0);
    // It ended by itself: it wrote down why.
    if (!WIFSIGNALED(status)) return;
    if (WTERMSIG(status) != SIGKILL) fault("a client ended with signal %d", WTERMSIG(status));
    count(&board->report.killed);
}

/// How long a client takes for its first buffers on this machine, in microseconds, up to a limit.
static uint64_t trial(uint64_t seed) {
    uint64_t begin = microseconds();
    uint64_t goal = __atomic_load_n(&board->report.allocated, __ATOMIC_RELAXED) + TRIAL_STEPS;
    pid_t client = fork_client(seed);
    while (__atomic_load_n(&board->report.allocated, __ATOMIC_RELAXED) < goal &&
           microseconds() - begin < LONGEST_TRIAL) {
        usleep(100);
    }
    if (client > 0) kill_client(client);
    return microseconds() - begin;
}

static void kill_many(uint32_t number, uint64_t seed) {
    struct random randomness = {seed};
    uint32_t longest = (uint32_t)trial(next_random(&randomness)) + 200;
    pid_t alive[AT_ONCE];
    int living = 0;
    for (uint32_t started = 1; started < number || living > 0;) {
        if (started < number && living < AT_ONCE) {
            alive[living] = fork_client(next_random(&randomness));
            if (alive[living] > 0) living++;
            started++;
            if (living == 0) continue;
        }
        usleep(random_below(&randomness, longest));
        // Often the youngest, which may not have connected yet.
        int index = (int)random_below(&randomness, (uint32_t)living);
        if (random_below(&randomness, 4) == 0) index = living - 1;
        kill_client(alive[index]);
        alive[index] = alive[--living];
    }
}

static void start(uint32_t number, uint64_t seed) {
    struct random randomness = {seed};
    while (number-- > 0 && client_count < MOST_CLIENTS) {
        pid_t client = fork_client(next_random(&randomness));
        if (client > 0) clients[client_count++] = client;
    }
}

static void stop(void) {
    __atomic_store_n(&board->stops, 1, __ATOMIC_RELAXED);
    while (client_count > 0) {
        int status;
        waitpid(clients[--client_count], &status, 0);
        if (status != 0) fault("a client ended with status %x", (unsigned)status);
    }
    drain_pool();
}

static void set_up(const struct CHeapClient_setup *new_setup) {
    setup = *new_setup;
    memset(board, 0, sizeof *board);
}

static void obey(const struct CHeapClient_order *order) {
    switch (order->verb) {
    case CHeapClient_SET_UP:
        return set_up(&order->setup);
    case CHeapClient_START:
        return start(order->count, order->seed);
    case CHeapClient_KILL_MANY:
        return kill_many(order->count, order->seed);
    case CHeapClient_STOP:
        return stop();
    }
}

_Noreturn static void serve(void) {
    struct CHeapClient_order order;
    signal(SIGCHLD, SIG_DFL);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) _exit(1);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pool) != 0) _exit(1);
    while (recv(orders, &order, sizeof order, 0) == sizeof order) {
        obey(&order);
        send(orders, &board->report, sizeof board->report, MSG_NOSIGNAL);
    }
    _exit(0);
}

__attribute__((constructor)) static void become_nursery_if_asked(void) {
    const char *socket = getenv("HEAPCLIENT_NURSERY");
    if (!socket) return;
    orders = atoi(socket);
    serve();
}

int CHeapClient_start_nursery(int socket, pid_t *pid) {
    return CHeapPeer_start_again("heap-clients", "HEAPCLIENT_NURSERY=3", socket, pid);
}
#endif

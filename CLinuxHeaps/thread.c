#ifdef __linux__
#include <CLinuxHeaps.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/signalfd.h>
#include <unistd.h>

void CLinuxHeaps_name_this_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

int CLinuxHeaps_start_thread(void *(*run)(void *), void *argument) {
    // pthread_detach(3) looks at the thread once more after it has let it go, and one that ends in that moment is unmapped by then:
    // SIGSEGV (nptl/pthread_detach.c, seen with glibc 2.36).
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0) return error;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    error = pthread_create(&thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return error;
}

static atomic_uint forks;

static void count_fork(void) { forks++; }

static void count_forks(void) { pthread_atfork(NULL, NULL, count_fork); }

unsigned CLinuxHeaps_fork_count(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, count_forks);
    return forks;
}

uintptr_t CLinuxHeaps_this_thread(void) { return (uintptr_t)pthread_self(); }

void CLinuxHeaps_unmap_large_memory(void) {
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
#endif
}

int CLinuxHeaps_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0) return -1;
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int CLinuxHeaps_next_signal(int signals) {
    struct signalfd_siginfo information;
    if (read(signals, &information, sizeof information) != sizeof information) return 0;
    return (int)information.ssi_signo;
}
#endif

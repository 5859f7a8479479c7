#ifndef BENCH_PROCESSES_H
#define BENCH_PROCESSES_H

#ifdef __linux__
#include <sys/types.h>

/// What a new process gets besides its arguments.
struct Processes_Start {
    /// Its standard streams; the caller keeps its own copies.
    int input;
    int output;
    int error;
    /// The only processor that it may run on, or -1 for any.
    int processor;
    /// Its `NOTIFY_SOCKET`; null: it has none, whatever this process has.
    const char *_Nullable notify_socket;
};

/// Runs a program. It is killed when the calling thread ends, however that happens
/// (PR_SET_PDEATHSIG, prctl(2)), which posix_spawn(3) cannot ask for.
///
/// Like that function it lets the child borrow this process's memory until it runs the program, so
/// nothing is copied. Answers its pid, or -1 with `errno`, also where the program cannot be run.
pid_t Processes_spawn(const char *_Nonnull path, char *_Nullable const *_Nonnull arguments,
                      const struct Processes_Start *_Nonnull start);

/// A descriptor that is readable when the process has ended (pidfd_open(2)); or -1 with `errno`.
int Processes_pidfd(pid_t pid);

/// Raises this process's limit of open descriptors, which children inherit, to what its user may have.
void Processes_raise_descriptor_limit(void);

#endif
#endif

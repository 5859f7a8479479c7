#ifndef C_HEAP_CLIENT_H
#define C_HEAP_CLIENT_H

#ifdef __linux__
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Clients of a heap service that can be killed at any moment, by the hundred.
//
// They are this program again, started anew so that it inherits no buffer, and taken over before `main`
// by a constructor. The first such process, the nursery, forks a client in a fraction of the time in
// which a program starts. A client speaks the wire itself (CHeapWire.h).

/// What clients need to know.
struct CHeapClient_setup {
    /// Paths of the two sockets.
    char heap[108];
    char observer[108];
    /// A whole AllocateVmo request, with the heap's settings; txid, size and key are put in.
    uint8_t allocate[256];
    uint32_t allocate_length;
    /// Whether buffers have memory that can be mapped.
    uint32_t is_mappable;
    /// Whether a lost connection is a fault, or is made again.
    uint32_t reconnects;
    /// Bytes.
    uint32_t page_size;
    /// Milliseconds after which waiting for the service is a fault.
    uint32_t patience;
};

/// One order to the nursery; each is answered by a `CHeapClient_report`.
struct CHeapClient_order {
    uint32_t verb;
    uint32_t count;
    uint64_t seed;
    struct CHeapClient_setup setup;
};

enum {
    /// Forget all counts; clients from now on follow `setup`.
    CHeapClient_SET_UP = 1,
    /// Fork `count` clients that go on until they are stopped.
    CHeapClient_START,
    /// Fork `count` clients one after the other, and kill each at a random moment: some live at a time.
    CHeapClient_KILL_MANY,
    /// Have all clients give back what they have, and wait until they ended.
    CHeapClient_STOP,
    /// Nothing but the report.
    CHeapClient_LOOK,
};

/// What all clients did since the set-up.
struct CHeapClient_report {
    uint64_t allocated;
    /// Requests that the service refused because memory or a quota was used up.
    uint64_t refused;
    uint64_t deleted;
    /// Buffers passed from one client to another, and taken.
    uint64_t shared;
    uint64_t taken;
    /// Answers that said which buffer a vmo is of.
    uint64_t known;
    uint64_t reconnected;
    uint64_t killed;
    /// What went wrong, how often, and the first such thing.
    uint64_t faults;
    char fault[160];
};

/// Starts the nursery; it takes orders from the other end of `socket` and ends when that closes.
/// Answers 0 or an errno. The caller reaps `pid`.
int CHeapClient_start_nursery(int socket, pid_t *_Nonnull pid);

/// A program that is started as a service manager starts one (sd_listen_fds(3)).
struct CHeapClient_service {
    /// Each string ends with a NUL.
    const char *_Nonnull arguments;
    size_t arguments_length;
    /// Without `LISTEN_PID`, which is added.
    const char *_Nonnull environment;
    size_t environment_length;
    /// Its descriptors from 3 on.
    const int *_Nonnull descriptors;
    size_t count;
    /// Its standard output and error.
    int output;
    /// Added to its pid in `LISTEN_PID`: not 0 for descriptors that are another's.
    int pid_offset;
};

/// Answers 0 or an errno. The caller reaps `pid`.
int CHeapClient_start_service(const struct CHeapClient_service *_Nonnull service, pid_t *_Nonnull pid);

/// connect(2) as another user, whom the server sees (`SO_PEERCRED`, unix(7)). The calling thread must be
/// root's, and is again on return. No `struct sockaddr` here: with <sys/socket.h> this module would own
/// SOCK_SEQPACKET and its kind, and Swift files that import Glibc alone would not see them.
int CHeapClient_connect_as(uid_t user, gid_t group, const gid_t *_Nonnull groups, size_t count,
                           int socket, const void *_Nonnull address, uint32_t length);

/// Starts a process that has the lock of an epoll with `file` in it until it ends: what it is told of goes to a page that nobody gives it
/// (userfaultfd(2)). It keeps no descriptor of `file`. Answers 0 or an errno. The caller kills and reaps `holder`.
int CHeapClient_hold_epoll(int file, pid_t *_Nonnull holder);

/// Starts a process that has a pipe's lock until it ends: it moves into the pipe what comes to a socket (splice(2)), and nothing does. It
/// keeps no other descriptor. Answers 0 or an errno. The caller kills and reaps `holder`.
int CHeapClient_hold_pipe(int pipe, pid_t *_Nonnull holder);

#endif
#endif

#ifndef CLIENT_H
#define CLIENT_H

#include <CHeapClient.h>
#include <stdbool.h>
#include <stddef.h>

/// In memory that the nursery and its clients share.
struct board {
    struct CHeapClient_report report;
    /// Clients that were not killed end when it is set.
    uint32_t stops;
    /// Each client's own part of the buffers' names.
    uint64_t clients;
};

extern struct board *board;
extern struct CHeapClient_setup setup;
/// Both ends of a socket in which clients leave descriptors for each other.
extern int pool[2];

static inline void count(uint64_t *counter) { __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

/// Notes a fault; printf(3)'s words.
__attribute__((format(printf, 1, 2))) void fault(const char *format, ...);

/// Numbers that depend on the seed alone (splitmix64).
struct random { uint64_t state; };
uint64_t next_random(struct random *random);
/// Below `bound`.
uint32_t random_below(struct random *random, uint32_t bound);

/// A connection that does not answer any more.
enum result { DONE, LOST };

/// Connects to a socket of the service; -1 after a fault.
int connect_to(const char *path);

/// Sends a message with at most one descriptor, which stays the caller's; `flags` are sendmsg(2)'s.
enum result send_message(int socket, const void *bytes, size_t length, int descriptor, int flags);

struct message {
    size_t length;
    /// -1 where none came.
    int descriptor;
    uint64_t words[32];
};

/// Waits for a message; `flags` are recvmsg(2)'s. A message of length 0 came where none was there.
enum result receive_message(int socket, struct message *message, int flags);

/// Closes what lies in the pool.
void drain_pool(void);

/// Allocates, shares, deletes, at random, until it is stopped or killed.
_Noreturn void run_client(uint64_t seed);

#endif

#ifndef CLIENT_H
#define CLIENT_H

#include <CHeapClient.h>

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

/// Closes what lies in the pool.
void drain_pool(void);

/// Allocates, shares, deletes, at random, until it is stopped or killed.
_Noreturn void run_client(uint64_t seed);

#endif

#ifndef C_CLOSE_TESTS_H
#define C_CLOSE_TESTS_H

#ifdef __linux__
#include <stdint.h>
#include <sys/types.h>

// What the tests of closes need and Swift cannot do. A function that can fail returns -1 with the cause in `errno`.

/// An io_uring, close-on-exec, that holds the file as its only registered one.
int CCloseTests_register_file(int file);

/// Gives up all capabilities of the calling thread, effective, permitted and inheritable, but these bits of `CAP_*`.
int CCloseTests_keep_capabilities(uint64_t capabilities);
extern const int CCloseTests_CAP_PERFMON;
extern const int CCloseTests_CAP_BPF;

/// A child that has all that this process has, but for the descriptor `closed` where that is not -1. When `order` has a
/// byte to read it executes a program that ends at once, which leaves it nothing that is close-on-exec. The caller kills
/// and reaps it.
pid_t CCloseTests_fork_holder(int closed, int order);

/// A child that closes each descriptor that comes by `socket`, 20 ms after it came, and puts the time before into
/// `*closed` (nanoseconds of CLOCK_MONOTONIC). It ends with the socket; the caller reaps it.
pid_t CCloseTests_fork_closer(int socket, uint64_t *_Nonnull closed);

/// A child that closes descriptors until it is killed.
pid_t CCloseTests_fork_churn(int file);

/// Nanoseconds for `count` (at most 512) calls of close(2), each of another descriptor of an open file that stays open.
uint64_t CCloseTests_time_closes(int file, int count);

/// Nanoseconds for `count` calls of pread(2) of a byte.
uint64_t CCloseTests_time_reads(int file, int count);

#endif
#endif

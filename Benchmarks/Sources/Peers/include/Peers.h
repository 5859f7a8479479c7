#ifndef PEERS_H
#define PEERS_H

#include <stdint.h>

// Unless it says otherwise, each returns the nanoseconds that `rounds` rounds took, or minus an errno.

/// A heap's buffer by the one ioctl: its descriptor, or minus an errno.
int Peers_allocate(int heap, uint64_t size);

/// What libdmabufheap does (Allocate in BufferAllocator.cpp) for a heap whose descriptor it keeps, and a close.
int64_t Peers_libdmabufheap(int heap, uint64_t size, int rounds);

/// What a heap in C would do that gives this library's guarantees: a name, the identity, a child to give away, its close, one
/// look at the count through a file that is kept open, and the parent's close.
int64_t Peers_with_guarantees(int heap, uint64_t size, int rounds);

/// lheap_allocate() and lheap_vmo_close() of `library`, liblinuxheaps.so, until all of it is taken back.
int64_t Peers_interface(const char *library, const char *heap, uint64_t size, int rounds);

/// A second descriptor and its close.
int64_t Peers_dup(int descriptor, int rounds);

/// The nanoseconds of each of `rounds` questions to a process in C that waits by epoll, and answers with a descriptor: 0, or minus an
/// errno.
int Peers_round_trips(int64_t *times, int rounds);

/// A descriptor from which the number of system calls can be read that a thread, and those that it starts, make from now on
/// (64 bits), or minus an errno.
int Peers_count_calls(int thread);

/// Has the calling thread, and those that it starts, run on one processor.
void Peers_pin(void);

/// A process that receives descriptors, holds each for as long as it is told, and says when it closed it. Forked before any
/// thread starts. Returns its end of a socket, or minus an errno.
int Peers_start_holder(void);

/// Has the holder hold a copy of a descriptor for `hold` nanoseconds. 0, or minus an errno.
int Peers_hold(int holder, int descriptor, int64_t hold);

/// When the holder began to close what it held (`CLOCK_MONOTONIC`, nanoseconds), or minus an errno.
int64_t Peers_closed(int holder);

#endif

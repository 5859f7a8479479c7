#ifndef C_HEAP_PEER_H
#define C_HEAP_PEER_H

#ifdef __linux__
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The other process of the checks: it holds descriptors and mappings, and does as it is told.
//
// It is this program again, newly started so that it inherits no buffer, and taken over before `main`
// by a constructor. The first such process, the nursery, forks one peer at each request.

/// One order to a peer; a descriptor may come with it. Each is answered by a `CHeapPeer_reply`.
struct CHeapPeer_order {
    uint32_t verb;
    /// Which of the descriptors and mappings that the peer can hold.
    uint16_t slot;
    uint16_t value;
    uint64_t offset;
    uint64_t length;
};

/// A slot has one descriptor, one mapping, or both.
#define CHeapPeer_SLOTS 16

struct CHeapPeer_reply {
    /// 0, or an errno.
    int32_t error;
    uint32_t value;
};

enum {
    /// To the nursery: fork a peer that takes orders from the socket that comes along.
    CHeapPeer_FORK_PEER = 1,
    /// Keep the descriptor that comes along in the slot.
    CHeapPeer_KEEP,
    /// Close it.
    CHeapPeer_CLOSE,
    /// Map `length` bytes from `offset` of the kept descriptor.
    CHeapPeer_MAP,
    /// Unmap `length` bytes from `offset` of the mapping.
    CHeapPeer_UNMAP,
    /// The byte at `offset` of the mapping.
    CHeapPeer_READ,
    /// Set the byte at `offset` of the mapping to `value`.
    CHeapPeer_WRITE,
    /// Fork a child that inherits all and does nothing.
    CHeapPeer_FORK_HOLDER,
    /// Kill it.
    CHeapPeer_KILL_HOLDER,
    /// The process id.
    CHeapPeer_PID,
};

/// Starts the nursery; it takes orders from the other end of `socket` and ends when that closes.
/// Answers 0 or an errno. The caller reaps `pid`.
int CHeapPeer_start_nursery(int socket, pid_t *_Nonnull pid);

/// Starts this program again as a process `name` that blocks no signal, with `socket` as its descriptor 3 and `asked`,
/// `VARIABLE=3`, in its environment: a constructor takes over before `main`. Answers 0 or an errno. The caller reaps `pid`.
int CHeapPeer_start_again(const char *_Nonnull name, const char *_Nonnull asked, int socket,
                          pid_t *_Nonnull pid);

/// pidfd_open(2): readable when the process has ended and let go of all that it held. Close-on-exec.
int CHeapPeer_pidfd_open(pid_t process);

/// ioctl(2) as it is, for requests that no header knows.
int CHeapPeer_ioctl(int descriptor, unsigned long request, void *_Nonnull argument);

/// `_IOC(_IOC_READ | _IOC_WRITE, 'H', 0, size)`: `DMA_HEAP_IOCTL_ALLOC` with a struct of another size.
unsigned long CHeapPeer_dma_heap_alloc_request(unsigned int size);

#endif
#endif

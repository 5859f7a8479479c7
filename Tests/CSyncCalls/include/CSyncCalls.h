#ifndef C_SYNC_CALLS_H
#define C_SYNC_CALLS_H

#ifdef __linux__
#include <stdint.h>

/// Has each `DMA_BUF_IOCTL_SYNC` of the calling thread, and of those that it starts, wait until it was read (seccomp(2),
/// `SECCOMP_RET_USER_NOTIF`), until they end. Returns what it is read from, close-on-exec, or -1 with the cause in `errno`.
int CSyncCalls_listen(void);

/// Waits for the next call, lets it go on, and returns 1 and its flags (linux/dma-buf.h); 0 when the threads have ended; -1 with the
/// cause in `errno`.
int CSyncCalls_next(int listener, uint64_t *_Nonnull flags);

#endif
#endif

#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <stdint.h>

// Calls on a heap server. Where one fails this process says why and ends: half a load measures
// nothing.

enum { BUFFER_SIZE = 65536 };

/// Prints a message like printf, with the cause in `errno` unless it is 0, and ends with status 1.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Connects, and waits for OnRegister.
int connect_to_heap(const char *path);

/// AllocateVmo of BUFFER_SIZE with empty settings, in a collection that is this process's own.
int allocate(int heap, uint64_t index);

/// DeleteVmo; closes `vmo` as soon as it is sent.
void delete_vmo(int heap, uint64_t index, int vmo);

#endif

#ifndef FUZZ_SESSIONS_H
#define FUZZ_SESSIONS_H

#ifdef __linux__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// `folder` has the sockets of a server in this process: heap, observer, metrics.

/// Up to six clients do what the input says: connect, send messages good and bad with descriptors of every kind, read the
/// answers or not, hang up. All of them are gone, with all that they had, when it returns.
///
/// - Returns: How many steps that were.
size_t Fuzz_session(const char *_Nonnull folder, const uint8_t *_Nonnull input, size_t length);

/// Whether a newcomer gets a buffer and can give it back; it waits for ten seconds at most.
bool Fuzz_is_served(const char *_Nonnull folder);

/// How many descriptors this process has open.
size_t Fuzz_open_descriptors(void);

/// Writes what they are to stderr.
void Fuzz_show_descriptors(void);

#endif
#endif

#ifndef BASELINE_SERVER_H
#define BASELINE_SERVER_H

/// Serves every connection to `listener` on this thread. Returns only on an error, with `errno`.
void serve(int listener);

#endif

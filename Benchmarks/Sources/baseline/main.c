// The floor that heapd is measured against: a server for AllocateVmo and DeleteVmo on memfds, in
// one thread, that makes the system calls which the memfd heap cannot do without, and no others.
//
// What it leaves out, besides everything that heapd checks, limits, counts and logs: a buffer whose
// last child closes without DeleteVmo stays in its table.

#include "server.h"

#include <Wire.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int count, char **arguments) {
    const char *path = NULL;
    for (int i = 1; i + 1 < count; i += 2) {
        if (!strcmp(arguments[i], "--socket")) path = arguments[i + 1];
    }
    if (!path) {
        fprintf(stderr, "usage: baseline --socket PATH\n"
                        "Options of heapd may stand there too, with values; none matters.\n");
        return 64;
    }
    Wire_raise_descriptor_limit();
    signal(SIGURG, SIG_IGN);
    int listener = Wire_listen(path);
    if (listener < 0) {
        fprintf(stderr, "baseline: cannot listen at %s: %m\n", path);
        return 1;
    }
    serve(listener);
    perror("baseline");
    return 1;
}

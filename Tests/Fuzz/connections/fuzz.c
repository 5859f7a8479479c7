#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

size_t Fuzz_connect(const uint8_t *input, size_t count);

static size_t steps;

static void tell(void) { fprintf(stderr, "connection steps: %zu\n", steps); }

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t count) {
    static int tells;
    if (!tells) tells = atexit(tell) == 0;
    steps += Fuzz_connect(input, count);
    return 0;
}

#include <stddef.h>
#include <stdint.h>

void Fuzz_decode(const uint8_t *input, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t count) {
    Fuzz_decode(input, count);
    return 0;
}

#include "CBuildFacts.h"

long CBuildFacts_scalar_name(unsigned scalar, unsigned char *name, long capacity) {
    (void)scalar, (void)name, (void)capacity;
    return 0;
}

#ifdef __linux__
#include <CLinuxHeaps.h>
#include <features.h>

static int argument_count;
static char **argument_values;

#ifdef __GLIBC__
// glibc calls constructors with what main gets, in static programs too (call_init); musl calls them with nothing.
__attribute__((constructor)) static void keep_arguments(int count, char **values) {
    argument_count = count;
    argument_values = values;
}
#endif

char **CLinuxHeaps_arguments(int *count) {
    *count = argument_count;
    return argument_values;
}
#endif

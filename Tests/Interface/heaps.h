/* HEAP of the command line: the name of a heap of this machine, or the socket of a service. Included behind linuxheaps.h. */
#include <sys/stat.h>

static bool is_service(const char *name) {
  struct stat status;
  return stat(name, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* Flags are for a heap of this machine alone. */
static int open_heap(const char *name, unsigned flags, lheap **heap, lheap_error **error) {
  return is_service(name) ? lheap_connect(name, heap, error) : lheap_open(name, flags, heap, error);
}

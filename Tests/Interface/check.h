/* A condition without which the program ends, and a child of fork(2) without what its parent left to do. */
#include <stdio.h>
#include <unistd.h>

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      _exit(1); \
    } \
  } while (0)

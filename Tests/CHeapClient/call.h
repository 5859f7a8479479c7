#include <sys/types.h>

/// Waits until a process is in a system call, or a second where the kernel does not tell.
void await_call(pid_t process, long number);

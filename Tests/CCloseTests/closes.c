#ifdef __linux__
#include <CCloseTests.h>
#include <CLinuxHeaps.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int CCloseTests_register_file(int file) {
    struct io_uring_params parameters;
    memset(&parameters, 0, sizeof parameters);
    int ring = (int)syscall(SYS_io_uring_setup, 1, &parameters);
    if (ring == -1) return -1;
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &file, 1) == -1) {
        close(ring);
        return -1;
    }
    return ring;
}

const int CCloseTests_CAP_PERFMON = CAP_PERFMON;
const int CCloseTests_CAP_BPF = CAP_BPF;

int CCloseTests_keep_capabilities(uint64_t capabilities) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    for (int index = 0; index < 2; index++) {
        uint32_t half = (uint32_t)(capabilities >> (32 * index));
        data[index] = (struct __user_cap_data_struct){half, half, 0};
    }
    return (int)syscall(SYS_capset, &header, data);
}

pid_t CCloseTests_fork_holder(int closed, int order) {
    pid_t child = fork();
    if (child != 0) return child;
    char byte;
    if (closed != -1) close(closed);
    if (read(order, &byte, 1) == 1) execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// As 3. All else that a child inherits would be references that nobody asked for.
static void leave_only(int file) {
    dup2(file, 3);
    close_range(4, ~0U, 0);
}

pid_t CCloseTests_fork_closer(int socket, uint64_t *closed) {
    pid_t child = fork();
    if (child != 0) return child;
    leave_only(socket);
    char byte;
    int files[CLinuxHeaps_MAX_ARRIVING];
    size_t count;
    int fault;
    while (CLinuxHeaps_receive(3, &byte, 1, files, &count, &fault) > 0) {
        usleep(20000);
        for (size_t index = 0; index < count; index++) {
            *(volatile uint64_t *)closed = now();
            close(files[index]);
        }
    }
    _exit(0);
}

uint64_t CCloseTests_time_closes(int file, int count) {
    int files[512];
    for (int index = 0; index < count; index++) files[index] = fcntl(file, F_DUPFD_CLOEXEC, 0);
    uint64_t start = now();
    for (int index = 0; index < count; index++) close(files[index]);
    return now() - start;
}

pid_t CCloseTests_fork_churn(int file) {
    pid_t child = fork();
    if (child != 0) return child;
    leave_only(file);
    for (;;) close(dup(3));
}

uint64_t CCloseTests_time_reads(int file, int count) {
    char byte;
    uint64_t start = now();
    for (int index = 0; index < count; index++)
        if (pread(file, &byte, 1, 0) != 1) return 0;
    return now() - start;
}
#endif

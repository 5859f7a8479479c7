#ifdef __linux__
#include <CLinuxHeaps.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct bpf_insn) == 8, "linux/bpf.h");

// No C library has a wrapper. The whole union is zero where nothing is said: the kernel refuses other tails.
static int bpf(enum bpf_cmd command, union bpf_attr *attributes) {
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

int CLinuxHeaps_bpf_load_iterator(const void *instructions, uint32_t count, uint32_t function,
                                  const char *license, char *log, uint32_t capacity) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_TRACING;
    attributes.expected_attach_type = BPF_TRACE_ITER;
    attributes.attach_btf_id = function;
    attributes.insns = (uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uintptr_t)license;
    if (capacity > 0) {
        attributes.log_level = 1;
        attributes.log_buf = (uintptr_t)log;
        attributes.log_size = capacity;
    }
    return bpf(BPF_PROG_LOAD, &attributes);
}

int CLinuxHeaps_bpf_link_iterator(int program) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.attach_type = BPF_TRACE_ITER;
    return bpf(BPF_LINK_CREATE, &attributes);
}

int CLinuxHeaps_bpf_iterate(int link) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.iter_create.link_fd = (uint32_t)link;
    return bpf(BPF_ITER_CREATE, &attributes);
}
#endif

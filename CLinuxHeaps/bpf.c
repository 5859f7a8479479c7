#ifdef __linux__
#include <CLinuxHeaps.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct bpf_insn) == 8, "linux/bpf.h");

// No C library has a wrapper. The whole union is zero where nothing is said: the kernel refuses other tails.
static int bpf(enum bpf_cmd command, union bpf_attr *attributes) {
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

const uint32_t CLinuxHeaps_BPF_TRACE_FEXIT = BPF_TRACE_FEXIT;
const uint32_t CLinuxHeaps_BPF_TRACE_ITER = BPF_TRACE_ITER;

int CLinuxHeaps_bpf_load(const void *instructions, uint32_t count, uint32_t place, uint32_t function,
                         const char *license, char *log, uint32_t capacity) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_TRACING;
    attributes.expected_attach_type = place;
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

int CLinuxHeaps_bpf_link(int program, uint32_t place) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.attach_type = place;
    return bpf(BPF_LINK_CREATE, &attributes);
}

int CLinuxHeaps_bpf_iterate(int link) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.iter_create.link_fd = (uint32_t)link;
    return bpf(BPF_ITER_CREATE, &attributes);
}

int CLinuxHeaps_bpf_shared_value(uint32_t size) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = size;
    // The only number of them at which a program may hold the value's address.
    attributes.max_entries = 1;
    attributes.map_flags = BPF_F_MMAPABLE;
    return bpf(BPF_MAP_CREATE, &attributes);
}

int CLinuxHeaps_bpf_ring(uint32_t size) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_RINGBUF;
    attributes.max_entries = size;
    return bpf(BPF_MAP_CREATE, &attributes);
}

int CLinuxHeaps_bpf_missed(int program, uint64_t *count) {
    struct bpf_prog_info information;
    union bpf_attr attributes;
    memset(&information, 0, sizeof information);
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = (uint32_t)program;
    attributes.info.info_len = sizeof information;
    attributes.info.info = (uintptr_t)&information;
    int result = bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes);
    *count = information.recursion_misses;
    return result;
}

int CLinuxHeaps_drop_bpf_capabilities(void) {
    static const int dropped[] = {CAP_PERFMON, CAP_BPF};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0) return -1;
    for (unsigned i = 0; i < sizeof dropped / sizeof *dropped; i++) {
        struct __user_cap_data_struct *half = &data[CAP_TO_INDEX(dropped[i])];
        half->effective &= ~CAP_TO_MASK(dropped[i]);
        half->permitted &= ~CAP_TO_MASK(dropped[i]);
        half->inheritable &= ~CAP_TO_MASK(dropped[i]);
        // No program that it starts gets them either; takes CAP_SETPCAP, and without it there is none to start.
        prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0);
    }
    return (int)syscall(SYS_capset, &header, data);
}
#endif

#ifdef __linux__
#include <CHeapWire.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs are the wire's bytes");
_Static_assert(sizeof(struct Wire_Header) == 16, "header");
_Static_assert(sizeof(struct Wire_Allocate) == 56, "AllocateVmo");
_Static_assert(sizeof(struct Wire_Delete) == 40, "DeleteVmo");
_Static_assert(sizeof(struct Wire_Observe) == 40, "GetVmoInfo and AwaitReclaimed");
_Static_assert(sizeof(struct Wire_Result) == 32, "a reply that can be a refusal");
_Static_assert(sizeof(struct Wire_Info) == 80, "GetVmoInfo's reply");
_Static_assert(sizeof(struct Wire_Epitaph) == 24, "epitaph");

struct Wire_Header Wire_header(uint32_t txid, uint64_t ordinal) {
    return (struct Wire_Header){
        .txid = txid, .at_rest = {Wire_AT_REST_V2}, .magic = Wire_MAGIC, .ordinal = ordinal};
}

struct Wire_Allocate Wire_allocate(uint32_t txid, uint64_t size, struct Wire_Key key) {
    return (struct Wire_Allocate){.header = Wire_header(txid, Wire_ALLOCATE_VMO),
                                  .size = size,
                                  .settings = {.presence = UINT64_MAX},
                                  .key = key};
}

struct Wire_Delete Wire_delete(uint32_t txid, struct Wire_Key key) {
    return (struct Wire_Delete){
        .header = Wire_header(txid, Wire_DELETE_VMO), .key = key, .vmo = UINT32_MAX};
}

struct Wire_Observe Wire_observe(uint32_t txid, uint64_t ordinal) {
    struct Wire_Observe message = {
        .header = Wire_header(txid, ordinal),
        .table = {.count = 1, .presence = UINT64_MAX},
        .vmo = {.value = UINT32_MAX, .handles = 1, .flags = Wire_INLINED}};
    message.header.dynamic = Wire_FLEXIBLE;
    return message;
}

const uint8_t Wire_on_register[Wire_ON_REGISTER_LENGTH] = {
    // The header.
    0, 0, 0, 0, 2, 0, 0, 1, 0xc5, 0x6f, 0x96, 0x0a, 0x39, 0x39, 0x4b, 0x36,
    // HeapProperties: three fields.
    3, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    // A table of 40 bytes; need_clear = 0; need_flush = 1.
    0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0,
    // CoherencyDomainSupport: cpu and ram, not inaccessible.
    3, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0,
};
#endif

#include "linuxheaps.h"

/* What a caller may have been compiled with: these never change, and structures only grow. */
_Static_assert(sizeof(lheap_properties) == sizeof(size_t) + 8, "lheap_properties");
_Static_assert(offsetof(lheap_settings, flags) == sizeof(size_t), "lheap_settings");
_Static_assert(offsetof(lheap_buffer_info, name) == offsetof(lheap_buffer_info, exporter) + 64, "lheap_buffer_info");

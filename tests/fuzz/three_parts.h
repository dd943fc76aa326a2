/* three_parts.h - what must hold for objects of any opened model: every three of its tensors are taken for one. place:
 * what their descriptions contain. */
#ifndef HS_TESTS_FUZZ_THREE_PARTS_H
#define HS_TESTS_FUZZ_THREE_PARTS_H

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "store/objects.h"

static inline void check_objects(const char *place, const hs_source *s)
{
    uint32_t n = hs_source_checkpoint(s)->n_tensors / 3, parts[3 * 64];
    hs_objects *o = NULL;
    n = n < 64 ? n : 64;
    for (uint32_t i = 0; i < 3 * n; i++)
        parts[i] = i % 5 == 4 ? HS_NO_TENSOR : i;
    if (!n || hs_objects_create(s, parts, n, 3, &o, NULL) < 0)
        return;
    char *slot = malloc(hs_objects_slot_bytes(o) + 1);
    FUZZ_CHECK(slot);
    for (uint32_t i = 0; i < n; i++) {
        hs_range r[HS_OBJECT_MAX_RANGES];
        const void *at[HS_OBJECT_MAX_PARTS];
        uint32_t n_ranges = hs_object_ranges(o, i, r);
        uint64_t end = 0;
        char what[300];
        FUZZ_CHECK(n_ranges >= 1 && n_ranges <= HS_OBJECT_MAX_RANGES);
        for (uint32_t k = 0; k < n_ranges; k++) {
            FUZZ_CHECK(r[k].offset % 4096 == 0 && r[k].len % 4096 == 0 && r[k].dst_offset == end);
            end += r[k].len;
            hs_object_describe(o, i, k, what, sizeof what);
            FUZZ_CHECK(strstr(what, place));
        }
        FUZZ_CHECK(end == hs_object_read_bytes(o, i) && end <= hs_objects_slot_bytes(o));
        hs_object_parts(o, i, slot, at);
        for (uint32_t k = 0; k < 3; k++) {
            uint32_t t = parts[3 * i + k];
            FUZZ_CHECK((t == HS_NO_TENSOR) == (at[k] == NULL));
            if (at[k])
                FUZZ_CHECK((const char *)at[k] >= slot &&
                           (const char *)at[k] + hs_source_checkpoint(s)->tensors[t].nbytes <= slot + end);
        }
    }
    free(slot);
    hs_objects_destroy(&o);
}

#endif

/* striped.h - what the tests of packs over several folders share. */
#ifndef TESTS_PACK_STRIPED_H
#define TESTS_PACK_STRIPED_H

#include "make.h"
#include "pack/pack_int.h"

#define MIB (1u << 20)

/* src; out: dst and two folders for its shards, back: none of which exists yet. */
typedef struct trip {
    const char *src, *out;
    char dst[200], b[200], c[200], back[200];
    const char *folders[2];
} trip;

/* Static storage: one at a time. */
trip *trip_begin(source_kind kind);
void trip_end(const trip *t);
/* Over dst and both folders, cut as small as may be, in shards of MIB; compressed. */
hs_pack_options trip_options(const trip *t);

void assert_packs(const hs_pack_options *o);
void assert_refused(const hs_pack_options *o, int code, const char *words);
/* The pack verifies, loads, leaves nothing behind and comes back as its source. */
void assert_complete(const trip *t);
void assert_unfinished(const trip *t);
/* The first shard that lies in folder: its name (static storage). */
const char *shard_in(const char *folder);

#endif

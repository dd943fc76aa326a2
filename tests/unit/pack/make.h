/* make.h - what the tests of pack share: sources made of seeded numbers, temporary folders, comparing folders. */
#ifndef TESTS_PACK_MAKE_H
#define TESTS_PACK_MAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pack/pack.h"

/* A new folder under $TMPDIR or /tmp; the string is static storage of the call site's slot 0 to 7. */
const char *temp_folder(int slot);
void remove_tree(const char *path);

typedef enum source_kind {
    SOURCE_TINY, /* one container of about 30 KB, BF16, two experts */
    SOURCE_BF16, /* two containers with an index, 3 MB, 16 experts, odd tensors and odd files */
    SOURCE_FP8   /* one container, E4M3 with scales, 1.5 MB */
} source_kind;

/* Writes the source into a new folder `path`. Weights look trained (normal), but for one random and one zero matrix. */
void make_source(const char *path, source_kind kind);
void write_file(const char *folder, const char *name, const void *data, size_t n);
char *read_file(const char *folder, const char *name, size_t *ret_n); /* free() */
size_t size_of(const char *folder, const char *name);
/* Damages one byte of a file in its place. */
void flip_bits(const char *folder, const char *name, size_t at, int bits);

/* Fails the test unless both hold the same regular files with the same bytes and modes. */
void assert_same_folder(const char *a, const char *b);
bool file_exists(const char *folder, const char *name);
uint64_t folder_bytes(const char *path);
/* Would it be served? (It must be refused while unfinished.) */
bool loads(const char *path);

/* Packs with one thread (shard_bytes 0 = default); the error's code. */
int pack(const char *src, const char *dst, hs_pack_codec codec, uint64_t shard_bytes, hs_err *err);
/* The same with raw records beside the compressed ones. */
int pack_kept(const char *src, const char *dst, hs_pack_codec codec, uint64_t shard_bytes, hs_err *err);

/* A source and its pack (by pack), each in a folder of its own in slots 0 and 1. */
typedef struct packed_model {
    const char *src, *out;
    char packed[220], beside[220]; /* in out; the second is not made: for a copy, or for what is unpacked */
    hs_pool *pool;
} packed_model;
packed_model packed_model_make(source_kind kind, hs_pack_codec codec);
packed_model packed_twice(source_kind kind, hs_pack_codec codec); /* beside is packed, too */
void packed_model_end(packed_model *w);

/* A monitor that cancels the work, or kills the process, at its stop_at-th sign of life. */
typedef struct stopper {
    atomic_int cancel;
    int calls, stop_at;
    bool kill;
} stopper;
void stopper_progress(void *ctx, hs_pack_phase phase, uint64_t done, uint64_t total);

#endif

/*
 * shard_input.h - a packed folder in a few hundred bytes: what is padding or zeros in a shard is left out. Target and
 * mutator of fuzz_shard.c share it.
 *
 *   hs_shard_header, hs_shard_footer, u16 n_text, text         header of the only container
 *   u8 n_chunks, { u32 bytes, u16 n_given, given bytes }       records: each at the next multiple of 4096; bytes that
 * are not given are zeros the rest is the table
 */
#ifndef HS_TESTS_FUZZ_SHARD_INPUT_H
#define HS_TESTS_FUZZ_SHARD_INPUT_H

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "hotset/shard_format.h"

#define MAX_CHUNKS      16u
#define MAX_CHUNK_BYTES (600u << 10)
#define MAX_TEXT        8192u
#define MAX_TABLE       16384u
#define MAX_IMAGE       (MAX_CHUNKS * (MAX_CHUNK_BYTES + HS_SHARD_ALIGN) + MAX_TABLE + 3 * HS_SHARD_ALIGN)

typedef struct chunk {
    uint32_t bytes;
    uint16_t n_given;
    uint8_t given[UINT16_MAX];
} chunk;

typedef struct shard_input {
    hs_shard_header header;
    hs_shard_footer footer;
    uint16_t n_text;
    char text[MAX_TEXT];
    uint8_t n_chunks;
    chunk chunks[MAX_CHUNKS];
    uint32_t n_table;
    _Alignas(8) uint8_t table[MAX_TABLE];
} shard_input;

static inline bool take_bytes(const uint8_t **data, size_t *size, void *ret, size_t n)
{
    if (*size < n)
        return false;
    memcpy(ret, *data, n);
    *data += n;
    *size -= n;
    return true;
}

/* False if the input is too short. Sizes beyond the maxima are cut down to them. */
static inline bool shard_parse(shard_input *in, const uint8_t *data, size_t size)
{
    if (!take_bytes(&data, &size, &in->header, sizeof in->header) ||
        !take_bytes(&data, &size, &in->footer, sizeof in->footer) || !take_bytes(&data, &size, &in->n_text, 2))
        return false;
    in->n_text = in->n_text < MAX_TEXT ? in->n_text : MAX_TEXT;
    in->n_text = in->n_text < size ? in->n_text : (uint16_t)size;
    (void)take_bytes(&data, &size, in->text, in->n_text);
    if (!take_bytes(&data, &size, &in->n_chunks, 1))
        return false;
    in->n_chunks = in->n_chunks < MAX_CHUNKS ? in->n_chunks : MAX_CHUNKS;
    for (uint32_t i = 0; i < in->n_chunks; i++) {
        chunk *c = &in->chunks[i];
        if (!take_bytes(&data, &size, &c->bytes, 4) || !take_bytes(&data, &size, &c->n_given, 2))
            return false;
        c->n_given = c->n_given < size ? c->n_given : (uint16_t)size;
        (void)take_bytes(&data, &size, c->given, c->n_given);
        c->bytes = c->bytes < c->n_given ? c->n_given : c->bytes < MAX_CHUNK_BYTES ? c->bytes : MAX_CHUNK_BYTES;
    }
    in->n_table = size < MAX_TABLE ? (uint32_t)size : MAX_TABLE;
    (void)take_bytes(&data, &size, in->table, in->n_table);
    return true;
}

/* Bytes of a chunk at its place in an image. */
static inline void chunk_expand(const chunk *c, uint8_t *out)
{
    memcpy(out, c->given, c->n_given);
    memset(out + c->n_given, 0, c->bytes - c->n_given);
}

/* The shard's size; *ret_table: where its table begins. */
static inline uint64_t shard_layout(const shard_input *in, uint64_t *ret_table)
{
    uint64_t at = HS_SHARD_ALIGN;
    for (uint32_t i = 0; i < in->n_chunks; i++)
        at += hs_align_up(in->chunks[i].bytes, HS_SHARD_ALIGN);
    *ret_table = at;
    return at + hs_align_up(in->n_table, HS_SHARD_ALIGN) + HS_SHARD_ALIGN;
}

/* Writes the shard's image into out (of MAX_IMAGE bytes) and returns its size. */
static inline uint64_t shard_image(const shard_input *in, uint8_t *out)
{
    uint64_t table, n = shard_layout(in, &table), at = HS_SHARD_ALIGN;
    memset(out, 0, HS_SHARD_ALIGN);
    memcpy(out, &in->header, sizeof in->header);
    for (uint32_t i = 0; i < in->n_chunks; i++) {
        const chunk *c = &in->chunks[i];
        uint64_t room = hs_align_up(c->bytes, HS_SHARD_ALIGN);
        chunk_expand(c, out + at);
        memset(out + at + c->bytes, 0, room - c->bytes);
        at += room;
    }
    memset(out + table, 0, n - table);
    memcpy(out + table, in->table, in->n_table);
    memcpy(out + n - HS_SHARD_ALIGN, &in->footer, sizeof in->footer);
    return n;
}

#endif

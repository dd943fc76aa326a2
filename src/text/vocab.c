/*
 * vocab.c - tokens and merges in two open-addressing tables with linear probing.
 * Neither table is ever more than 5/8 full, so that a search that finds nothing, which is what BPE mostly does, ends
 * after a few slots.
 */
#include "text/vocab.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "text/utf8.h"

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

/* A slot number below n, from the upper half of a well mixed hash. */
static uint32_t slot_of(uint64_t hash, uint32_t n)
{
    return (uint32_t)((hash >> 32) * n >> 32);
}

static uint64_t hash_bytes(const hs__vocab *v, const char *p, size_t len, hs__kind kind)
{
    uint64_t h = v->seed ^ (len << 2 | kind), w;
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&w, p, 8);
        h = mix(h ^ w);
    }
    w = 0;
    memcpy(&w, p, len);
    return mix(h ^ w);
}

int hs__vocab_init(hs__vocab *v, hs__spelling spelling, size_t n, hs_err *err)
{
    *v = (hs__vocab){.spelling = spelling, .n_slots = 8};
    if (n > HS__MAX_ID)
        return hs_err_set(err, -E2BIG, "%zu tokens; at most %u are possible", n, HS__MAX_ID);
    v->n_slots += (uint32_t)(n + n / 5 * 3);
    v->slots = hs_malloc(v->n_slots * sizeof *v->slots);
    if (!v->slots)
        return hs_err_set(err, -ENOMEM, "out of memory");
    memset(v->slots, 0xff, v->n_slots * sizeof *v->slots);
    if (getrandom(&v->seed, sizeof v->seed, GRND_NONBLOCK) != sizeof v->seed)
        v->seed = hs_now_ns();
    return 0;
}

int hs__vocab_init_merges(hs__vocab *v, size_t n_merges, hs_err *err)
{
    if (n_merges > HS__MAX_MERGES)
        return hs_err_set(err, -E2BIG, "%zu merges; at most %u are possible", n_merges, HS__MAX_MERGES);
    uint32_t n = (uint32_t)(n_merges + n_merges / 5 * 3) + 8;
    v->merges = hs_malloc(n * sizeof *v->merges);
    if (!v->merges)
        return hs_err_set(err, -ENOMEM, "out of memory");
    memset(v->merges, 0xff, n * sizeof *v->merges);
    v->n_merges = n;
    return 0;
}

void hs__vocab_deinit(hs__vocab *v)
{
    hs_free(v->bytes);
    hs_free(v->tokens);
    hs_free(v->slots);
    hs_free(v->merges);
    *v = (hs__vocab){0};
}

uint64_t hs__vocab_bytes(const hs__vocab *v)
{
    return v->cap_bytes + v->cap_tokens * sizeof *v->tokens + v->n_slots * sizeof *v->slots +
           v->n_merges * sizeof *v->merges;
}

/* The byte that a character of the byte alphabet stands for, or -1. Bytes that print in Latin-1 stand for themselves,
 * the other 68 are counted up from U+0100. */
static int byte_of(uint32_t cp)
{
    if ((cp > 0x20 && cp < 0x7f) || (cp > 0xa0 && cp < 0x100 && cp != 0xad))
        return (int)cp;
    if (cp < 0x100 || cp > 0x143)
        return -1;
    cp -= 0x100;
    return (int)(cp <= 0x20 ? cp : cp <= 0x42 ? cp - 0x21 + 0x7f : 0xad);
}

static hs__kind decode_byte_alphabet(const char *text, size_t len, char *out, size_t *ret_len)
{
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        uint32_t cp = 0;
        int used = hs__utf8_decode(text + i, len - i, &cp);
        int byte = used > 0 ? byte_of(cp) : -1;
        if (byte < 0) {
            memcpy(out, text, len);
            *ret_len = len;
            return HS__OTHER;
        }
        out[n++] = (char)byte;
        i += (size_t)used;
    }
    *ret_len = n;
    return HS__PLAIN;
}

/* As the files write it, in capitals; -1: no hexadecimal digit. */
static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "<0x0A>": the byte, or -1. */
static int byte_token(const char *text, size_t len)
{
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    int high = digit(text[3]), low = digit(text[4]);
    return high >= 0 && low >= 0 ? high * 16 + low : -1;
}

static hs__kind decode_blank_mark(const char *text, size_t len, char *out, size_t *ret_len)
{
    int byte = byte_token(text, len);
    if (byte >= 0) {
        out[0] = (char)byte;
        *ret_len = 1;
        return HS__BYTE;
    }
    *ret_len = hs__blank_marks(text, len, out);
    return memchr(text, ' ', len) ? HS__OTHER : HS__PLAIN;
}

size_t hs__blank_marks(const char *text, size_t len, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        bool is_mark = len - i >= 3 && memcmp(text + i, HS__BLANK, 3) == 0;
        out[n++] = is_mark ? ' ' : text[i];
        i += is_mark ? 3 : 1;
    }
    return n;
}

hs__kind hs__vocab_decode(hs__spelling spelling, const char *text, size_t len, char *out, size_t *ret_len)
{
    return (spelling == HS__BYTE_ALPHABET ? decode_byte_alphabet : decode_blank_mark)(text, len, out, ret_len);
}

/* Puts the token's bytes at the end of the arena; the token itself is not in place yet. */
static int store_bytes(hs__vocab *v, const char *text, size_t len, uint32_t id, hs__token *ret)
{
    if (len > HS__MAX_TOKEN_LEN || id > HS__MAX_ID || v->n_bytes >= UINT32_MAX - len)
        return -E2BIG;
    size_t n;
    if (hs_grow(&v->bytes, 1, v->n_bytes + len + 1, &v->cap_bytes, UINT32_MAX) < 0 ||
        hs_grow(&v->tokens, sizeof *v->tokens, (size_t)id + 1, &v->cap_tokens, (size_t)HS__MAX_ID + 1) < 0)
        return -ENOMEM;
    if (id >= v->n_tokens) {
        memset(v->tokens + v->n_tokens, 0, (id + 1 - v->n_tokens) * sizeof *v->tokens);
        v->n_tokens = id + 1;
    }
    hs__kind kind = hs__vocab_decode(v->spelling, text, len, v->bytes + v->n_bytes, &n);
    *ret = (hs__token){.offset = (uint32_t)v->n_bytes, .len = (uint32_t)n & 0xffffff, .exists = 1, .kind = kind & 3u};
    return 0;
}

/* The slot that holds the token with these bytes, or the empty one where it would go. */
static uint32_t *find_slot(const hs__vocab *v, const char *bytes, size_t len, hs__kind kind)
{
    uint32_t i = slot_of(hash_bytes(v, bytes, len, kind), v->n_slots);
    for (;; i = i + 1 == v->n_slots ? 0 : i + 1) {
        uint32_t id = v->slots[i];
        if (id == HS_NO_TOKEN)
            return &v->slots[i];
        const hs__token *t = &v->tokens[id];
        if (t->len == len && t->kind == kind && memcmp(v->bytes + t->offset, bytes, len) == 0)
            return &v->slots[i];
    }
}

int hs__vocab_add(hs__vocab *v, const char *text, size_t len, uint32_t id)
{
    hs__token t;
    int r = store_bytes(v, text, len, id, &t);
    if (r < 0)
        return r;
    uint32_t *slot = find_slot(v, v->bytes + t.offset, t.len, t.kind);
    if (v->tokens[id].exists || *slot != HS_NO_TOKEN)
        return -EEXIST;
    *slot = id;
    v->tokens[id] = t;
    v->n_bytes += t.len;
    return 0;
}

int hs__vocab_override(hs__vocab *v, const char *text, size_t len, uint32_t id, bool special)
{
    hs__token t;
    int r = store_bytes(v, text, len, id, &t);
    if (r < 0)
        return r;
    const hs__token *old = &v->tokens[id];
    if (old->exists) {
        /* The usual case: the model lists it too. Its table entry stays valid only if the bytes are the same. */
        if (old->len != t.len || old->kind != t.kind || memcmp(v->bytes + old->offset, v->bytes + t.offset, t.len))
            return -EEXIST;
        t.offset = old->offset;
    } else {
        v->n_bytes += t.len;
    }
    t.special = special;
    v->tokens[id] = t;
    return 0;
}

void hs__vocab_finish(hs__vocab *v)
{
    hs__kind kind = v->spelling == HS__BYTE_ALPHABET ? HS__PLAIN : HS__BYTE;
    for (int b = 0; b < 256; b++)
        v->byte_id[b] = hs__vocab_find(v, &(char){(char)b}, 1, kind);
    v->bytes = hs_shrink(v->bytes, v->n_bytes + 1);
    v->cap_bytes = v->n_bytes + 1;
    v->tokens = hs_shrink(v->tokens, v->n_tokens * sizeof *v->tokens);
    v->cap_tokens = v->n_tokens;
}

uint32_t hs__vocab_find(const hs__vocab *v, const char *bytes, size_t len, hs__kind kind)
{
    return *find_slot(v, bytes, len, kind);
}

uint32_t hs__vocab_find_spelled(const hs__vocab *v, const char *text, size_t len, char *scratch)
{
    size_t n;
    hs__kind kind = hs__vocab_decode(v->spelling, text, len, scratch, &n);
    return hs__vocab_find(v, scratch, n, kind);
}

static hs__merge *find_merge(const hs__vocab *v, uint32_t left, uint32_t right)
{
    uint32_t i = slot_of(mix(v->seed ^ ((uint64_t)left << 32 | right)), v->n_merges);
    for (;; i = i + 1 == v->n_merges ? 0 : i + 1) {
        hs__merge *m = &v->merges[i];
        if ((m->left == left && m->right == right) || m->left == HS_NO_TOKEN)
            return m;
    }
}

void hs__vocab_add_merge(hs__vocab *v, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    *find_merge(v, left, right) = (hs__merge){left, right, rank, id};
}

const hs__merge *hs__vocab_merge(const hs__vocab *v, uint32_t left, uint32_t right)
{
    const hs__merge *m = find_merge(v, left, right);
    return m->left == HS_NO_TOKEN ? NULL : m;
}

/*
 * exponent.c - frames with ranked exponents: checks, the levels from the last to the first, and the generic kernels.
 *
 * Invariants: a hostile frame is caught before anything outside stored, scratch and raw is touched: sizes are checked
 * against the frame's before a byte is decoded; escapes that are not there are noticed within a group, which the slack
 * behind each level covers.
 */
#include "store/exponent_int.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define GROUP HS_EXPONENT_GROUP

static bool always(void)
{
    return true;
}

/* Exponents of one group; returns the new next. */
static const uint8_t *group(const hs__level *restrict l, uint32_t g, const uint8_t *restrict next,
                            uint8_t *restrict out)
{
    const uint8_t *code = l->code + g * (GROUP / 4);
    for (uint32_t i = 0; i < GROUP; i++) {
        uint32_t c = code[i % 64] >> (i / 64 * 2) & 3, escape = c == 3;
        out[i] = (uint8_t)(l->symbol[c] | (*next & -escape)); /* no branch: a quarter of them would be mispredicted */
        next += escape;
    }
    return next;
}

static const uint8_t *level_generic(const hs__level *l, uint8_t *out)
{
    const uint8_t *next = l->next;
    for (uint32_t g = 0; g < l->groups; g++) {
        next = group(l, g, next, out + g * GROUP);
        if (next > l->end)
            return NULL;
    }
    return next;
}

static const uint8_t *join8_generic(const hs__level *l, const uint8_t *rest, uint8_t *out)
{
    const uint8_t *next = l->next;
    uint8_t exponent[GROUP];
    for (uint32_t g = 0; g < l->groups; g++) {
        next = group(l, g, next, exponent);
        if (next > l->end)
            return NULL;
        for (uint32_t i = 0; i < GROUP; i++) {
            uint32_t x = rest[g * (GROUP / 2) + i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
            out[g * GROUP + i] = (uint8_t)((x & 8) << 4 | (exponent[i] & 15u) << 3 | (x & 7));
        }
    }
    return next;
}

static const uint8_t *join16_generic(const hs__level *l, const uint8_t *rest, uint8_t *out)
{
    const uint8_t *next = l->next;
    uint8_t exponent[GROUP];
    for (uint32_t g = 0; g < l->groups; g++) {
        next = group(l, g, next, exponent);
        if (next > l->end)
            return NULL;
        for (uint32_t i = 0; i < GROUP; i++) {
            uint32_t x = rest[g * GROUP + i], e = exponent[i];
            out[2 * (g * GROUP + i)] = (uint8_t)(e << 7 | (x & 127));
            out[2 * (g * GROUP + i) + 1] = (uint8_t)((x & 128) | e >> 1);
        }
    }
    return next;
}

static const hs__exponent_kernels generic = {"generic", always, level_generic, join8_generic, join16_generic};

static const hs__exponent_kernels *const all[] = {
#if defined(__x86_64__)
    &hs__exponent_avx512, &hs__exponent_avx2,
#endif
    &generic};

const hs__exponent_kernels *hs__exponent_kernels_at(uint32_t k)
{
    return k < sizeof all / sizeof *all ? all[k] : NULL;
}

static const hs__exponent_kernels *best(void)
{
    uint32_t k = 0;
    while (!all[k]->is_supported())
        k++;
    return all[k];
}

static uint32_t groups_of(uint32_t n)
{
    return (n + GROUP - 1) / GROUP;
}

/* The parts of a frame, each of the size that its header gives. */
typedef struct layout {
    hs_exponent_frame head;
    const uint8_t *rest, *code[HS_EXPONENT_LEVELS], *literals;
    uint32_t n[HS_EXPONENT_LEVELS + 1]; /* codes of each level; literals */
} layout;

static int lay_out(hs_codec codec, const uint8_t *stored, uint32_t stored_bytes, uint32_t n, layout *t)
{
    if (stored_bytes < sizeof t->head)
        return -EBADMSG;
    memcpy(&t->head, stored, sizeof t->head);
    if (t->head.elements != n)
        return -EBADMSG;
    const uint8_t *at = stored + sizeof t->head;
    uint64_t total = sizeof t->head;
    uint32_t rest = groups_of(n) * (codec == HS_CODEC_EXPONENT_8 ? GROUP / 2 : GROUP);
    t->n[0] = n;
    total += rest;
    for (uint32_t k = 0; k < HS_EXPONENT_LEVELS; k++) {
        t->n[k + 1] = t->head.escapes[k];
        if (t->n[k + 1] > (k ? t->n[k] : n / 2))
            return -EBADMSG;
        total += groups_of(t->n[k]) * (GROUP / 4);
    }
    if (total + t->n[HS_EXPONENT_LEVELS] != stored_bytes)
        return -EBADMSG;
    t->rest = at;
    at += rest;
    for (uint32_t k = 0; k < HS_EXPONENT_LEVELS; k++) {
        t->code[k] = at;
        at += groups_of(t->n[k]) * (GROUP / 4);
    }
    t->literals = at;
    return 0;
}

int hs__exponent_decode(const hs__exponent_kernels *k, hs_codec codec, const uint8_t *stored, uint32_t stored_bytes,
                        uint8_t *scratch, uint8_t *raw, uint32_t raw_bytes)
{
    uint32_t width = codec == HS_CODEC_EXPONENT_8 ? 1 : 2, n = raw_bytes / width;
    layout t;
    if (raw_bytes % width || raw_bytes > HS_FRAME_RAW || lay_out(codec, stored, stored_bytes, n, &t) < 0)
        return -EBADMSG;
    k = k ? k : best();
    uint8_t *next = scratch, *out = scratch + HS__EXPONENT_LEVEL;
    memcpy(next, t.literals, t.n[HS_EXPONENT_LEVELS]);
    for (uint32_t i = HS_EXPONENT_LEVELS - 1; i > 0; i--) {
        hs__level l = {.code = t.code[i], .groups = groups_of(t.n[i]), .next = next, .end = next + t.n[i + 1]};
        memcpy(l.symbol, t.head.symbol[i], 3);
        if (k->level(&l, out) != l.end)
            return -EBADMSG;
        uint8_t *swap = next;
        next = out;
        out = swap;
    }
    hs__level l = {.code = t.code[0], .groups = n / GROUP, .next = next, .end = next + t.n[1]};
    memcpy(l.symbol, t.head.symbol[0], 3);
    const uint8_t *(*join)(const hs__level *, const uint8_t *, uint8_t *) = width == 1 ? k->join8 : k->join16;
    l.next = join(&l, t.rest, raw);
    if (l.next && n % GROUP) { /* the last group is not all the frame's */
        uint8_t last[2 * GROUP];
        uint32_t whole = l.groups;
        l.code += whole * (GROUP / 4);
        l.groups = 1;
        l.next = join(&l, t.rest + whole * (width == 1 ? GROUP / 2 : GROUP), last);
        memcpy(raw + whole * GROUP * width, last, n % GROUP * width);
    }
    return l.next == l.end ? 0 : -EBADMSG;
}

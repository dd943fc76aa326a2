/*
 * jinja_dict.c - dictionaries that keep the order of insertion.
 * Up to SMALL entries are searched one by one; above that an index with open addressing is kept, at most half full.
 * Each probe is charged as a step, so keys that are made to collide end in an error, not in a stall.
 */
#include "text/jinja_int.h"

#include <string.h>

#define SMALL 8u

int hs__jdict_new(hs__jrun *r, hs__jdict **ret)
{
    hs__jdict *d = hs__jalloc(r, sizeof *d);
    if (!d)
        return r->code;
    *d = (hs__jdict){0};
    *ret = d;
    return 0;
}

/* Equal keys hash alike: 1, 1.0 and true are one key. */
static int hash_key(hs__jrun *r, const hs__jval *k, uint32_t *ret)
{
    uint32_t h = 2166136261u;
    uint64_t bits;
    switch (k->type) {
    case HS__J_STR:
        for (uint32_t i = 0; i < k->len; i++)
            h = (h ^ (unsigned char)k->as.s[i]) * 16777619u;
        *ret = h ^ h >> 15;
        return hs__jcharge(r, k->len / 16);
    case HS__J_BOOL:
    case HS__J_INT:
    case HS__J_FLOAT: {
        double d = hs__jnumber(k) + 0.0;
        memcpy(&bits, &d, sizeof bits);
        *ret = (uint32_t)((bits * 0x9e3779b97f4a7c15u) >> 32);
        return 0;
    }
    case HS__J_NONE:
        *ret = 1;
        return 0;
    case HS__J_UNDEFINED:
        return hs__jfail_undefined(r, k);
    default:
        return hs__jfail(r, -EINVAL, "a '%s' cannot be the key of a dict", hs__jtype_name(k));
    }
}

static int rebuild(hs__jrun *r, hs__jdict *d, uint32_t size)
{
    uint32_t *index = hs__jalloc(r, size * sizeof *index);
    if (!index)
        return r->code;
    memset(index, 0, size * sizeof *index);
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t at;
        int code = hash_key(r, &d->entries[i].key, &at);
        if (code < 0)
            return code;
        for (at &= size - 1; index[at]; at = (at + 1) & (size - 1)) {
            if (hs__jcharge(r, 1) < 0)
                return r->code;
        }
        index[at] = i + 1;
    }
    d->index = index;
    d->index_size = size;
    return 0;
}

static int find(hs__jrun *r, const hs__jdict *d, const hs__jval *key, uint32_t hash, uint32_t *ret_at, uint32_t *ret)
{
    bool same = false;
    uint32_t n = d->index_size ? d->index_size : d->n;
    *ret = UINT32_MAX;
    for (uint32_t probe = 0; probe < n; probe++) {
        uint32_t at = d->index_size ? (hash + probe) & (d->index_size - 1) : probe;
        uint32_t entry = d->index_size ? d->index[at] - 1 : at;
        *ret_at = at;
        if (entry == UINT32_MAX)
            return 0;
        int code = hs__jequal(r, &d->entries[entry].key, key, &same);
        if (code < 0)
            return code;
        if (same) {
            *ret = entry;
            return 0;
        }
    }
    return 0;
}

int hs__jdict_get(hs__jrun *r, const hs__jdict *d, const hs__jval *key, hs__jval **ret)
{
    uint32_t hash, at = 0, entry;
    int code = hash_key(r, key, &hash);
    if (code == 0)
        code = find(r, d, key, hash, &at, &entry);
    if (code == 0)
        *ret = entry == UINT32_MAX ? NULL : &d->entries[entry].val;
    return code;
}

int hs__jdict_set(hs__jrun *r, hs__jdict *d, const hs__jval *key, const hs__jval *val)
{
    uint32_t hash, at = 0, entry = UINT32_MAX;
    int code = hash_key(r, key, &hash);
    if (code == 0)
        code = find(r, d, key, hash, &at, &entry);
    if (code < 0)
        return code;
    if (entry != UINT32_MAX) {
        d->entries[entry].val = *val;
        return 0;
    }
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? 2 * d->cap : 4;
        hs__jentry *entries = hs__jalloc(r, cap * sizeof *entries);
        if (!entries)
            return r->code;
        if (d->n)
            memcpy(entries, d->entries, d->n * sizeof *entries);
        d->entries = entries;
        d->cap = cap;
    }
    d->entries[d->n++] = (hs__jentry){*key, *val};
    if (d->n > SMALL && 2 * d->n > d->index_size)
        return rebuild(r, d, d->index_size ? 2 * d->index_size : 4 * SMALL);
    if (d->index_size)
        d->index[at] = d->n;
    return 0;
}

int hs__jdict_remove(hs__jrun *r, hs__jdict *d, const hs__jval *key)
{
    hs__jval *val;
    int code = hs__jdict_get(r, d, key, &val);
    if (code < 0 || !val)
        return code;
    hs__jentry *e = (hs__jentry *)((char *)val - offsetof(hs__jentry, val));
    uint32_t i = (uint32_t)(e - d->entries);
    memmove(e, e + 1, (d->n - i - 1) * sizeof *e);
    d->n--;
    if (hs__jcharge(r, d->n) < 0)
        return r->code;
    return d->index_size ? rebuild(r, d, d->index_size) : 0;
}

/*
 * place.c - in which records of a packed folder each tensor lies.
 *
 * Invariants, checked here once: every tensor is in exactly one part of its own size, or cut into parts that follow one
 * another; where it is cut, it is the last part of one record, whose raw image ends on a page, and the first of the
 * next, so that it is whole in a slot where these images follow one another. Parts of a raw shard take the place of
 * those that they repeat.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/store_int.h"

/* A part that is not all of its tensor. */
typedef struct fragment {
    uint32_t tensor;
    bool raw; /* of a raw shard */
    uint64_t at, bytes;
    hs__place place;
} fragment;

typedef struct placing {
    hs_source *s;
    const uint32_t *first; /* [n_sources + 1] tensors by container, each sorted by offset */
    uint32_t n_sources;
    uint64_t *offsets; /* [n_tensors] in a record's raw image */
    fragment *fragments;
    uint32_t n;
    size_t cap;
} placing;

static int refuse(const placing *w, const hs__place *p, const char *what, hs_err *err)
{
    return hs_err_set(err, -EBADMSG, "%s: record %u, part %u %s", w->s->files[p->shard].path, p->record,
                      p->part - w->s->shards[p->shard].records[p->record].first_part, what);
}

/* The tensor that has the part's bytes, all or some of its own. */
static hs_tensor *tensor_of(const placing *w, const hs_shard_part *p)
{
    if (p->source >= w->n_sources)
        return NULL;
    uint32_t lo = w->first[p->source], hi = w->first[p->source + 1], begin = lo;
    while (lo < hi) { /* the first one behind */
        uint32_t mid = lo + (hi - lo) / 2;
        const hs_tensor *t = &w->s->tensors[mid];
        if (t->offset < p->source_offset || (t->offset == p->source_offset && t->nbytes <= p->bytes))
            lo = mid + 1;
        else
            hi = mid;
    }
    hs_tensor *t = lo > begin ? &w->s->tensors[lo - 1] : NULL;
    /* Cut where it begins: it is bigger than the part, and so behind. Empty ones share an offset with their successor.
     */
    bool exact = t && t->offset == p->source_offset && t->nbytes == p->bytes;
    if (!exact && p->bytes && lo < w->first[p->source + 1] && w->s->tensors[lo].offset == p->source_offset)
        t = &w->s->tensors[lo];
    bool inside = t && p->source_offset >= t->offset && p->source_offset - t->offset <= t->nbytes &&
                  p->bytes <= t->nbytes - (p->source_offset - t->offset);
    return inside && (p->bytes || !t->nbytes) ? t : NULL;
}

static int add_fragment(placing *w, const hs_tensor *t, const hs_shard_part *part, const hs__place *p, hs_err *err)
{
    if (hs_grow(&w->fragments, sizeof *w->fragments, w->n + 1, &w->cap, HS_SHARD_MAX_PARTS) < 0)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", w->s->path);
    w->fragments[w->n++] = (fragment){.tensor = (uint32_t)(t - w->s->tensors),
                                      .raw = w->s->shards[p->shard].raw,
                                      .at = part->source_offset - t->offset,
                                      .bytes = part->bytes,
                                      .place = *p};
    return 0;
}

static void put(const placing *w, hs_tensor *t, const hs__place *p)
{
    const hs__shard *sh = &w->s->shards[p->shard];
    t->record = sh->first_record + p->record;
    t->file = p->shard;
    w->s->places[t - w->s->tensors] = *p;
    w->offsets[t - w->s->tensors] = sh->parts[p->part].raw_offset;
}

static int place_part(placing *w, const hs__place *p, hs_err *err)
{
    const hs__shard *sh = &w->s->shards[p->shard];
    const hs_shard_part *part = &sh->parts[p->part];
    hs_tensor *t = tensor_of(w, part);
    if (!t && w->s->gguf)
        return 0; /* what lies between tensors */
    if (t && t->nbytes != part->bytes)
        return add_fragment(w, t, part, p, err);
    bool again = sh->raw && part->codec == HS_CODEC_RAW; /* takes the place of another */
    if (!t || (t->record != HS_NO_RECORD && t->nbytes && !again))
        return refuse(w, p, "is no tensor of the source, or one twice", err);
    put(w, t, p);
    return 0;
}

/* Empty tensors at one offset of a container cannot be told apart: those that got no part share a neighbour's place. */
static void share_places(const placing *w)
{
    hs_source *s = w->s;
    for (int backwards = 0; backwards < 2; backwards++) {
        for (uint32_t k = 1; k < s->n_tensors; k++) {
            uint32_t i = backwards ? s->n_tensors - 1 - k : k, from = backwards ? i + 1 : i - 1;
            hs_tensor *t = &s->tensors[i], *o = &s->tensors[from];
            if (t->record != HS_NO_RECORD || o->record == HS_NO_RECORD || t->nbytes || o->nbytes ||
                t->offset != o->offset)
                continue;
            t->record = o->record;
            t->file = o->file;
            s->places[i] = s->places[from];
            w->offsets[i] = w->offsets[from];
        }
    }
}

static int by_tensor(const void *a, const void *b)
{
    const fragment *x = a, *y = b;
    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)x->raw - (int)y->raw;
}

/* Is the raw fragment y the same bytes as x once more? */
static bool repeats(const placing *w, const fragment *x, const fragment *y)
{
    return y->raw && !x->raw && x->tensor == y->tensor && x->at == y->at && x->bytes == y->bytes &&
           w->s->shards[y->place.shard].parts[y->place.part].codec == HS_CODEC_RAW;
}

/* May a tensor be cut between x and y: are their bytes neighbours in memory if their records are? */
static bool is_cut(const placing *w, const hs__place *x, const hs__place *y)
{
    const hs__shard *sh = &w->s->shards[x->shard], *to = &w->s->shards[y->shard];
    const hs_shard_record *rec = &sh->records[x->record];
    const hs_shard_part *part = &sh->parts[x->part];
    return x->part + 1 == rec->first_part + rec->n_parts && rec->raw_bytes % HS_SHARD_ALIGN == 0 &&
           part->bytes == hs__part_padded(part) && y->part == to->records[y->record].first_part &&
           (x->shard != y->shard || x->record != y->record);
}

/* Fragments [from, to) are one tensor's: they become a chain of places. */
static int join(placing *w, uint32_t from, uint32_t to, hs_err *err)
{
    hs_source *s = w->s;
    const fragment *f = w->fragments;
    hs_tensor *t = &s->tensors[f[from].tensor];
    bool good = t->record == HS_NO_RECORD && to - from <= HS_PACK_MAX_PIECES;
    uint64_t at = 0;
    for (uint32_t i = from; good && i < to; i++) {
        good = f[i].at == at && (i == from || is_cut(w, &f[i - 1].place, &f[i].place));
        at += f[i].bytes;
    }
    if (!good || at != t->nbytes)
        return refuse(w, &f[from].place, "is of a tensor whose parts do not make it up", err);
    put(w, t, &f[from].place);
    hs__place *last = &s->places[f[from].tensor];
    for (uint32_t i = from + 1; i < to; i++) {
        s->more[s->n_more++] = f[i].place;
        last->more = s->n_more;
        last = &s->more[s->n_more - 1];
    }
    return 0;
}

static int join_fragments(placing *w, hs_err *err)
{
    fragment *f = w->fragments;
    uint32_t n = 0;
    if (!w->n)
        return 0;
    qsort(f, w->n, sizeof *f, by_tensor);
    for (uint32_t i = 0; i < w->n; i++) {
        if (n && repeats(w, &f[n - 1], &f[i]))
            n--;
        f[n++] = f[i];
    }
    w->s->more = hs_calloc(n, sizeof *w->s->more);
    if (!w->s->more)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", w->s->path);
    int r = 0;
    for (uint32_t i = 0, end; r == 0 && i < n; i = end) {
        for (end = i + 1; end < n && f[end].tensor == f[i].tensor;)
            end++;
        r = join(w, i, end, err);
    }
    return r;
}

static int place_parts(placing *w, hs_err *err)
{
    hs_source *s = w->s;
    uint32_t record = 0;
    int r = 0;
    for (uint32_t f = 0; r == 0 && f < s->n_files; f++) {
        hs__shard *sh = &s->shards[f];
        sh->first_record = record;
        record += sh->header.n_records;
        for (uint32_t k = 0; k < sh->header.n_records; k++)
            for (uint32_t i = 0; r == 0 && i < sh->records[k].n_parts; i++)
                r = place_part(w, &(hs__place){f, k, sh->records[k].first_part + i, 0}, err);
    }
    return r;
}

int hs__place_tensors(hs_source *s, const uint32_t *first, uint32_t n_sources, hs_err *err)
{
    uint32_t n = s->n_tensors ? s->n_tensors : 1;
    placing w = {.s = s, .first = first, .n_sources = n_sources, .offsets = hs_calloc(n, sizeof *w.offsets)};
    s->places = hs_calloc(n, sizeof *s->places);
    int r = w.offsets && s->places ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    if (r == 0)
        r = place_parts(&w, err);
    if (r == 0)
        r = join_fragments(&w, err);
    if (r == 0)
        share_places(&w);
    for (uint32_t i = 0; r == 0 && i < s->n_tensors; i++) {
        if (s->tensors[i].record == HS_NO_RECORD)
            r = hs_err_set(err, -EBADMSG, "%s: tensor %s is in no shard", s->path, s->tensors[i].name);
        s->tensors[i].offset = w.offsets[i];
    }
    hs_free(w.offsets);
    hs_free(w.fragments);
    return r;
}

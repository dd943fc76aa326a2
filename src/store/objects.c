/*
 * objects.c - the object index. Immutable after create; holds its own descriptors, on which hs_io may set O_DIRECT.
 *
 * A safetensors object's parts are sorted by place in their files and merged into ranges while the gap between them is
 * under MERGE_GAP. Invariant: every range is inside [0, slot) (or staging), multiples of ALIGN, and ranges of an object
 * do not overlap in the slot.
 * The index of a packed model owns, where it can, a second one over the raw records that the pack keeps, or over the
 * model that it was packed from.
 */
#include "store/objects.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/decode.h"
#include "store/store_int.h"

#define ALIGN     4096ull
#define MERGE_GAP (64ull << 10)

/* One record of a packed object; they lie one after the other, each from a page's start, and where a tensor is cut in
 * the order of its bytes. */
typedef struct piece {
    uint32_t shard, record;
    uint32_t first_part;         /* within the shard's parts */
    uint64_t stored_at, slot_at; /* where it begins: in staging, in the slot */
} piece;

typedef struct object {
    uint64_t read_bytes, raw_bytes, slot_bytes;
    uint8_t staged, n_ranges;
    piece pieces[HS_PACK_MAX_PIECES]; /* packed: [n_ranges] */
} object;

struct hs_objects {
    const hs_source *s;
    uint32_t n, n_parts;
    uint32_t *parts; /* [n][n_parts] */
    object *objects;
    int *fds; /* own ones, then those of raw */
    uint32_t n_fds, n_own_fds;
    hs_source *origin;
    hs_objects *raw; /* over origin, same parts; NULL = not at hand */
    uint64_t slot_bytes, staging_bytes;
};

/* A part's bytes in its file, for sorting. */
typedef struct extent {
    uint32_t part, file;
    uint64_t begin, end;
} extent;

static uint32_t sorted_extents(const hs_objects *o, uint32_t obj, extent *e)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < o->n_parts; p++) {
        uint32_t t = o->parts[(size_t)obj * o->n_parts + p];
        if (t == HS_NO_TENSOR)
            continue;
        const hs_tensor *x = &o->s->tensors[t];
        extent v = {p, x->file, x->offset, x->offset + x->nbytes};
        uint32_t at = n++;
        for (; at > 0 && (e[at - 1].file > v.file || (e[at - 1].file == v.file && e[at - 1].begin > v.begin)); at--)
            e[at] = e[at - 1];
        e[at] = v;
    }
    return n;
}

/* Ranges of a safetensors object; where[part] = the part's place in the slot. Returns the number of ranges; *ret_end =
 * slot bytes. */
static uint32_t plain_ranges(const hs_objects *o, uint32_t obj, hs_range *ranges, uint64_t *where, uint64_t *ret_end)
{
    extent e[HS_OBJECT_MAX_PARTS];
    uint32_t n = sorted_extents(o, obj, e), n_ranges = 0;
    uint64_t at = 0;
    for (uint32_t i = 0; i < n;) {
        uint64_t begin = e[i].begin & ~(ALIGN - 1), end = e[i].end;
        uint32_t k = i + 1;
        while (k < n && e[k].file == e[i].file && e[k].begin <= end + MERGE_GAP) {
            end = e[k].end > end ? e[k].end : end;
            k++;
        }
        uint64_t len = hs_align_up(end - begin, ALIGN);
        ranges[n_ranges++] = (hs_range){e[i].file, begin, len, at};
        for (; i < k; i++)
            where[e[i].part] = at + (e[i].begin - begin);
        at += len;
    }
    *ret_end = at;
    return n_ranges;
}

static int add_plain(hs_objects *o, uint32_t obj, hs_err *err)
{
    hs_range ranges[HS_OBJECT_MAX_RANGES];
    uint64_t where[HS_OBJECT_MAX_PARTS];
    object *x = &o->objects[obj];
    x->n_ranges = (uint8_t)plain_ranges(o, obj, ranges, where, &x->slot_bytes);
    for (uint32_t i = 0; i < x->n_ranges; i++)
        x->read_bytes += ranges[i].len;
    if (!x->n_ranges)
        return hs_err_set(err, -EINVAL, "object %u has no tensors", obj);
    return 0;
}

static const hs_shard_record *record_of(const hs_objects *o, const piece *x)
{
    return &o->s->shards[x->shard].records[x->record];
}

/* The piece of the object at that place; NULL: none. */
static piece *piece_at(object *x, const hs__place *at)
{
    for (uint32_t k = 0; k < x->n_ranges; k++)
        if (x->pieces[k].shard == at->shard && x->pieces[k].record == at->record)
            return &x->pieces[k];
    return NULL;
}

/* Where the object's tensors go from one of its records on to the next. */
typedef struct links {
    int next[HS_PACK_MAX_PIECES]; /* -1: it is the last one */
    bool follows[HS_PACK_MAX_PIECES];
} links;

/* The records of tensor t, and how they follow one another. */
static int add_records(hs_objects *o, object *x, uint32_t t, links *l, hs_err *err)
{
    int before = -1;
    for (const hs__place *at = &o->s->places[t]; at; at = hs__place_next(o->s, at)) {
        piece *is = piece_at(x, at);
        if (!is && x->n_ranges == HS_PACK_MAX_PIECES)
            return hs_err_set(err, -EBADMSG, "%s: tensor %s is not in one of %u records with the rest of its expert",
                              o->s->files[at->shard].path, o->s->tensors[t].name, HS_PACK_MAX_PIECES);
        if (!is) {
            l->next[x->n_ranges] = -1;
            is = &x->pieces[x->n_ranges++];
            *is = (piece){at->shard, at->record, o->s->shards[at->shard].records[at->record].first_part, 0, 0};
        }
        int k = (int)(is - x->pieces);
        if (before >= 0) {
            l->next[before] = k;
            l->follows[k] = true;
        }
        before = k;
    }
    return 0;
}

/* Puts a record behind those that have their place. */
static void place_piece(hs_objects *o, object *x, piece *ret, const piece *p)
{
    const hs__shard *sh = &o->s->shards[p->shard];
    const hs_shard_record *rec = &sh->records[p->record];
    *ret = *p;
    ret->stored_at = x->read_bytes;
    ret->slot_at = x->slot_bytes;
    x->slot_bytes += hs_align_up(rec->raw_bytes, ALIGN);
    x->read_bytes += hs_align_up(rec->stored_bytes, ALIGN);
    for (uint32_t i = 0; i < rec->n_parts; i++)
        x->staged |= sh->parts[rec->first_part + i].codec != HS_CODEC_RAW;
}

static int add_packed(hs_objects *o, uint32_t obj, hs_err *err)
{
    object *x = &o->objects[obj];
    links l = {0};
    piece in_order[HS_PACK_MAX_PIECES];
    uint32_t n = 0;
    int r = 0;
    for (uint32_t p = 0; r == 0 && p < o->n_parts; p++) {
        uint32_t t = o->parts[(size_t)obj * o->n_parts + p];
        r = t == HS_NO_TENSOR ? 0 : add_records(o, x, t, &l, err);
    }
    if (r < 0)
        return r;
    if (!x->n_ranges)
        return hs_err_set(err, -EINVAL, "object %u has no tensors", obj);
    for (uint32_t k = 0; k < x->n_ranges; k++)
        for (int i = l.follows[k] ? -1 : (int)k; i >= 0 && n < x->n_ranges; i = l.next[i])
            place_piece(o, x, &in_order[n++], &x->pieces[i]);
    if (n < x->n_ranges)
        return hs_err_set(err, -EBADMSG, "%s: object %u: its records follow one another in a circle", o->s->path, obj);
    memcpy(x->pieces, in_order, n * sizeof *in_order);
    if (x->staged && x->read_bytes > o->staging_bytes)
        o->staging_bytes = x->read_bytes;
    return 0;
}

/* Own descriptors: hs_io switches O_DIRECT on them. */
static int open_files(hs_objects *o, hs_err *err)
{
    uint32_t n = o->s->n_files, own = n * hs_objects_copies(o), more = o->raw ? o->raw->n_fds : 0;
    o->fds = hs_malloc((own + more) * sizeof *o->fds);
    if (!o->fds)
        return hs_err_set(err, -ENOMEM, "object index: out of memory");
    for (uint32_t i = 0; i < own; i++) {
        int r = hs__file_reopen(hs__copy_file(o->s, i / n, i % n), &o->fds[i], err);
        if (r < 0)
            return r;
        o->n_own_fds = o->n_fds = i + 1;
    }
    if (more)
        memcpy(o->fds + own, o->raw->fds, more * sizeof *o->fds);
    o->n_fds = own + more;
    return 0;
}

/* What a compressed model can be read from instead; files of copies are counted in other ways, so not with mirrors.
 * That it is not there is no error. */
static void open_raw(hs_objects *o)
{
    if (!o->s->packed || o->s->prefers_raw || !o->staging_bytes || hs_objects_copies(o) > 1)
        return;
    if (hs__kept_open(o->s, &o->origin, NULL) < 0 && hs__origin_open(o->s, &o->origin, NULL) < 0)
        return;
    if (hs_objects_create(o->origin, o->parts, o->n, o->n_parts, &o->raw, NULL) < 0)
        return;
    if (o->raw->staging_bytes)
        hs_objects_destroy(&o->raw); /* something is compressed there, too */
    else if (o->raw->slot_bytes > o->slot_bytes)
        o->slot_bytes = o->raw->slot_bytes;
}

int hs_objects_create(const hs_source *s, const uint32_t *parts, uint32_t n_objects, uint32_t n_parts,
                      hs_objects **ret_objects, hs_err *err)
{
    if (n_parts > HS_OBJECT_MAX_PARTS || !n_objects || n_objects >= HS_OBJECT_RAW)
        return hs_err_set(err, -EINVAL, "object index: %u objects of %u parts", n_objects, n_parts);
    hs_objects *o = hs_calloc(1, sizeof *o);
    if (!o)
        return hs_err_set(err, -ENOMEM, "object index: out of memory");
    o->s = s;
    o->n_parts = n_parts;
    o->parts = hs_calloc(n_objects, n_parts * sizeof *o->parts);
    o->objects = hs_calloc(n_objects, sizeof *o->objects);
    int r = o->parts && o->objects ? 0 : hs_err_set(err, -ENOMEM, "object index: out of memory");
    if (r == 0)
        memcpy(o->parts, parts, (size_t)n_objects * n_parts * sizeof *parts);
    for (uint32_t i = 0; r == 0 && i < n_objects; i++) {
        object *x = &o->objects[i];
        r = s->packed ? add_packed(o, i, err) : add_plain(o, i, err);
        for (uint32_t p = 0; p < n_parts; p++)
            if (parts[(size_t)i * n_parts + p] != HS_NO_TENSOR)
                x->raw_bytes += s->tensors[parts[(size_t)i * n_parts + p]].nbytes;
        o->slot_bytes = x->slot_bytes > o->slot_bytes ? x->slot_bytes : o->slot_bytes;
        o->n = i + 1;
    }
    if (r == 0) {
        open_raw(o);
        r = open_files(o, err);
    }
    if (r < 0) {
        hs_objects_destroy(&o);
        return r;
    }
    *ret_objects = o;
    return 0;
}

void hs_objects_destroy(hs_objects **objects)
{
    hs_objects *o = *objects;
    if (!o)
        return;
    for (uint32_t f = 0; f < o->n_own_fds; f++)
        close(o->fds[f]);
    hs_objects_destroy(&o->raw);
    hs_source_close(&o->origin);
    hs_free(o->fds);
    hs_free(o->parts);
    hs_free(o->objects);
    hs_free(o);
    *objects = NULL;
}

bool hs_objects_has_raw(const hs_objects *o)
{
    return o->raw != NULL;
}

/* The index that has the object, and its number there. */
static const hs_objects *index_of(const hs_objects *o, uint32_t *obj)
{
    if (!(*obj & HS_OBJECT_RAW))
        return o;
    *obj &= ~HS_OBJECT_RAW;
    return o->raw;
}

uint32_t hs_objects_count(const hs_objects *o)
{
    return o->n;
}

uint64_t hs_objects_slot_bytes(const hs_objects *o)
{
    return o->slot_bytes;
}

uint64_t hs_objects_staging_bytes(const hs_objects *o)
{
    return o->staging_bytes;
}

uint64_t hs_objects_table_bytes(const hs_objects *o)
{
    return sizeof *o + o->n * (sizeof *o->objects + o->n_parts * sizeof *o->parts) + o->n_fds * sizeof *o->fds +
           (o->raw ? hs_objects_table_bytes(o->raw) + hs_source_bytes(o->origin) : 0);
}

const int *hs_objects_fds(const hs_objects *o, uint32_t *ret_n)
{
    *ret_n = o->n_fds;
    return o->fds;
}

uint32_t hs_objects_copies(const hs_objects *o)
{
    return 1 + o->s->n_mirrors;
}

const char *hs_objects_copy_path(const hs_objects *o, uint32_t copy)
{
    return copy ? o->s->mirrors[copy - 1].path : o->s->path;
}

uint32_t hs_object_ranges(const hs_objects *o, uint32_t obj, hs_range ranges[HS_OBJECT_MAX_RANGES])
{
    if (obj & HS_OBJECT_RAW) {
        uint32_t n = hs_object_ranges(o->raw, obj & ~HS_OBJECT_RAW, ranges);
        for (uint32_t i = 0; i < n; i++)
            ranges[i].file += o->n_own_fds;
        return n;
    }
    const object *x = &o->objects[obj];
    if (!o->s->packed) {
        uint64_t where[HS_OBJECT_MAX_PARTS], end;
        return plain_ranges(o, obj, ranges, where, &end);
    }
    for (uint32_t k = 0; k < x->n_ranges; k++) {
        const hs_shard_record *rec = record_of(o, &x->pieces[k]);
        ranges[k] =
            (hs_range){x->pieces[k].shard, rec->offset, hs_align_up(rec->stored_bytes, ALIGN), x->pieces[k].stored_at};
    }
    return x->n_ranges;
}

bool hs_object_is_staged(const hs_objects *o, uint32_t obj)
{
    o = index_of(o, &obj);
    return o->objects[obj].staged;
}

uint64_t hs_object_read_bytes(const hs_objects *o, uint32_t obj)
{
    o = index_of(o, &obj);
    return o->objects[obj].read_bytes;
}

uint64_t hs_object_slot_bytes(const hs_objects *o, uint32_t obj)
{
    obj &= ~HS_OBJECT_RAW;
    uint64_t bytes = o->objects[obj].slot_bytes, raw = o->raw ? o->raw->objects[obj].slot_bytes : 0;
    return raw > bytes ? raw : bytes;
}

uint64_t hs_object_raw_bytes(const hs_objects *o, uint32_t obj)
{
    o = index_of(o, &obj);
    return o->objects[obj].raw_bytes;
}

uint32_t hs_object_frames(const hs_objects *o, uint32_t obj)
{
    o = index_of(o, &obj);
    const object *x = &o->objects[obj];
    uint32_t n = 0;
    for (uint32_t k = 0; o->s->packed && k < x->n_ranges; k++)
        n += record_of(o, &x->pieces[k])->n_frames;
    return n;
}

bool hs_object_next_frame(const hs_objects *o, uint32_t obj, hs_frame_iter *it, hs_frame *ret)
{
    o = index_of(o, &obj);
    const object *x = &o->objects[obj];
    uint32_t n = o->s->packed ? x->n_ranges : 0;
    while (it->piece < n && it->next == record_of(o, &x->pieces[it->piece])->n_frames)
        *it = (hs_frame_iter){.piece = it->piece + 1};
    if (it->piece == n)
        return false;
    const piece *at = &x->pieces[it->piece];
    const hs__shard *sh = &o->s->shards[at->shard];
    const hs_shard_record *rec = record_of(o, at);
    const hs_shard_part *p = &sh->parts[at->first_part + it->part];
    uint64_t end = p->raw_offset + hs__part_padded(p);
    while (it->raw_offset == end) { /* the part is through (or empty) */
        p = &sh->parts[at->first_part + ++it->part];
        end = p->raw_offset + hs__part_padded(p);
    }
    uint64_t left = end - it->raw_offset;
    *ret = (hs_frame){.stored_offset = at->stored_at + it->stored_offset,
                      .stored_bytes = sh->frames[rec->first_frame + it->next].stored_bytes,
                      .raw_offset = at->slot_at + it->raw_offset,
                      .raw_bytes = left < HS_FRAME_RAW ? (uint32_t)left : HS_FRAME_RAW,
                      .codec = (uint8_t)p->codec,
                      .check = sh->frames[rec->first_frame + it->next].check};
    it->next++;
    it->stored_offset += ret->stored_bytes;
    it->raw_offset += ret->raw_bytes;
    return true;
}

/* Record k of a packed object. */
static void describe_piece(const hs_objects *o, uint32_t obj, uint32_t k, char *buf, size_t cap)
{
    object *x = &o->objects[obj];
    const char *name = "";
    for (uint32_t p = 0; p < o->n_parts && !*name; p++) {
        uint32_t t = o->parts[(size_t)obj * o->n_parts + p];
        for (const hs__place *at = t == HS_NO_TENSOR ? NULL : &o->s->places[t]; at; at = hs__place_next(o->s, at))
            if (piece_at(x, at) == &x->pieces[k])
                name = o->s->tensors[t].name;
    }
    snprintf(buf, cap, "%s, record %u (%s …)", o->s->files[x->pieces[k].shard].name, x->pieces[k].record, name);
}

int hs_object_decode_frame(const hs_objects *o, uint32_t obj, const hs_frame *f, hs_decoder *d, const void *stored,
                           void *slot, hs_err *err)
{
    const uint8_t *from = (const uint8_t *)stored + f->stored_offset;
    uint8_t *to = (uint8_t *)slot + f->raw_offset;
    int r = hs__frame_decode(d, (hs_codec)f->codec, f->check, from, f->stored_bytes, to, f->raw_bytes);
    if (r < 0) {
        char what[300];
        o = index_of(o, &obj);
        const object *x = &o->objects[obj];
        uint32_t k = x->n_ranges - 1u;
        while (k && x->pieces[k].stored_at > f->stored_offset)
            k--;
        describe_piece(o, obj, k, what, sizeof what);
        return hs_err_set(err, r, "%s: damaged (checksum) at byte %llu of the record", what,
                          (unsigned long long)(f->stored_offset - x->pieces[k].stored_at));
    }
    return 0;
}

void hs_object_parts(const hs_objects *o, uint32_t obj, const void *slot, const void *ret_parts[HS_OBJECT_MAX_PARTS])
{
    uint64_t where[HS_OBJECT_MAX_PARTS], end;
    o = index_of(o, &obj);
    if (!o->s->packed) {
        hs_range ranges[HS_OBJECT_MAX_RANGES];
        plain_ranges(o, obj, ranges, where, &end);
    }
    for (uint32_t p = 0; p < o->n_parts; p++) {
        uint32_t t = o->parts[(size_t)obj * o->n_parts + p];
        uint64_t at = t == HS_NO_TENSOR ? 0
                      : o->s->packed ? piece_at(&o->objects[obj], &o->s->places[t])->slot_at + o->s->tensors[t].offset
                                     : where[p];
        ret_parts[p] = t == HS_NO_TENSOR ? NULL : (const uint8_t *)slot + at;
    }
}

void hs_object_describe(const hs_objects *o, uint32_t obj, uint32_t range, char *buf, size_t cap)
{
    o = index_of(o, &obj);
    if (o->s->packed) {
        describe_piece(o, obj, range < o->objects[obj].n_ranges ? range : 0, buf, cap);
        return;
    }
    hs_range ranges[HS_OBJECT_MAX_RANGES];
    uint64_t where[HS_OBJECT_MAX_PARTS], end;
    uint32_t n = plain_ranges(o, obj, ranges, where, &end);
    const hs_range *g = &ranges[range < n ? range : 0];
    const hs_tensor *first = NULL;
    for (uint32_t p = 0; p < o->n_parts; p++) {
        uint32_t t = o->parts[(size_t)obj * o->n_parts + p];
        if (t == HS_NO_TENSOR || where[p] < g->dst_offset || where[p] >= g->dst_offset + g->len)
            continue;
        const hs_tensor *x = &o->s->tensors[t];
        first = first && first->offset <= x->offset ? first : x;
    }
    snprintf(buf, cap, "%s, tensor %s", o->s->files[g->file].name, first ? first->name : "");
}

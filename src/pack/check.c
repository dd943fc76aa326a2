/*
 * check.c - does a pack hold exactly this source? From outside (names, sizes, stamps, small files), and byte by byte
 * through the records' raw hashes. Differences are problems, told through the work.
 */
#include <string.h>
#include <unistd.h>

#include "pack/pack_int.h"

#define SMALL_FILE (16u << 20) /* files up to this size are compared by contents even where weights are not read */

static void compare_containers(hs__pk_work *w, const hs__pk_packed *p, const hs__pk_plan *plan)
{
    for (uint32_t i = 0; i < plan->n_containers || i < p->n_sources; i++) {
        const hs__pk_container *c = i < plan->n_containers ? &plan->containers[i] : NULL;
        const hs__pk_source *s = i < p->n_sources ? &p->sources[i] : NULL;
        const char *name = c ? c->name : s->name;
        if (!c || !s || strcmp(c->name, s->name)) {
            hs__pk_problem(w, name, HS_PACK_ANY_RECORD, "%s: source and pack do not consist of the same weight files",
                           name);
            return;
        }
        if (c->bytes != s->bytes || c->data_start != s->data_start || c->header_hash != s->header_hash)
            hs__pk_problem(w, name, HS_PACK_ANY_RECORD, "%s: its size or header is not that of the packed one", name);
        else if (c->mode != s->mode)
            hs__pk_problem(w, name, HS_PACK_ANY_RECORD, "%s: mode %o, but %o in the pack", name, c->mode, s->mode);
    }
}

static int compare_files(hs__pk_work *w, const hs__pk_packed *p, const hs__pk_plan *plan, uint64_t max_bytes,
                         hs_err *err)
{
    int r = 0;
    for (uint32_t i = 0; i < p->n_files; i++)
        if (!hs__pk_list_find(&plan->files, p->files[i].name))
            hs__pk_problem(w, p->files[i].name, HS_PACK_ANY_RECORD, "%s: in the pack, but not in the source",
                           p->files[i].name);
    for (uint32_t i = 0; r == 0 && i < plan->files.n; i++) {
        const hs__pk_file *f = &plan->files.files[i];
        const hs__pk_copied *c = NULL;
        for (uint32_t k = 0; k < p->n_files && !c; k++)
            c = strcmp(p->files[k].name, f->name) ? NULL : &p->files[k];
        uint64_t hash = c ? c->hash : 0;
        if (c && c->bytes == f->bytes && f->bytes <= max_bytes) {
            char *path = hs__pk_path(plan->src, f->name, err);
            r = path ? hs__pk_hash_file(w, path, f->bytes, &hash, err) : -ENOMEM;
            hs_free(path);
        }
        if (r == 0 && (!c || c->bytes != f->bytes || c->mode != f->mode || c->hash != hash))
            hs__pk_problem(w, f->name, HS_PACK_ANY_RECORD, "%s: %s", f->name,
                           !c                   ? "in the source, but not in the pack"
                           : c->mode != f->mode ? "its mode is not that of the packed one"
                                                : "it is not the packed one");
    }
    return r;
}

int hs__pk_compare_outside(hs__pk_work *w, const hs__pk_packed *p, const hs__pk_plan *plan, bool *ret_same_stamp,
                           hs_err *err)
{
    *ret_same_stamp = !memcmp(p->stamp, plan->stamp, sizeof p->stamp);
    compare_containers(w, p, plan);
    return compare_files(w, p, plan, SMALL_FILE, err);
}

/* A record of the pack as one of a plan, so that the encoder can hash the source's bytes for it. */
static int compare_record(hs__pk_work *w, hs__pk_encoder *e, const hs__pk_shard *sh, uint32_t record,
                          const hs__pk_plan *source, hs_err *err)
{
    const hs_shard_record *rec = &sh->records[record];
    hs__pk_record one = {.n_parts = rec->n_parts, .raw_bytes = rec->raw_bytes};
    hs__pk_plan view = {.containers = source->containers,
                        .n_containers = source->n_containers,
                        .records = &one,
                        .n_records = 1,
                        .n_parts = rec->n_parts};
    view.parts = hs_calloc(rec->n_parts + 1u, sizeof *view.parts);
    if (!view.parts)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", sh->path);
    bool inside = true;
    for (uint32_t i = 0; i < rec->n_parts; i++) {
        const hs_shard_part *p = &sh->parts[rec->first_part + i];
        view.parts[i] = (hs__pk_part){.source = p->source, .offset = p->source_offset, .bytes = p->bytes};
        inside &= p->source < source->n_containers && p->source_offset <= source->containers[p->source].bytes &&
                  p->bytes <= source->containers[p->source].bytes - p->source_offset;
    }
    uint64_t hash = 0;
    int r = inside ? hs__pk_hash_record(e, &view, 0, &hash, err) : 0;
    hs_free(view.parts);
    if (r == 0 && (!inside || hash != rec->raw_hash))
        hs__pk_problem(w, sh->name, record, "%s, record %u: its bytes are not the source's", sh->name, record);
    return r;
}

int hs__pk_compare(hs__pk_work *w, hs__pk_packed *p, const hs__pk_plan *plan, hs_err *err)
{
    hs__pk_encoder *e = NULL;
    uint64_t again = 0; /* raw shards */
    for (uint32_t i = p->n_shards - p->n_raw; i < p->n_shards; i++)
        for (uint32_t k = 0; p->shards[i].usable && k < p->shards[i].header.n_parts; k++)
            again += p->shards[i].parts[k].bytes;
    hs__pk_phase(w, HS_PACK_PHASE_CHECK, plan->source_bytes + plan->file_bytes + again);
    int r = hs__pk_encoder_create(w, 1, &e, err);
    for (uint32_t i = 0; r == 0 && i < p->n_shards; i++) {
        const hs__pk_shard *sh = &p->shards[i];
        for (uint32_t k = 0; r == 0 && sh->usable && k < sh->header.n_records; k++)
            r = compare_record(w, e, sh, k, plan, err);
    }
    hs__pk_encoder_destroy(&e);
    if (r == 0)
        r = hs__pk_packed_coverage(w, p, err);
    if (r == 0)
        r = compare_files(w, p, plan, UINT64_MAX, err);
    return r < 0 ? r : hs__pk_plan_unchanged(plan, err);
}

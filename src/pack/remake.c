/*
 * remake.c - parts of a pack made again from the source that its manifest names. A pack's bytes depend on source and
 * recipe alone, so a record that is encoded again is the same bit for bit, if zstd still is; what comes out is believed
 * only if it has the checksums that the shard's table names.
 *
 * A record is encoded twice, once for its checksums and once to be handed out: memory is that of the encoder.
 */
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pack/pack_int.h"

#define CHUNK (1u << 20)

struct hs__pk_remaker {
    hs__pk_work *w;
    const hs__pk_packed *p;
    hs__pk_plan *plan;
    hs__pk_encoder *encoder;
    uint8_t *pages; /* [CHUNK] */
    uint32_t n;     /* bytes in pages */
    uint64_t at;    /* where pages belong */
    hs__pk_page_sink sink;
    void *ctx;
};

/* Is the source what was packed, and would it be packed to the same shards? */
static int check_source(const hs__pk_remaker *m, const hs__pk_recipe *recipe, hs_err *err)
{
    uint8_t identity[16];
    const hs__pk_plan *plan = m->plan;
    hs__pk_identity(recipe, identity);
    bool same = !memcmp(identity, m->p->identity, sizeof identity) && plan->n_shards == m->p->n_shards - m->p->n_raw &&
                plan->n_containers == m->p->n_sources;
    for (uint32_t i = 0; same && i < plan->n_shards; i++)
        same = !strcmp(plan->shards[i].name, m->p->shards[i].name) &&
               plan->shards[i].n_records == m->p->shards[i].want_records;
    return same ? 0
                : hs_err_set(err, -ESTALE, "%s was changed since it was packed: %s cannot be mended from it", plan->src,
                             m->p->path);
}

int hs__pk_remaker_create(hs__pk_work *w, const hs__pk_packed *p, hs__pk_remaker **ret, hs_err *err)
{
    hs__pk_recipe recipe = {0};
    const char *source = NULL;
    int r = hs__pk_manifest_recipe(p->manifest, p->path, &recipe, &source, err);
    if (r == 0 && !source)
        r = hs_err_set(err, -ENOENT, "%s: its manifest does not say from where it was packed", p->path);
    if (r < 0)
        return r;
    hs__pk_remaker *m = hs_calloc(1, sizeof *m);
    if (!m)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", p->path);
    m->w = w;
    m->p = p;
    m->pages = hs_malloc(CHUNK);
    r = m->pages ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", p->path);
    if (r == 0)
        r = hs__pk_plan_create(source, recipe.shard_bytes, w, &m->plan, err);
    if (r == 0)
        r = hs__pk_plan_stripe(m->plan, &recipe.stripe, recipe.shard_bytes, err);
    if (r == 0) {
        memcpy(recipe.stamp, m->plan->stamp, sizeof recipe.stamp);
        r = check_source(m, &recipe, err);
    }
    if (r == 0)
        r = hs__pk_encoder_create(w, recipe.level, &m->encoder, err);
    if (r == 0)
        *ret = m;
    else
        hs__pk_remaker_destroy(&m);
    return r;
}

void hs__pk_remaker_destroy(hs__pk_remaker **remaker)
{
    hs__pk_remaker *m = *remaker;
    if (!m)
        return;
    *remaker = NULL;
    hs__pk_encoder_destroy(&m->encoder);
    hs__pk_plan_destroy(&m->plan);
    hs_free(m->pages);
    hs_free(m);
}

const char *hs__pk_remaker_source(const hs__pk_remaker *m)
{
    return m->plan->src;
}

/* ---- records ---- */

static int forget(void *ctx, const void *stored, uint32_t n, uint32_t check, hs_err *err)
{
    (void)ctx, (void)stored, (void)n, (void)check, (void)err;
    return 0;
}

static int flush(hs__pk_remaker *m, hs_err *err)
{
    uint32_t n = m->n;
    m->n = 0;
    int r = n ? m->sink(m->ctx, m->at, m->pages, n, err) : 0;
    m->at += n;
    return r;
}

static int collect(void *ctx, const void *stored, uint32_t n, uint32_t check, hs_err *err)
{
    hs__pk_remaker *m = ctx;
    const uint8_t *from = stored;
    int r = 0;
    (void)check;
    while (r == 0 && n) {
        uint32_t k = CHUNK - m->n < n ? CHUNK - m->n : n;
        memcpy(m->pages + m->n, from, k);
        m->n += k;
        from += k;
        n -= k;
        r = m->n == CHUNK ? flush(m, err) : 0;
    }
    return r;
}

static bool is_same(const hs__pk_plan *plan, uint32_t number, const hs_shard_part *parts, uint32_t n)
{
    const hs__pk_record *planned = &plan->records[number];
    bool same = n == planned->n_parts;
    for (uint32_t i = 0; same && i < n; i++) {
        const hs__pk_part *a = &plan->parts[planned->first_part + i];
        same = a->source == parts[i].source && a->offset == parts[i].source_offset && a->bytes == parts[i].bytes;
    }
    return same;
}

int hs__pk_remake_record(hs__pk_remaker *m, const hs__pk_shard *sh, uint32_t record, hs__pk_page_sink sink, void *ctx,
                         hs_err *err)
{
    const hs_shard_record *rec = &sh->records[record];
    const hs_shard_part *parts = &sh->parts[rec->first_part];
    uint32_t number = 0;
    uint64_t stored = 0, raw = 0;
    while (number < m->plan->n_records && !is_same(m->plan, number, parts, rec->n_parts))
        number++;
    if (number == m->plan->n_records)
        return hs_err_set(err, -EBADMSG, "%s, record %u: %s would be packed otherwise", sh->name, record, m->plan->src);
    int r = hs__pk_encode_again(m->encoder, m->plan, number, parts, forget, NULL, &stored, &raw, err);
    if (r == 0 && raw != rec->raw_hash)
        return hs_err_set(err, -EBADMSG, "%s, record %u: the bytes in %s are not those that were packed", sh->name,
                          record, m->plan->src);
    if (r == 0 && stored != rec->stored_hash)
        return hs_err_set(err, -EBADMSG, "%s, record %u: encoding gives other bytes than it did (another zstd?)",
                          sh->name, record);
    m->sink = sink;
    m->ctx = ctx;
    m->at = rec->offset;
    m->n = 0;
    if (r == 0)
        r = hs__pk_encode_again(m->encoder, m->plan, number, parts, collect, m, &stored, &raw, err);
    uint32_t whole = (uint32_t)hs_align_up(m->n, HS_SHARD_ALIGN);
    memset(m->pages + m->n, 0, whole - m->n);
    m->n = whole;
    return r == 0 ? flush(m, err) : r;
}

/* ---- the files around them ---- */

int hs__pk_remake_header(hs__pk_remaker *m, uint32_t source, hs_err *err)
{
    const hs__pk_container *c = &m->plan->containers[source];
    const hs__pk_source *s = &m->p->sources[source];
    uint8_t *header = NULL;
    int r = hs__pk_read_header(c, &header, err);
    if (r == 0 && (c->data_start != s->data_start || XXH3_64bits(header, c->data_start) != s->header_hash))
        r = hs_err_set(err, -EBADMSG, "%s: its header is not the one that was packed", c->path);
    if (r == 0)
        r = hs__pk_write(m->p->path, s->header, header, c->data_start, m->plan->shard_mode & 0644, err);
    hs_free(header);
    return r;
}

int hs__pk_remake_file(hs__pk_remaker *m, uint32_t file, hs_err *err)
{
    const hs__pk_copied *f = &m->p->files[file];
    uint64_t hash = 0;
    char *path = hs__pk_path(m->plan->folder, f->name, err);
    int r = path ? hs__pk_hash_file(m->w, path, f->bytes, &hash, err) : -ENOMEM;
    if (r == 0 && hash != f->hash)
        r = hs_err_set(err, -EBADMSG, "%s: not the file that was packed", path);
    if (r == 0)
        r = hs__pk_copy(m->w, m->plan->folder, f->name, m->p->path, f->stored_as, (f->mode & 0644) | 0400, &hash, err);
    if (r == 0 && hash != f->hash)
        r = hs_err_set(err, -EBADMSG, "%s: changed while it was copied", path);
    hs_free(path);
    return r;
}

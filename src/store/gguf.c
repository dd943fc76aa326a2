/*
 * gguf.c - a GGUF model, version 2 or 3: one file, or parts NAME-00001-of-000NN.gguf of which the first is opened. Each
 * part is a GGUF file of its own, with its own header and alignment; metadata counts in the first.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/gguf_int.h"

#define SUFFIX 20 /* -00001-of-00009.gguf */

/* Magic, version and counts. */
static int read_start(hs__gguf *g, uint64_t *ret_keys)
{
    char magic[4];
    uint32_t version = 0;
    snprintf(g->subject, sizeof g->subject, "header");
    int r = g->file->bytes ? hs__gguf_read(g, magic, 4) : 0;
    if (!g->file->bytes || (r == 0 && memcmp(magic, "GGUF", 4))) {
        const char *why = hs__file_instead(g->file);
        size_t n = strlen(g->file->path);
        if (!*why && n > 12 && !strcmp(g->file->path + n - 12, ".safetensors"))
            why = " (a safetensors model is given by its folder)";
        return hs_err_set(g->err, -EINVAL, "%s: not a GGUF file%s", g->file->path, why);
    }
    if (r == 0)
        r = hs__gguf_u32(g, &version);
    if (r < 0)
        return r;
    if (version && !(version & 0xffff))
        return hs__gguf_fail(g, -ENOTSUP, "a big-endian file; only little-endian ones are read");
    if (version != 2 && version != 3)
        return hs__gguf_fail(g, -ENOTSUP, "version %u; versions 2 and 3 are read", version);
    r = hs__gguf_count(g, HS__GGUF_MAX_TENSORS, 24, "tensors", &g->n_tensors);
    return r < 0 ? r : hs__gguf_count(g, HS__GGUF_MAX_KEYS, 13, "keys", ret_keys);
}

/* What the part says about the split must be what its place says. */
static int check_split(hs__gguf *g, uint32_t index, hs__gguf_set *set)
{
    const char *path = g->file->path;
    if (index == 0) {
        uint32_t n = g->split_count > 1 ? (uint32_t)g->split_count : 1;
        if (n > 1 && g->split_no > 0)
            return hs_err_set(g->err, -EINVAL, "%s: is part %lld of %u; open the first part, ...-00001-of-%05u.gguf",
                              path, (long long)g->split_no + 1, n, n);
        if (set->n_parts && set->n_parts != n)
            return hs_err_set(g->err, -EINVAL, "%s: key split.count: %u parts instead of %u", path, n, set->n_parts);
        set->n_parts = n;
        set->tensors_wanted = n > 1 ? g->split_tensors : -1;
    } else if (g->split_count != set->n_parts) {
        return hs_err_set(g->err, -EINVAL, "%s: key split.count is %lld; the first part's is %u", path,
                          (long long)g->split_count, set->n_parts);
    }
    if (set->n_parts > 1 && g->split_no != index)
        return hs_err_set(g->err, -EINVAL, "%s: key split.no is %lld; in this part it must be %u", path,
                          (long long)g->split_no, index);
    set->tensors += g->n_tensors;
    if (index + 1 == set->n_parts && set->tensors_wanted >= 0 && set->tensors != (uint64_t)set->tensors_wanted)
        return hs_err_set(g->err, -EINVAL, "%s: %llu tensors in all parts; the first says %lld (split.tensors.count)",
                          path, (unsigned long long)set->tensors, (long long)set->tensors_wanted);
    return 0;
}

static int parse(hs__gguf *g, uint32_t index, hs__gguf_set *set, uint64_t *ret_data_start)
{
    uint64_t n_keys = 0;
    int r = read_start(g, &n_keys);
    if (r == 0)
        r = hs__gguf_meta(g, n_keys);
    if (r == 0)
        r = check_split(g, index, set);
    return r < 0 ? r : hs__gguf_tensors(g, index, ret_data_start);
}

int hs__gguf_parse(hs_source *s, const hs__file *f, uint64_t bytes, uint32_t index, hs__gguf_set *set,
                   uint64_t *ret_data_start, hs_err *err)
{
    hs__gguf g = {.s = s,
                  .file = f,
                  .bytes = bytes,
                  .err = err,
                  .is_main = index == 0,
                  .alignment = 32,
                  .split_no = -1,
                  .split_count = -1,
                  .split_tensors = -1};
    if (g.is_main) {
        hs_vocab_data *d = &s->vocab.data;
        d->bos = d->eos = d->eot = d->eom = d->unknown = d->padding = -1;
        d->add_bos = d->add_eos = d->add_space_prefix = d->remove_extra_whitespaces = -1;
        s->gguf = true;
    }
    g.window = hs_malloc(HS__GGUF_WINDOW);
    int r = g.window ? parse(&g, index, set, ret_data_start) : hs_err_set(err, -ENOMEM, "%s: out of memory", f->path);
    hs_free(g.window);
    s->config_bytes += g.is_main ? g.values * 64ull + g.text : 0;
    return r;
}

/* The stem of the first part's name, with room for the number and the rest. */
static int stem_length(const hs_source *s, const char *name, uint32_t n_parts, size_t *ret, hs_err *err)
{
    char suffix[SUFFIX + 1];
    size_t len = strlen(name);
    snprintf(suffix, sizeof suffix, "-00001-of-%05u.gguf", n_parts);
    if (len < SUFFIX || strcmp(name + len - SUFFIX, suffix))
        return hs_err_set(err, -EINVAL, "%s: the first of %u parts, but its name does not end in %s", s->path, n_parts,
                          suffix);
    *ret = len - SUFFIX;
    return 0;
}

static int open_part(hs_source *s, const char *name, hs__gguf_set *set, hs_err *err)
{
    hs__file *f = &s->files[s->n_files];
    uint64_t data_start;
    int r = hs__file_open(s, name, f, err);
    if (r < 0)
        return r;
    return hs__gguf_parse(s, f, f->bytes, s->n_files++, set, &data_start, err);
}

/* The parts after the first. */
static int open_others(hs_source *s, const char *first, hs__gguf_set *set, hs_err *err)
{
    size_t stem = 0;
    int r = stem_length(s, first, set->n_parts, &stem, err);
    if (r < 0)
        return r;
    size_t cap = 1;
    if (hs_grow(&s->files, sizeof *s->files, set->n_parts, &cap, set->n_parts) < 0)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    for (uint32_t i = 1; r == 0 && i < set->n_parts; i++) {
        char *name = hs_asprintf("%.*s-%05u-of-%05u.gguf", (int)stem, first, i + 1, set->n_parts);
        r = name ? open_part(s, name, set, err) : hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
        hs_free(name);
    }
    return r;
}

int hs__gguf_open(hs_source *s, hs_err *err)
{
    const char *name = s->path + strlen(s->folder);
    hs__gguf_set set = {0};
    s->files = hs_calloc(1, sizeof *s->files);
    if (!s->files)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    int r = open_part(s, name, &set, err);
    return r < 0 || set.n_parts == 1 ? r : open_others(s, name, &set, err);
}

void hs__gguf_free(hs_source *s)
{
    hs_free(s->vocab.tokens);
    hs_free(s->vocab.merges);
    hs_free(s->vocab.scores);
    hs_free(s->vocab.types);
}

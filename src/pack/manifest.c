/*
 * manifest.c - the two JSON files of a pack: the manifest, written last, and the state of an unfinished pack.
 * The manifest ends with the checksum of its own text, so that a flipped bit in it is found like any other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "pack/pack_int.h"

#define STATE_FORMAT "hotset-pack-state"

void hs__pk_hex(const uint8_t *bytes, size_t n, char *ret)
{
    for (size_t i = 0; i < n; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

void hs__pk_hex64(uint64_t v, char ret[17])
{
    snprintf(ret, 17, "%016llx", (unsigned long long)v);
}

bool hs__pk_parse_hex(const char *text, uint8_t *ret, size_t n)
{
    if (!text || strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char two[3] = {text[2 * i], text[2 * i + 1], 0};
        ret[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return true;
}

bool hs__pk_parse_hex64(const char *text, uint64_t *ret)
{
    uint8_t b[8];
    if (!hs__pk_parse_hex(text, b, 8))
        return false;
    *ret = 0;
    for (int i = 0; i < 8; i++)
        *ret = *ret << 8 | b[i];
    return true;
}

void hs__pk_identity(const hs__pk_recipe *r, uint8_t ret[16])
{
    uint64_t options[3] = {r->codecs | (uint64_t)r->keep_raw << 8, r->codecs ? (uint64_t)r->level : 0, r->shard_bytes};
    uint8_t all[sizeof r->stamp + sizeof options + sizeof r->stripe];
    size_t len = sizeof r->stamp + sizeof options;
    memcpy(all, r->stamp, sizeof r->stamp);
    memcpy(all + sizeof r->stamp, options, sizeof options);
    if (r->stripe.n > 1) {
        memcpy(all + len, &r->stripe.split_bytes, sizeof r->stripe.split_bytes);
        len += sizeof r->stripe.split_bytes;
        memcpy(all + len, r->stripe.share, r->stripe.n * sizeof *r->stripe.share);
        len += r->stripe.n * sizeof *r->stripe.share;
    }
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits(all, len));
    memcpy(ret, c.digest, 16);
}

/* NULL: one drive, and then the next one too. */
static json_t *stripe_json(const hs__pk_stripe *s)
{
    json_t *list = s->n > 1 ? json_array() : NULL;
    for (uint32_t i = 0; list && i < s->n; i++)
        json_array_append_new(list, json_integer(s->share[i]));
    return list;
}

static json_t *split_json(const hs__pk_stripe *s)
{
    return s->n > 1 ? json_integer((json_int_t)s->split_bytes) : NULL;
}

static int read_stripe(const json_t *o, const char *where, hs__pk_stripe *ret, hs_err *err)
{
    const json_t *list = json_object_get(o, "stripe");
    size_t n = list ? json_array_size(list) : 1;
    *ret = (hs__pk_stripe){.n = (uint32_t)n, .share = {1}};
    bool good = n >= 1 && n <= HS_PACK_MAX_STRIPE + 1;
    json_int_t sum = list ? 0 : 1;
    for (size_t i = 0; good && list && i < n; i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t share = json_is_integer(item) ? json_integer_value(item) : -1;
        good = share >= 0 && share <= HS_PACK_MAX_SHARE;
        ret->share[i] = (uint32_t)share;
        sum += share;
    }
    int64_t split = 0;
    if (!good || !sum)
        return hs_err_set(err, -EINVAL, "%s: stripe is malformed", where);
    int r = list ? hs_json_int(o, where, "split_bytes", 1, INT64_MAX, &split, err) : 0;
    ret->split_bytes = (uint64_t)split;
    return r;
}

/* ---- state ---- */

/* The folders beside dst; NULL: there are none. */
static json_t *folders_json(const hs__pk_folders *f)
{
    json_t *list = f->n > 1 ? json_array() : NULL;
    for (uint32_t i = 1; list && i < f->n; i++)
        json_array_append_new(list, json_string(f->path[i]));
    return list;
}

static int read_folders(const json_t *state, const char *where, uint32_t n, hs__pk_folders *ret, hs_err *err)
{
    const json_t *list = json_object_get(state, "folders");
    hs__pk_folders f = {.n = n};
    bool good = json_array_size(list) == n - 1;
    for (uint32_t i = 0; i < n; i++)
        f.lock[i] = -1;
    for (uint32_t i = 1; good && i < n; i++) {
        const char *path = json_string_value(json_array_get(list, i - 1));
        f.path[i] = path && path[0] == '/' ? hs_strdup(path) : NULL;
        good = f.path[i];
    }
    if (good && ret)
        *ret = f;
    else
        hs__pk_folders_close(&f);
    return good ? 0 : hs_err_set(err, -EINVAL, "%s: folders is malformed", where);
}

int hs__pk_state_read(const char *dst, hs__pk_recipe *ret, hs__pk_folders *folders, hs_err *err)
{
    hs__pk_recipe r = {0};
    json_t *j = NULL;
    char *path = hs__pk_path(dst, HS__PK_STATE, err);
    if (!path)
        return -ENOMEM;
    int64_t compress = 0, level = 0, shard_bytes = 0;
    int e = hs_json_load_file(path, 64u << 10, &j, err);
    if (e == 0) {
        const char *format = json_string_value(json_object_get(j, "format"));
        if (!format || strcmp(format, STATE_FORMAT) ||
            !hs__pk_parse_hex(json_string_value(json_object_get(j, "source_stamp")), r.stamp, 16))
            e = hs_err_set(err, -EINVAL, "%s: not the state of an unfinished pack", path);
    }
    if (e == 0)
        e = hs_json_int(j, path, "compress", 0, HS__PK_ZSTD | HS__PK_EXPONENT, &compress, err);
    if (e == 0)
        e = hs_json_int(j, path, "level", 1, HS_PACK_LEVEL_MAX, &level, err);
    if (e == 0)
        e = hs_json_int(j, path, "shard_bytes", 1, INT64_MAX, &shard_bytes, err);
    bool keep_raw = json_is_true(json_object_get(j, "keep_raw"));
    if (e == 0)
        e = read_stripe(j, path, &r.stripe, err);
    if (e == 0)
        e = read_folders(j, path, r.stripe.n, folders, err);
    json_decref(j);
    hs_free(path);
    if (e < 0)
        return e;
    r.codecs = (uint32_t)compress;
    r.level = (int)level;
    r.shard_bytes = (uint64_t)shard_bytes;
    r.keep_raw = keep_raw;
    *ret = r;
    return 0;
}

int hs__pk_state_write(const char *dst, const hs__pk_recipe *r, const hs__pk_folders *folders, hs_err *err)
{
    char stamp[33];
    hs__pk_hex(r->stamp, 16, stamp);
    json_t *j = json_pack("{s:s, s:s, s:I, s:i, s:I, s:b, s:o*, s:o*, s:o*}", "format", STATE_FORMAT, "source_stamp",
                          stamp, "compress", (json_int_t)r->codecs, "level", r->level, "shard_bytes",
                          (json_int_t)r->shard_bytes, "keep_raw", r->keep_raw, "stripe", stripe_json(&r->stripe),
                          "split_bytes", split_json(&r->stripe), "folders", folders_json(folders));
    if (folders->n > 1 && json_array_size(json_object_get(j, "folders")) != folders->n - 1) {
        json_decref(j);
        return hs_err_set(err, -EINVAL, "%s: the path of a folder to stripe over is not UTF-8", dst);
    }
    char *text = j ? json_dumps(j, JSON_PRESERVE_ORDER) : NULL;
    int e = text ? hs__pk_write(dst, HS__PK_STATE, text, strlen(text), 0644, err)
                 : hs_err_set(err, -ENOMEM, "%s: out of memory", dst);
    free(text);
    json_decref(j);
    return e;
}

/* ---- manifest ---- */

bool hs__pk_manifest_is_whole(const char *text, size_t len)
{
    const size_t begin = strlen(HS_PACK_SEAL_BEGIN), end = strlen(HS_PACK_SEAL_END), tail = begin + 16 + end;
    if (len < tail)
        return false;
    char want[17];
    hs__pk_hex64(XXH3_64bits(text, len - tail), want);
    const char *p = text + len - tail;
    return !memcmp(p, HS_PACK_SEAL_BEGIN, begin) && !memcmp(p + begin, want, 16) &&
           !memcmp(p + begin + 16, HS_PACK_SEAL_END, end);
}

static json_t *sources_json(const hs__pk_plan *p)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->n_containers; i++) {
        const hs__pk_container *c = &p->containers[i];
        char hash[17];
        hs__pk_hex64(c->header_hash, hash);
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:s}", "name", c->name, "bytes",
                                              (json_int_t)c->bytes, "mtime_ns",
                                              (json_int_t)(c->mtime[0] * 1000000000ll + c->mtime[1]), "data_start",
                                              (json_int_t)c->data_start, "mode", (json_int_t)c->mode, "header",
                                              c->header_name, "header_xxh3", hash));
    }
    return list;
}

static json_t *shards_json(const hs__pk_plan *p, const hs__pk_shard_info *info)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->n_shards; i++) {
        char hash[17];
        hs__pk_hex64(info[i].header_hash, hash);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:s}", "name", p->shards[i].name, "kind",
                                              p->shards[i].dense ? "dense"
                                              : p->shards[i].raw ? "raw"
                                                                 : "experts",
                                              "bytes", (json_int_t)info[i].bytes, "records",
                                              (json_int_t)info[i].records, "header_hash", hash));
    }
    return list;
}

static json_t *files_json(const hs__pk_plan *p)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->files.n; i++) {
        const hs__pk_file *f = &p->files.files[i];
        char hash[17];
        hs__pk_hex64(f->hash, hash);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:I, s:I, s:s}", "name", f->name, "stored_as", f->stored_as,
                                        "bytes", (json_int_t)f->bytes, "mode", (json_int_t)f->mode, "xxh3", hash));
    }
    return list;
}

/* By HS__PK_ZSTD | HS__PK_EXPONENT. */
static const char *const codec_names[] = {"raw", "zstd", "exponent", "any"};

int hs__pk_manifest_recipe(const json_t *m, const char *path, hs__pk_recipe *ret, const char **ret_source, hs_err *err)
{
    const json_t *o = json_object_get(m, "options");
    const char *codec = json_string_value(json_object_get(o, "codec"));
    int64_t level = 0, shard_bytes = 0;
    uint32_t codecs = 0, n = sizeof codec_names / sizeof *codec_names;
    while (codec && codecs < n && strcmp(codec, codec_names[codecs]))
        codecs++;
    if (!codec || codecs == n)
        return hs_err_set(err, -ENOTSUP, "%s: its manifest does not say with which codec it was made", path);
    int r = hs_json_int(o, path, "level", 1, HS_PACK_LEVEL_MAX, &level, err);
    if (r == 0)
        r = hs_json_int(o, path, "shard_bytes", 1, INT64_MAX, &shard_bytes, err);
    if (r < 0)
        return r;
    ret->codecs = codecs;
    ret->level = (int)level;
    ret->shard_bytes = (uint64_t)shard_bytes;
    ret->keep_raw = json_is_true(json_object_get(o, "keep_raw"));
    r = read_stripe(o, path, &ret->stripe, err);
    if (r < 0)
        return r;
    *ret_source = json_string_value(json_object_get(m, "source"));
    return 0;
}

/* Where the source is, for who can do with its raw bytes. NULL: nothing that JSON can say. */
static json_t *source_json(const hs__pk_plan *p)
{
    char *path = realpath(p->src, NULL);
    json_t *j = path ? json_string(path) : NULL;
    free(path);
    return j;
}

static json_t *manifest_json(const hs__pk_plan *p, const hs__pk_recipe *r, const hs__pk_shard_info *info)
{
    uint8_t id[16];
    char identity[33], stamp[33];
    uint64_t stored = 0;
    hs__pk_identity(r, id);
    hs__pk_hex(id, 16, identity);
    hs__pk_hex(r->stamp, 16, stamp);
    bool raw = false;
    for (uint32_t i = 0; i < p->n_shards; i++) {
        stored += p->shards[i].raw ? 0 : info[i].stored_bytes;
        raw |= p->shards[i].raw;
    }
    int version = p->split ? HS_PACK_VERSION : raw ? HS_PACK_VERSION_RAW : HS_PACK_VERSION_PLAIN;
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:{s:s, s:i, s:I, s:o*, s:o*, s:o*}, s:o*, s:o, s:o, s:o, s:I, s:I}",
                     "format", HS_PACK_FORMAT, "version", version, "identity", identity, "source_stamp", stamp,
                     "created_by", "hotset " HOTSET_VERSION, "options", "codec", codec_names[r->codecs], "level",
                     r->level, "shard_bytes", (json_int_t)r->shard_bytes, "keep_raw", r->keep_raw ? json_true() : NULL,
                     "stripe", stripe_json(&r->stripe), "split_bytes", split_json(&r->stripe), "source", source_json(p),
                     "sources", sources_json(p), "shards", shards_json(p, info), "files", files_json(p), "raw_bytes",
                     (json_int_t)p->source_bytes, "stored_bytes", (json_int_t)stored);
}

/* Names go into JSON, which is UTF-8. */
static int check_names(const hs__pk_plan *p, hs_err *err)
{
    for (uint32_t i = 0; i < p->n_containers + p->files.n; i++) {
        const char *name = i < p->n_containers ? p->containers[i].name : p->files.files[i - p->n_containers].name;
        json_t *j = json_string(name);
        if (!j)
            return hs_err_set(err, -EINVAL, "%s: a file's name is not valid UTF-8: \"%.100s\"", p->src, name);
        json_decref(j);
    }
    return 0;
}

int hs__pk_manifest_write(const char *dst, const hs__pk_plan *p, const hs__pk_recipe *r,
                          const hs__pk_shard_info *shards, hs_err *err)
{
    int e = check_names(p, err);
    if (e < 0)
        return e;
    json_t *j = manifest_json(p, r, shards);
    char *text = j ? json_dumps(j, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL, hash[17];
    size_t len = text ? strlen(text) : 0;
    hs_buf b;
    hs_buf_init(&b, HS__PK_MAX_JSON);
    if (len > 2) {
        /* The closing "\n}" makes room for the checksum. */
        hs__pk_hex64(XXH3_64bits(text, len - 2), hash);
        hs_buf_append(&b, text, len - 2);
        hs_buf_printf(&b, HS_PACK_SEAL_BEGIN "%s" HS_PACK_SEAL_END, hash);
    }
    if (len > 2 && !b.failed)
        e = hs__pk_write(dst, HS__PK_MANIFEST, b.data, b.len, 0644, err);
    else
        e = hs_err_set(err, b.failed ? b.failed : -ENOMEM, "%s/" HS__PK_MANIFEST ": %s", dst,
                       b.failed == -E2BIG ? "too many files" : "out of memory");
    hs_buf_deinit(&b);
    free(text);
    json_decref(j);
    return e;
}

/* labels: unit */
/*
 * Packs made to hurt: manifests and shard tables with wrong numbers under right checksums. Nothing may crash, hang or
 * write outside dst; verify and unpack must say what is wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "hotset/shard_format.h"
#include "make.h"

/* Verify finds it (names that clash matter only to unpack), unpack refuses; store's reader has tests of its own. */
static void expect_refusal(const packed_model *w, const char *what)
{
    hs_err err = {0};
    int r = hs_verify(w->packed, w->pool, NULL, NULL, &err);
    bool clash =
        !strcmp(what, "config.json") || !strcmp(what, "hotset-pack.lock") || strstr(what, "\"model.safetensors");
    if (r != -EBADMSG && r != -ENOTSUP && r != -EINVAL && !(clash && r == 0))
        fail_msg("%s: verify gave %d", what, r);
    r = hs_unpack(w->packed, w->beside, w->pool, NULL, &err);
    if (r >= 0)
        fail_msg("%s: unpacked", what);
    assert_false(loads(w->beside));
    remove_tree(w->beside);
    (void)loads(w->packed);
}

/* ---- manifest ---- */

/* Writes text, up to its checksum, with a right one. */
static void write_manifest(const packed_model *w, const char *text, size_t len)
{
    char *all = malloc(len + 100);
    assert_non_null(all);
    memcpy(all, text, len);
    int n =
        snprintf(all + len, 100, ",\n \"manifest_xxh3\": \"%016llx\"\n}\n", (unsigned long long)XXH3_64bits(text, len));
    write_file(w->packed, "manifest.json", all, len + (size_t)n);
    free(all);
}

/* text with the first `from` after `after` replaced by `to`, or fails. */
static char *replaced(const char *text, const char *after, const char *from, const char *to)
{
    char *at = strstr(text, after), *new;
    assert_non_null(at);
    at = strstr(at, from);
    assert_non_null(at);
    size_t before = (size_t)(at - text);
    new = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(new);
    memcpy(new, text, before);
    strcpy(new + before, to);
    strcat(new, at + strlen(from));
    return new;
}

static void wrong_manifests(void **state)
{
    (void)state;
    static const char *const change[][3] = {
        {"\"version\"", "1", "0"},
        {"\"version\"", "1", "5"},
        {"\"version\"", "1", "\"1\""},
        {"\"identity\"", ": \"", ": \"x"},
        {"\"identity\"", "\"identity\"", "\"identities\""},
        {"\"sources\"", "\"sources\"", "\"sourcez\""},
        {"\"sources\"", "model.safetensors", "../model.safetensors"},
        {"\"sources\"", "model.safetensors", ".."},
        {"\"sources\"", "model.safetensors", ""},
        {"\"sources\"", "model.safetensors", "config.json"},
        {"\"sources\"", "model.safetensors", "hotset-pack.lock"},
        {"\"sources\"", "\"bytes\": ", "\"bytes\": 9"},
        {"\"sources\"", "\"bytes\": ", "\"bytes\": -"},
        {"\"sources\"", "\"bytes\": ", "\"bytes\": 9e18, \"b\": "},
        {"\"sources\"", "\"data_start\": ", "\"data_start\": 0, \"d\": "},
        {"\"sources\"", "\"data_start\": ", "\"data_start\": 100000001000, \"d\": "},
        {"\"sources\"", "\"mode\": ", "\"mode\": 99999"},
        {"\"sources\"", "model.safetensors.header", "/etc/passwd"},
        {"\"shards\"", "dense-00000.hss", "../dense-00000.hss"},
        {"\"shards\"", "dense-00000.hss", "experts-00000.hss"},
        {"\"shards\"", "dense-00000.hss", "nothing.hss"},
        {"\"shards\"", "\"records\": ", "\"records\": 1"},
        {"\"shards\"", "\"header_hash\": \"", "\"header_hash\": \"0"},
        {"\"files\"", "\"name\": \"config.json\"", "\"name\": \"a/b\""},
        {"\"files\"", "\"stored_as\": \"config.json\"", "\"stored_as\": \"/etc/passwd\""},
        {"\"files\"", "\"name\": \"config.json\"", "\"name\": \"model.safetensors\""},
        {"\"files\"", "\"name\": \"config.json\"", "\"name\": \"model.safetensors.tmp\""},
        {"\"files\"", "\"bytes\": ", "\"bytes\": 1"},
    };
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    size_t n;
    char *text = read_file(w.packed, "manifest.json", &n);
    text[n] = '\0';
    char *tail = strstr(text, ",\n \"manifest_xxh3\"");
    assert_non_null(tail);
    *tail = '\0';
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        char *bad = replaced(text, change[i][0], change[i][1], change[i][2]);
        write_manifest(&w, bad, strlen(bad));
        expect_refusal(&w, change[i][2]);
        free(bad);
    }
    write_manifest(&w, text, strlen(text));
    assert_int_equal(hs_verify(w.packed, w.pool, NULL, NULL, NULL), 0);
    free(text);
    packed_model_end(&w);
}

/* ---- shards ---- */

typedef struct shard {
    char *data;
    size_t n;
    hs_shard_header header;
} shard;

static shard load_shard(const packed_model *w, const char *name)
{
    shard s = {0};
    s.data = read_file(w->packed, name, &s.n);
    memcpy(&s.header, s.data, sizeof s.header);
    return s;
}

/* Writes a copy of s with right hashes in table, header and footer, and a manifest that knows the new header. */
static void write_shard(const packed_model *w, const shard *s, const char *name, const char *manifest)
{
    char *copy = malloc(s->n), old[17], new[17];
    assert_non_null(copy);
    memcpy(copy, s->data, s->n);
    hs_shard_header h = s->header;
    hs_shard_footer f;
    uint64_t before;
    memcpy(&before, s->data + offsetof(hs_shard_header, header_hash), 8);
    if (h.table_offset < s->n && h.table_bytes <= s->n - h.table_offset)
        h.table_hash = XXH3_64bits(copy + h.table_offset, h.table_bytes);
    h.header_hash = XXH3_64bits(&h, offsetof(hs_shard_header, header_hash));
    memcpy(copy, &h, sizeof h);
    memcpy(&f, copy + s->n - HS_SHARD_ALIGN, sizeof f);
    f.header_hash = h.header_hash;
    f.file_bytes = h.file_bytes;
    f.footer_hash = XXH3_64bits(&f, offsetof(hs_shard_footer, footer_hash));
    memcpy(copy + s->n - HS_SHARD_ALIGN, &f, sizeof f);
    write_file(w->packed, name, copy, s->n);
    free(copy);
    snprintf(old, sizeof old, "%016llx", (unsigned long long)before);
    snprintf(new, sizeof new, "%016llx", (unsigned long long)h.header_hash);
    char *text = replaced(manifest, name, old, new);
    write_manifest(w, text, strlen(text));
    free(text);
}

/* Every 32-bit word of the table in turn, and the numbers of the header, set to values that hurt. */
static void wrong_tables(void **state)
{
    (void)state;
    static const uint32_t evil[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 4096};
    packed_model w = packed_model_make(SOURCE_TINY, HS_PACK_ZSTD);
    size_t n;
    char *manifest = read_file(w.packed, "manifest.json", &n);
    manifest[n] = '\0';
    *strstr(manifest, ",\n \"manifest_xxh3\"") = '\0';
    static const char *const names[] = {"dense-00000.hss", "experts-00000.hss"};
    for (int f = 0; f < 2; f++) {
        shard s = load_shard(&w, names[f]);
        uint64_t begin_table = s.header.table_offset, words = s.header.table_bytes / 4;
        for (uint64_t i = 0; i < words; i++) {
            char *at = s.data + begin_table + 4 * i, what[60];
            uint32_t was;
            memcpy(&was, at, 4);
            uint32_t value = evil[i % 6] == was ? was + 1 : evil[i % 6];
            memcpy(at, &value, 4);
            write_shard(&w, &s, names[f], manifest);
            snprintf(what, sizeof what, "%s, word %llu = %x", names[f], (unsigned long long)i, value);
            expect_refusal(&w, what);
            memcpy(at, &was, 4);
        }
        for (int i = 0; i < 14; i++) {
            shard bad = s;
            char what[60];
            switch (i) {
            case 0:
                bad.header.version = 2;
                break;
            case 1:
                bad.header.n_records = UINT32_MAX;
                break;
            case 2:
                bad.header.n_records--;
                break;
            case 3:
                bad.header.n_parts = UINT64_MAX;
                break;
            case 4:
                bad.header.n_frames = UINT64_MAX / 8 + 1;
                break;
            case 5:
                bad.header.n_frames++;
                break;
            case 6:
                bad.header.table_offset = 0;
                break;
            case 7:
                bad.header.table_offset = UINT64_MAX - 4095;
                break;
            case 8:
                bad.header.table_offset += 4096;
                break;
            case 9:
                bad.header.table_bytes = UINT64_MAX;
                break;
            case 10:
                bad.header.table_bytes += 8;
                break;
            case 11:
                bad.header.file_bytes++;
                break;
            case 12:
                bad.header.identity[3] ^= 1;
                break;
            default:
                bad.header.magic[0] = 'X';
                break;
            }
            write_shard(&w, &bad, names[f], manifest);
            snprintf(what, sizeof what, "%s, header change %d", names[f], i);
            expect_refusal(&w, what);
        }
        write_shard(&w, &s, names[f], manifest);
        free(s.data);
    }
    assert_int_equal(hs_verify(w.packed, w.pool, NULL, NULL, NULL), 0);
    free(manifest);
    packed_model_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_manifests),
        cmocka_unit_test(wrong_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

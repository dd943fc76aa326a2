/* labels: unit fault */
/* test_shard.c - packed folders that are damaged, cut, incomplete, or that lie with right checksums. */
#include "unit/store/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/json.h"
#include "store/source.h"

static char path[FOLDER_PATH];

static int setup(void **state)
{
    (void)state;
    folder_create(path);
    tiny_write_packed(&tiny_small, path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_destroy(path);
    return 0;
}

static const char *const shards[] = {"dense-00000.hss", "experts-00000.hss"};

static void opens(void)
{
    hs_source *s;
    hs_err err = {0};
    if (hs_source_open(path, &s, &err) < 0)
        fail_msg("%s", err.text);
    hs_source_close(&s);
}

/* Opening finds damage to whatever it reads; records are checked when they are read, padding by `verify`. */
static void every_damaged_byte_of_header_table_and_footer_is_found(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++) {
        size_t n;
        uint8_t *shard = folder_read(path, shards[f], &n);
        int fd = folder_open(path, shards[f], O_RDWR);
        for (size_t at = 0; at < n; at++) {
            uint32_t record;
            tiny_area area = tiny_area_of(shard, n, at, &record);
            if (area == TINY_PADDING && at % 61)
                continue;
            uint8_t bad = shard[at] ^ (uint8_t)(1u << at % 8);
            assert_int_equal(pwrite(fd, &bad, 1, (off_t)at), 1);
            if (area == TINY_PADDING || area == TINY_RECORD)
                opens();
            else
                folder_refused(path, shards[f]);
            assert_int_equal(pwrite(fd, &shard[at], 1, (off_t)at), 1);
        }
        close(fd);
        free(shard);
    }
    opens();
}

static void a_cut_longer_or_missing_shard_is_refused(void **state)
{
    (void)state;
    char full[FOLDER_PATH + 32];
    for (int f = 0; f < 2; f++) {
        size_t n;
        uint8_t *shard = folder_read(path, shards[f], &n);
        for (size_t cut = 0; cut < n; cut += cut % 4096 == 4095 || n - cut < 4 ? 1 : 1365)
            folder_write(path, shards[f], shard, cut), folder_refused(path, shards[f]);
        shard = realloc(shard, n + 4096);
        memset(shard + n, 0, 4096);
        folder_write(path, shards[f], shard, n + 4096);
        folder_refused(path, shards[f]);
        snprintf(full, sizeof full, "%s/%s", path, shards[f]);
        assert_int_equal(unlink(full), 0);
        folder_refused(path, shards[f]);
        folder_write(path, shards[f], shard, n);
        free(shard);
    }
    opens();
}

/* ---- right checksums, wrong contents ---- */

static uint8_t *image;
static size_t image_n;
static hs_shard_header head;

static void begin_lie(const uint8_t *good, size_t n)
{
    image = malloc(n);
    assert_non_null(image);
    memcpy(image, good, n);
    image_n = n;
    memcpy(&head, good, sizeof head);
}

/* Makes the checksums of table, header and footer right and puts the shard in its place. */
static void end_lie(const char *name)
{
    if (head.table_offset <= image_n && head.table_bytes <= image_n - head.table_offset)
        head.table_hash = XXH3_64bits(image + head.table_offset, head.table_bytes);
    head.header_hash = XXH3_64bits(&head, offsetof(hs_shard_header, header_hash));
    memcpy(image, &head, sizeof head);
    hs_shard_footer foot;
    memcpy(&foot, image + image_n - HS_SHARD_ALIGN, sizeof foot);
    foot.header_hash = head.header_hash;
    foot.footer_hash = XXH3_64bits(&foot, offsetof(hs_shard_footer, footer_hash));
    memcpy(image + image_n - HS_SHARD_ALIGN, &foot, sizeof foot);
    folder_write(path, name, image, image_n);
    free(image);
}

typedef enum where { HEAD, RECORD, PART, FRAME } where;
#define IN(kind, field) offsetof(hs_shard_##kind, field), sizeof(((hs_shard_##kind *)0)->field)

/* Field of the index-th entry := value. */
static const struct lie {
    where in;
    uint32_t index;
    size_t offset, size;
    uint64_t value;
    const char *part;
} lies[] = {
    {HEAD, 0, IN(header, magic), 1, "not a hotset shard"},
    {HEAD, 0, IN(header, version), 2, "version 2"},
    {HEAD, 0, IN(header, n_records), UINT32_MAX, "than possible"},
    {HEAD, 0, IN(header, n_records), 1, "does not fit the file"},
    {HEAD, 0, IN(header, n_parts), 1ull << 40, "than possible"},
    {HEAD, 0, IN(header, n_parts), UINT64_MAX, "than possible"},
    {HEAD, 0, IN(header, n_frames), UINT64_MAX / 8, "than possible"},
    {HEAD, 0, IN(header, n_frames), 1u << 20, "does not fit the file"},
    {HEAD, 0, IN(header, table_offset), 4095, "does not fit the file"},
    {HEAD, 0, IN(header, table_offset), 0, "does not fit the file"},
    {HEAD, 0, IN(header, table_offset), UINT64_MAX & ~4095ull, "does not fit the file"},
    {HEAD, 0, IN(header, table_bytes), UINT64_MAX, "does not fit the file"},
    {HEAD, 0, IN(header, table_bytes), 0, "does not fit the file"},
    {HEAD, 0, IN(header, file_bytes), 1ull << 50, "its header says"},
    {HEAD, 0, IN(header, identity), 0, "another packed model"},
    {RECORD, 0, IN(record, offset), 8192, "record 0 lies outside"},
    {RECORD, 1, IN(record, offset), 4096, "record 1 lies outside"},
    {RECORD, 1, IN(record, offset), UINT64_MAX, "record 1 lies outside"},
    {RECORD, 0, IN(record, stored_bytes), UINT64_MAX, "record 0 lies outside"},
    {RECORD, 0, IN(record, stored_bytes), 1, "do not add up"},
    {RECORD, 0, IN(record, raw_bytes), UINT64_MAX, "record 0 lies outside"},
    {RECORD, 0, IN(record, raw_bytes), 64, "do not add up"},
    {RECORD, 0, IN(record, first_part), 1, "out of order"},
    {RECORD, 1, IN(record, first_part), UINT32_MAX, "out of order"},
    {RECORD, 0, IN(record, n_parts), UINT32_MAX, "out of order"},
    {RECORD, 0, IN(record, n_parts), 0, "do not add up"},
    {RECORD, 0, IN(record, first_frame), 7, "out of order"},
    {RECORD, 0, IN(record, n_frames), UINT32_MAX, "out of order"},
    {RECORD, 0, IN(record, n_frames), 0, "too few frames"},
    {PART, 0, IN(part, source), 2, "no tensor of the source"},
    {PART, 0, IN(part, source), UINT32_MAX, "no tensor of the source"},
    {PART, 0, IN(part, codec), HS_CODEC_END, "codec 5; this build knows"},
    {PART, 0, IN(part, source_offset), 1, "no tensor of the source"},
    {PART, 0, IN(part, source_offset), UINT64_MAX, "no tensor of the source"},
    {PART, 0, IN(part, bytes), UINT64_MAX, "bad size"},
    {PART, 0, IN(part, bytes), 1ull << 40, "too few frames"},
    {PART, 0, IN(part, bytes), 287, "part 0 is of a tensor whose parts do not make it up"},
    {PART, 0, IN(part, bytes), 1, "place"},
    {PART, 1, IN(part, raw_offset), 0, "place"},
    {PART, 1, IN(part, raw_offset), UINT64_MAX & ~63ull, "place"},
    {PART, 7, IN(part, source_offset), 0, "no tensor of the source"},
    {FRAME, 0, IN(frame, stored_bytes), 0, "bad size"},
    {FRAME, 0, IN(frame, stored_bytes), UINT32_MAX, "bad size"},
    {FRAME, 0, IN(frame, stored_bytes), HS_FRAME_MAX_STORED, "do not add up"},
    {FRAME, 7, IN(frame, stored_bytes), 1, "bad size"},
};

static uint8_t *entry(const struct lie *l)
{
    static const size_t size[] = {0, sizeof(hs_shard_record), sizeof(hs_shard_part), sizeof(hs_shard_frame)};
    uint8_t *table = image + head.table_offset;
    if (l->in == HEAD)
        return (uint8_t *)&head;
    if (l->in >= PART)
        table += head.n_records * sizeof(hs_shard_record);
    if (l->in == FRAME)
        table += head.n_parts * sizeof(hs_shard_part);
    return table + l->index * size[l->in];
}

static void a_table_that_lies_is_refused(void **state)
{
    (void)state;
    size_t n;
    uint8_t *good = folder_read(path, shards[1], &n);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        begin_lie(good, n);
        memcpy(entry(&lies[i]) + lies[i].offset, &lies[i].value, lies[i].size < 8 ? lies[i].size : 8);
        end_lie(shards[1]);
        folder_refused(path, shards[1]);
        folder_refused(path, lies[i].part);
    }
    begin_lie(good, n); /* the same tensor twice */
    struct lie second = {.in = PART, .index = 4}, first = {.in = PART};
    hs_shard_part p, q;
    memcpy(&p, entry(&first), sizeof p);
    memcpy(&q, entry(&second), sizeof q);
    q.source = p.source;
    q.source_offset = p.source_offset;
    memcpy(entry(&second), &q, sizeof q);
    end_lie(shards[1]);
    folder_refused(path, "or one twice");
    begin_lie(good, n);
    end_lie(shards[1]);
    opens();
    free(good);
}

/* A tensor may be cut where its bytes are neighbours in a slot: behind the last part of a record, on a page. */
static void a_tensor_is_cut_on_a_page_only(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        uint64_t at;
        bool good;
    } cuts[] = {{"l0.e0.gate", 4096, true},    {"l0.e0.gate", 74 * 4096, true},  {"l0.e0.up", 8192, true},
                {"l0.e0.gate", 64, false},     {"l0.e0.gate", 4096 + 64, false}, {"l0.e0.gate", 4095, false},
                {"l0.e0.up", 4096 - 64, false}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        tiny_write_cut(&tiny_wide, path, cuts[i].tensor, cuts[i].at);
        if (cuts[i].good)
            opens();
        else
            folder_refused(path, "is of a tensor whose parts do not make it up");
    }
}

/* Random lies with right checksums: an error, or a folder that can be loaded without harm. */
static void random_tables_do_no_harm(void **state)
{
    (void)state;
    static uint8_t mem[1 << 16];
    hs_pool *pool;
    uint32_t seed = 11;
    size_t n, taken = 0;
    assert_int_equal(hs_pool_create(1, &pool, NULL), 0);
    uint8_t *good = folder_read(path, shards[1], &n);
    for (int k = 0; k < 1500; k++) {
        begin_lie(good, n);
        uint8_t *table = image + head.table_offset;
        uint32_t range = 48 + (uint32_t)head.table_bytes; /* the header's counts and places, and the table */
        for (int m = 0; m <= k % 3; m++) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t at = (seed >> 8) % range;
            uint8_t *b = at < 48 ? (uint8_t *)&head + at : table + (at - 48);
            *b = (uint8_t)(seed % 3 ? seed >> 24 : *b ^ 1u << seed % 8);
        }
        end_lie(shards[1]);
        hs_source *s;
        hs_err err = {0};
        if (hs_source_open(path, &s, &err) < 0) {
            assert_true(err.text[0]);
            continue;
        }
        taken++;
        const hs_checkpoint *c = hs_source_checkpoint(s);
        for (uint32_t i = 0; i < c->n_tensors; i++) {
            hs_load l = {i, mem};
            assert_true(c->tensors[i].nbytes <= sizeof mem);
            assert_true(hs_source_stored_bytes(s, i) <= n);
            int r = hs_source_load(s, &l, 1, pool, NULL, NULL, NULL, &err);
            assert_true(r == 0 || err.text[0]);
        }
        hs_source_close(&s);
    }
    assert_true(taken > 0);
    hs_pool_destroy(&pool);
    free(good);
}

/* ---- manifest and headers ---- */

static void a_damaged_container_header_is_refused(void **state)
{
    (void)state;
    for (int c = 0; c < 2; c++) {
        char name[64];
        size_t n;
        snprintf(name, sizeof name, "model-%d.safetensors.header", c);
        uint8_t *text = folder_read(path, name, &n);
        for (size_t i = 0; i < n; i++) {
            text[i] ^= 4;
            folder_write(path, name, text, n);
            folder_refused(path, name);
            text[i] ^= 4;
        }
        folder_write(path, name, text, n - 1);
        folder_refused(path, name);
        folder_write(path, name, text, n);
        free(text);
    }
    opens();
}

/* The manifest with `from` replaced by `to`. */
static void manifest_refused(const char *good, const char *from, const char *to, const char *part)
{
    char text[8192];
    const char *at = strstr(good, from);
    assert_non_null(at);
    int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    tiny_write_manifest(path, text, (size_t)n);
    folder_refused(path, part);
}

/* manifest.json without its checksum (free). */
static char *read_manifest(size_t *ret_n)
{
    char *text = (char *)folder_read(path, "manifest.json", ret_n), *seal;
    text[*ret_n] = '\0';
    seal = strstr(text, HS_PACK_SEAL_BEGIN);
    assert_non_null(seal);
    memcpy(seal, "}", 2);
    *ret_n = strlen(text);
    return text;
}

static void a_bad_manifest_is_refused_by_field(void **state)
{
    (void)state;
    size_t n;
    char *good = read_manifest(&n);
    manifest_refused(good, "hotset-pack", "tar", "neither a packed model"); /* another tool has manifests too */
    manifest_refused(good, "\"version\":1", "\"version\":5", "version 5");
    manifest_refused(good, "\"version\":1", "\"version\":\"1\"", "version");
    manifest_refused(good, "a5a5", "a5g5", "identity");
    manifest_refused(good, "a5a5", "a5+5", "identity");
    manifest_refused(good, "a5a5", "a5", "identity");
    manifest_refused(good, "a5a5", "a5a6", "another packed model");
    manifest_refused(good, "\"sources\":", "\"fountains\":", "sources is missing");
    manifest_refused(good, "\"shards\":", "\"shreds\":", "shards is missing");
    manifest_refused(good, "dense-00000.hss", "../dense-00000.hss", "shards[0].name");
    manifest_refused(good, "dense-00000.hss", "dense-00001.hss", "dense-00001.hss: ");
    manifest_refused(good, "dense-00000.hss", "experts-00000.hss", "one twice");
    manifest_refused(good, "model-1.safetensors.header", "/etc/passwd", "sources[1]");
    manifest_refused(good, "\"data_start\":", "\"data_start\":9", "");
    manifest_refused(good, "\"data_start\":", "\"data_start\":-", "data_start");
    manifest_refused(good, "\"bytes\":", "\"bytes\":-", "bytes");
    manifest_refused(good, "\"bytes\":", "\"bytes\":9", "model-0.safetensors.header");
    manifest_refused(good, "\"header_xxh3\":\"", "\"header_xxh3\":\"0", "sources[0]");
    tiny_write_manifest(path, good, n);
    opens();
    free(good);
}

/* A GGUF header, empty and sound, in the place of safetensors' second one. */
static void containers_of_two_kinds_are_refused(void **state)
{
    (void)state;
    static const char gguf[24] = "GGUF\3";
    size_t n, n_header;
    char hash[17];
    char *good = read_manifest(&n);
    uint8_t *header = folder_read(path, "model-1.safetensors.header", &n_header);
    folder_write(path, "model-1.safetensors.header", gguf, sizeof gguf);
    json_t *m = json_loads(good, 0, NULL), *second = json_array_get(json_object_get(m, "sources"), 1);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)XXH3_64bits(gguf, sizeof gguf));
    json_object_set_new(second, "data_start", json_integer(sizeof gguf));
    json_object_set_new(second, "header_xxh3", json_string(hash));
    char *text = json_dumps(m, 0);
    assert_non_null(text);
    tiny_write_manifest(path, text, strlen(text));
    folder_refused(path, "model-1.safetensors.header: is of another kind than the first container");
    folder_write(path, "model-1.safetensors.header", header, n_header);
    tiny_write_manifest(path, good, n);
    opens();
    free(text);
    json_decref(m);
    free(header);
    free(good);
}

/* One wrong byte, be it in a shard's name, is the manifest's fault, not the shard's. */
static void a_damaged_manifest_is_blamed(void **state)
{
    (void)state;
    size_t n;
    uint8_t *good = folder_read(path, "manifest.json", &n);
    for (size_t i = 0; i < n; i++) {
        good[i] ^= 1;
        folder_write(path, "manifest.json", good, n);
        folder_refused(path, memmem(good, n, "\"format\":\"hotset-pack\"", 22) ? "manifest.json" : "");
        good[i] ^= 1;
        folder_write(path, "manifest.json", good, i);
        folder_refused(path, "manifest.json");
    }
    folder_write(path, "manifest.json", good, n);
    opens();
    free(good);
}

/* Files beside the weights: those that were packed, or none. */
static void other_files_than_the_packed_ones_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"generation_config.json", "tokenizer.json", "tokenizer_config.json",
                                        "chat_template.jinja"};
    size_t n;
    hs_err err = {0};
    char *good = read_manifest(&n), text[8192], part[200];
    for (size_t i = 0; i < 4; i++) {
        snprintf(part, sizeof part, "%s: is no part of the packed model", names[i]);
        folder_write(path, names[i], "{}", 2);
        folder_refused(path, part);
        assert_int_equal(hs_source_check_files(path, &err), -EBADMSG);
        int len = snprintf(text, sizeof text, "%.*s{\"name\":\"%s\",\"xxh3\":\"%016llx\"}]}", (int)n - 2, good,
                           names[i], (unsigned long long)XXH3_64bits("{}", 2));
        tiny_write_manifest(path, text, (size_t)len);
        opens();
        assert_int_equal(hs_source_check_files(path, &err), 0);
        folder_write(path, names[i], "[]", 2);
        snprintf(part, sizeof part, "%s: is not the file that was packed", names[i]);
        folder_refused(path, part);
        snprintf(part, sizeof part, "%s/%s", path, names[i]);
        assert_int_equal(unlink(part), 0);
        if (i == 0)
            folder_refused(path, names[i]);
        else
            opens();
        tiny_write_manifest(path, good, n);
    }
    opens();
    free(good);
}

static void no_manifest_byte_crashes_the_reader(void **state)
{
    (void)state;
    size_t n;
    char *text = read_manifest(&n);
    for (size_t i = 0; i < n; i++) {
        static const char tries[] = "\"}0-x";
        char was = text[i];
        for (const char *c = tries; *c; c++) {
            text[i] = *c;
            tiny_write_manifest(path, text, n);
            hs_source *s;
            hs_err err = {0};
            if (hs_source_open(path, &s, &err) < 0)
                assert_true(err.text[0]);
            else
                hs_source_close(&s);
        }
        text[i] = was;
    }
    free(text);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_damaged_byte_of_header_table_and_footer_is_found),
        TEST(a_cut_longer_or_missing_shard_is_refused),
        TEST(a_table_that_lies_is_refused),
        TEST(a_tensor_is_cut_on_a_page_only),
        TEST(random_tables_do_no_harm),
        TEST(a_damaged_container_header_is_refused),
        TEST(a_bad_manifest_is_refused_by_field),
        TEST(containers_of_two_kinds_are_refused),
        TEST(a_damaged_manifest_is_blamed),
        TEST(other_files_than_the_packed_ones_are_refused),
        TEST(no_manifest_byte_crashes_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* rooms: pack store, max_len: 4096 */
/*
 * fuzz_manifest.c - the manifest of a packed folder whose other files are as they should be, before the three readers
 * of packs: open, verify, unpack. Input: the manifest up to its own checksum, which is put behind it (so that the rest
 * is read); empty: the manifest as it was packed. The same bytes are also read as the state of an unfinished pack.
 *
 * The manifest as packed opens, verifies and unpacks; whatever another one says, unpacking leaves
 * no file outside its folder.
 */
#include "scratch.h"

#include "base/file.h"
#include "pack/pack_int.h"
#include "store/source.h"

#define HEADER                                                                                                         \
    "{\"model.layers.0.mlp.experts.0.up_proj.weight\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[0,64]},"      \
    "\"norm\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[64,84]}}"
#define HEADER_BYTES (sizeof HEADER - 1)

static char *good; /* the manifest as packed, n_good bytes of it: all before its checksum */
static size_t n_good;

/* A packed folder that is the same in every run: times of the source's files go into its identity. */
static void make_pack(hs_pool *pool)
{
    static const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    uint8_t file[8 + HEADER_BYTES] = {(uint8_t)HEADER_BYTES};
    char src[80], dst[80], *text = NULL;
    hs_err err = {0};
    size_t n = 0;
    scratch_begin();
    memcpy(file + 8, HEADER, HEADER_BYTES);
    snprintf(src, sizeof src, "%s/src", scratch_path);
    snprintf(dst, sizeof dst, "%s/dst", scratch_path);
    FUZZ_CHECK(mkdir(src, 0700) == 0);
    scratch_write("src/model.safetensors", file, sizeof file, sizeof file + 84);
    scratch_write("src/config.json", "{}", 2, 2);
    FUZZ_CHECK(utimensat(AT_FDCWD, scratch_file("src/model.safetensors"), times, 0) == 0);
    FUZZ_CHECK(utimensat(AT_FDCWD, scratch_file("src/config.json"), times, 0) == 0);
    hs_pack_options opt = {.src = src, .dst = dst, .codec = HS_PACK_RAW, .pool = pool};
    FUZZ_CHECK(hs_pack(&opt, &err) == 0);
    FUZZ_CHECK(hs_file_read(scratch_file("dst/manifest.json"), 1u << 16, &text, &n, &err) == 0);
    char *tail = strstr(text, ",\n \"manifest_xxh3\"");
    FUZZ_CHECK(tail);
    n_good = (size_t)(tail - text);
    good = text;
}

static void write_manifest(const uint8_t *data, size_t size)
{
    static char text[1 << 16];
    char hash[17];
    size = size < sizeof text - 100 ? size : sizeof text - 100;
    memcpy(text, data, size);
    hs__pk_hex64(XXH3_64bits(text, size), hash);
    size += (size_t)snprintf(text + size, 100, ",\n \"manifest_xxh3\": \"%s\"\n}\n", hash);
    scratch_write("dst/manifest.json", text, size, size);
}

/* Entries of the scratch folder itself. */
static int count_entries(void)
{
    int n = 0;
    DIR *d = opendir(scratch_path);
    FUZZ_CHECK(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void unpack(const char *dst, hs_pool *pool, bool clean)
{
    hs_err err = {0};
    char out[80];
    snprintf(out, sizeof out, "%s/out", scratch_path);
    int before = count_entries(), r = hs_unpack(dst, out, pool, NULL, &err);
    FUZZ_CHECK(r == 0 || (r == err.code && *err.text));
    FUZZ_CHECK(r == 0 || !clean);
    FUZZ_CHECK(count_entries() <= before + 1);
    scratch_remove(out);
    FUZZ_CHECK(count_entries() == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs_pool *pool = NULL;
    hs_source *s = NULL;
    hs__pk_recipe recipe;
    hs_err err = {0}, verdict = {0};
    uint64_t problems = 0;
    char dst[80];
    FUZZ_CHECK(hs_pool_create(1, &pool, &err) == 0);
    if (!good)
        make_pack(pool);
    snprintf(dst, sizeof dst, "%s/dst", scratch_path);
    write_manifest(size ? data : (const uint8_t *)good, size ? size : n_good);
    int r = hs_source_open(dst, &s, &err), v = hs_verify(dst, pool, NULL, &problems, &verdict);
    FUZZ_CHECK(r == 0 ? s != NULL : s == NULL && r == err.code && *err.text);
    FUZZ_CHECK(v == 0 ? problems == 0 : v == verdict.code && *verdict.text);
    FUZZ_CHECK(size || (r == 0 && v == 0));
    hs_source_close(&s);
    unpack(dst, pool, size == 0);
    scratch_write("hotset-pack.state", data, size, size);
    (void)!hs__pk_state_read(scratch_path, &recipe, NULL, &err);
    unlink(scratch_file("hotset-pack.state"));
    hs_pool_destroy(&pool);
    return 0;
}

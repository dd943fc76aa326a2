/* rooms: pack store, max_len: 8192, timeout: 10 */
/*
 * fuzz_shard.c - a packed folder whose shard somebody has made: opened, indexed, decoded, loaded and verified. The
 * input's form is in shard_input.h; manifest, container header and config are written around it, so that the shard is
 * what matters.
 *
 * The readers agree: what `verify` finds no fault with decodes without one, and loading gives the bytes that decoding
 * an object gives.
 */
#include "parts.h"
#include "scratch.h"
#include "shard_input.h"

#include "pack/pack_int.h"
#include "store/objects.h"

#define MAX_DATA    (2u << 20)
#define MAX_TENSORS 256u
#define HEADER_NAME "model.safetensors.header"

static shard_input input;
static uint8_t image[MAX_IMAGE];
static hs_pool *pool;

static void write_manifest(uint64_t shard_bytes, uint64_t header_bytes, uint64_t data, uint64_t header_hash)
{
    char identity[33], text[2048], hash[17];
    hs__pk_hex(input.header.identity, 16, identity);
    int n = snprintf(
        text, sizeof text,
        "{\"format\": \"hotset-pack\", \"version\": 1, \"identity\": \"%s\", \"source_stamp\": \"%s\", \"raw_bytes\": "
        "%llu, \"sources\": [{\"name\": \"model.safetensors\", \"bytes\": %llu, \"data_start\": %llu, \"mode\": 420, "
        "\"header\": \"" HEADER_NAME "\", \"header_xxh3\": \"%016llx\"}], \"shards\": [{\"name\": \"a.hss\", \"kind\": "
        "\"experts\", \"bytes\": %llu, \"records\": %u, \"header_hash\": \"%016llx\"}], \"files\": []",
        identity, identity, (unsigned long long)data, (unsigned long long)(header_bytes + data),
        (unsigned long long)header_bytes, (unsigned long long)header_hash, (unsigned long long)shard_bytes,
        input.header.n_records, (unsigned long long)input.header.header_hash);
    hs__pk_hex64(XXH3_64bits(text, (size_t)n), hash);
    n += snprintf(text + n, sizeof text - (size_t)n, ",\n \"manifest_xxh3\": \"%s\"\n}\n", hash);
    scratch_write("manifest.json", text, (size_t)n, (uint64_t)n);
}

static void write_folder(void)
{
    static uint8_t header[8 + MAX_TEXT];
    uint64_t n = shard_image(&input, image), header_bytes = 8u + input.n_text;
    uint64_t data = biggest_number(input.text, input.n_text, MAX_DATA), len = input.n_text;
    memcpy(header, &len, 8);
    memcpy(header + 8, input.text, input.n_text);
    scratch_write(HEADER_NAME, header, header_bytes, header_bytes);
    scratch_write("a.hss", image, n, n);
    write_manifest(n, header_bytes, data, XXH3_64bits(header, header_bytes));
}

/* The object's tensors decoded as residency does it; false: some frame is damaged. */
static bool decode(const hs_objects *o, uint32_t object, hs_decoder *d, uint8_t *slot)
{
    hs_range r[HS_OBJECT_MAX_RANGES];
    uint32_t n = hs_object_ranges(o, object, r);
    FUZZ_CHECK(n == 1 && r[0].len <= sizeof image && r[0].offset + r[0].len <= sizeof image);
    bool staged = hs_object_is_staged(o, object), good = true;
    FUZZ_CHECK(r[0].len <= (staged ? hs_objects_staging_bytes(o) : hs_objects_slot_bytes(o)));
    if (!staged)
        memcpy(slot, image + r[0].offset, r[0].len);
    hs_frame f;
    hs_frame_iter it = {0};
    uint32_t frames = 0;
    for (; hs_object_next_frame(o, object, &it, &f); frames++) {
        FUZZ_CHECK(f.stored_offset + f.stored_bytes <= r[0].len);
        FUZZ_CHECK(f.raw_offset + f.raw_bytes <= hs_objects_slot_bytes(o) && f.raw_bytes <= HS_FRAME_RAW);
        const void *stored = staged ? (const void *)(image + r[0].offset) : slot;
        hs_err err = {0};
        int e = hs_object_decode_frame(o, object, &f, d, stored, slot, &err);
        FUZZ_CHECK(e == 0 || (e == -EBADMSG && *err.text));
        good &= e == 0;
    }
    FUZZ_CHECK(frames == hs_object_frames(o, object));
    return good;
}

/* The tensors of a record in order of their number, at most HS_OBJECT_MAX_PARTS; the others are absent. */
static uint32_t parts_of(const hs_source *s, uint32_t record, uint32_t parts[HS_OBJECT_MAX_PARTS])
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    uint32_t n = 0;
    for (uint32_t i = 0; i < HS_OBJECT_MAX_PARTS; i++)
        parts[i] = HS_NO_TENSOR;
    for (uint32_t i = 0; i < c->n_tensors && n < HS_OBJECT_MAX_PARTS; i++)
        if (c->tensors[i].record == record)
            parts[n++] = i;
    return n;
}

static void check_object(const hs_source *s, const uint32_t *parts, uint32_t n, bool clean, uint8_t *const *loaded)
{
    hs_objects *o = NULL;
    hs_decoder *d = NULL;
    hs_err err = {0};
    FUZZ_CHECK(hs_objects_create(s, parts, 1, HS_OBJECT_MAX_PARTS, &o, &err) == 0);
    if (hs_objects_slot_bytes(o) <= 4 * MAX_DATA) {
        uint8_t *slot = calloc(1, hs_objects_slot_bytes(o) + 1);
        const void *at[HS_OBJECT_MAX_PARTS];
        FUZZ_CHECK(slot && hs_decoder_create(&d, &err) == 0);
        bool good = decode(o, 0, d, slot);
        FUZZ_CHECK(good || !clean);
        hs_object_parts(o, 0, slot, at);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t bytes = hs_source_checkpoint(s)->tensors[parts[i]].nbytes;
            FUZZ_CHECK((const uint8_t *)at[i] + bytes <= slot + hs_objects_slot_bytes(o));
            if (good && loaded)
                FUZZ_CHECK(!bytes || !memcmp(at[i], loaded[parts[i]], bytes));
        }
        hs_decoder_destroy(&d);
        free(slot);
    }
    hs_objects_destroy(&o);
}

/* All tensors through the loader; false if it found damage. */
static bool load_all(const hs_source *s, uint8_t **dst)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    hs_load loads[MAX_TENSORS];
    hs_err err = {0};
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        dst[i] = malloc(c->tensors[i].nbytes + 1);
        FUZZ_CHECK(dst[i]);
        loads[i] = (hs_load){i, dst[i]};
    }
    int r = hs_source_load(s, loads, c->n_tensors, pool, NULL, NULL, NULL, &err);
    FUZZ_CHECK(r == 0 || (r == err.code && *err.text));
    return r == 0;
}

static void check_source(const hs_source *s, bool clean)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    uint8_t *dst[MAX_TENSORS] = {0};
    FUZZ_CHECK(hs_source_is_packed(s));
    if (c->n_tensors > MAX_TENSORS || c->total_bytes > 2 * MAX_DATA)
        return;
    bool worth_it = input.header.identity[0] % 8 == 0; /* loading starts threads */
    bool loaded = worth_it && load_all(s, dst);
    FUZZ_CHECK(loaded || !worth_it || !clean);
    for (uint32_t i = 0; i < c->n_tensors; i++)
        FUZZ_CHECK(hs_source_stored_bytes(s, i) <= input.header.file_bytes);
    for (uint32_t record = 0; record < input.header.n_records; record++) {
        uint32_t parts[HS_OBJECT_MAX_PARTS], n = parts_of(s, record, parts);
        if (n)
            check_object(s, parts, n, clean, loaded ? dst : NULL);
    }
    for (uint32_t i = 0; i < c->n_tensors; i++)
        free(dst[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs_source *s = NULL;
    uint64_t problems = 0;
    hs_err err = {0}, verdict = {0};
    scratch_begin();
    if (!shard_parse(&input, data, size))
        return 0;
    scratch_write("config.json", "{}", 2, 2);
    FUZZ_CHECK(hs_pool_create(1, &pool, &err) == 0);
    write_folder();
    int r = hs_source_open(scratch_path, &s, &err), v = hs_verify(scratch_path, pool, NULL, &problems, &verdict);
    FUZZ_CHECK(r == 0 ? s != NULL : s == NULL && r == err.code && *err.text);
    FUZZ_CHECK(v == 0 ? problems == 0 : v == verdict.code && *verdict.text);
    if (r == 0)
        check_source(s, v == 0);
    hs_source_close(&s);
    hs_pool_destroy(&pool);
    return 0;
}

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#include "shard_mutator.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    random_bits r = {seed};
    if (size && any(&r, 32) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    if (any(&r, 64) == 0 || !shard_parse(&input, data, size))
        begin_anew(&r, &input);
    for (uint32_t i = any(&r, 3) + 1; i > 0; i--)
        mutate_once(&r, &input, biggest_number(input.text, input.n_text, MAX_DATA));
    if (any(&r, 16))
        measure(&input);
    if (any(&r, 8))
        check_chunks(&input);
    if (any(&r, 32))
        seal(&input);
    size_t n = shard_serialise(&input, data, max_size);
    return n ? n : LLVMFuzzerMutate(data, size, max_size);
}
#endif

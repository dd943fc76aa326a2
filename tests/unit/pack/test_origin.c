/* labels: unit */
/* Other ways to the bytes of compressed records: raw ones that the pack keeps, and the model that was packed, which is
 * taken only if it is what the manifest says, unchanged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "make.h"
#include "store/objects.h"

#define FILE_NAME "model.safetensors"

typedef struct world {
    const char *src, *out;
    char dst[300], file[300];
} world;

static world begin(hs_pack_codec codec)
{
    world w = {.src = temp_folder(0), .out = temp_folder(1)};
    snprintf(w.dst, sizeof w.dst, "%s/packed", w.out);
    make_source(w.src, SOURCE_FP8);
    assert_int_equal(pack(w.src, w.dst, codec, 0, NULL), 0);
    snprintf(w.file, sizeof w.file, "%s/" FILE_NAME, w.src);
    return w;
}

static void finish(world *w)
{
    remove_tree(w->src);
    remove_tree(w->out);
}

/* Expert 0 and 3 of layer 1, gate up down. */
static hs_objects *index_of(const hs_source *s, uint32_t parts[2][3])
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    hs_objects *o = NULL;
    hs_err err = {0};
    for (uint32_t i = 0; i < 6; i++) {
        char name[120];
        snprintf(name, sizeof name, "model.layers.1.mlp.experts.%u.%s.weight", i / 3 * 3, names[i % 3]);
        parts[i / 3][i % 3] = hs_checkpoint_find(hs_source_checkpoint(s), name);
        assert_true(parts[i / 3][i % 3] != HS_NO_TENSOR);
    }
    if (hs_objects_create(s, parts[0], 2, 3, &o, &err) < 0)
        fail_msg("%s", err.text);
    return o;
}

static bool has_raw(const char *dst)
{
    hs_source *s = NULL;
    uint32_t parts[2][3];
    assert_int_equal(hs_source_open(dst, &s, NULL), 0);
    hs_objects *o = index_of(s, parts);
    bool has = hs_objects_has_raw(o);
    hs_objects_destroy(&o);
    hs_source_close(&s);
    return has;
}

/* Reads the object as its ranges say, into a slot. */
static void read_object(const hs_objects *o, uint32_t object, uint8_t *slot)
{
    uint32_t n_fds, n;
    const int *fds = hs_objects_fds(o, &n_fds);
    hs_range ranges[HS_OBJECT_MAX_RANGES];
    n = hs_object_ranges(o, object, ranges);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(ranges[i].file < n_fds);
        assert_true(ranges[i].dst_offset + ranges[i].len <= hs_objects_slot_bytes(o));
        assert_true(pread(fds[ranges[i].file], slot + ranges[i].dst_offset, ranges[i].len, (off_t)ranges[i].offset) >
                    0);
    }
}

static void assert_both_the_same(const char *dst, bool kept)
{
    hs_source *s = NULL;
    uint32_t parts[2][3];
    hs_decoder *d = NULL;
    hs_err err = {0};
    assert_int_equal(hs_source_open(dst, &s, NULL), 0);
    assert_int_equal(hs_source_raw_bytes(s) > 0, kept);
    assert_int_equal(hs_decoder_create(&d, NULL), 0);
    hs_objects *o = index_of(s, parts);
    assert_true(hs_objects_has_raw(o));
    uint8_t *slot = malloc(hs_objects_slot_bytes(o)), *raw = malloc(hs_objects_slot_bytes(o));
    uint8_t *staging = malloc(hs_objects_staging_bytes(o));
    assert_true(slot && raw && staging);
    for (uint32_t i = 0; i < 2; i++) {
        const void *a[HS_OBJECT_MAX_PARTS], *b[HS_OBJECT_MAX_PARTS];
        hs_frame_iter it = {0};
        hs_frame f;
        assert_true(hs_object_is_staged(o, i) && !hs_object_is_staged(o, i | HS_OBJECT_RAW));
        assert_int_equal(hs_object_frames(o, i | HS_OBJECT_RAW), kept ? hs_object_frames(o, i) : 0);
        assert_true(hs_object_read_bytes(o, i) < hs_object_read_bytes(o, i | HS_OBJECT_RAW));
        assert_int_equal(hs_object_raw_bytes(o, i), hs_object_raw_bytes(o, i | HS_OBJECT_RAW));
        read_object(o, i, staging);
        while (hs_object_next_frame(o, i, &it, &f))
            if (hs_object_decode_frame(o, i, &f, d, staging, slot, &err) < 0)
                fail_msg("%s", err.text);
        read_object(o, i | HS_OBJECT_RAW, raw);
        it = (hs_frame_iter){0};
        while (hs_object_next_frame(o, i | HS_OBJECT_RAW, &it, &f)) /* its checksums */
            if (hs_object_decode_frame(o, i | HS_OBJECT_RAW, &f, d, raw, raw, &err) < 0)
                fail_msg("%s", err.text);
        hs_object_parts(o, i, slot, a);
        hs_object_parts(o, i | HS_OBJECT_RAW, raw, b);
        for (uint32_t p = 0; p < 3; p++)
            assert_memory_equal(a[p], b[p], hs_source_checkpoint(s)->tensors[parts[i][p]].nbytes);
        char what[300];
        hs_object_describe(o, i | HS_OBJECT_RAW, 0, what, sizeof what);
        assert_non_null(strstr(what, kept ? "raw-00000.hss" : FILE_NAME));
    }
    free(slot);
    free(raw);
    free(staging);
    hs_objects_destroy(&o);
    hs_decoder_destroy(&d);
    hs_source_close(&s);
}

static void both_ways_are_the_same_bytes(void **state)
{
    (void)state;
    world w = begin(HS_PACK_ZSTD);
    assert_both_the_same(w.dst, false);
    finish(&w);
}

/* Without the source; a raw shard that is not there, or is not the pack's, is no reason not to load. */
static void what_is_kept_needs_no_source(void **state)
{
    (void)state;
    world w = begin(HS_PACK_RAW);
    remove_tree(w.dst);
    assert_int_equal(pack_kept(w.src, w.dst, HS_PACK_ZSTD, 0, NULL), 0);
    assert_both_the_same(w.dst, true);
    remove_tree(w.src);
    assert_both_the_same(w.dst, true);
    char file[340], away[350];
    snprintf(file, sizeof file, "%s/raw-00000.hss", w.dst);
    snprintf(away, sizeof away, "%s.away", file);
    assert_int_equal(rename(file, away), 0);
    assert_false(has_raw(w.dst));
    assert_true(loads(w.dst));
    assert_int_equal(rename(away, file), 0);
    flip_bits(w.dst, "raw-00000.hss", size_of(w.dst, "raw-00000.hss") - 2 * 4096, 1); /* its table */
    assert_false(has_raw(w.dst));
    assert_true(loads(w.dst));
    remove_tree(w.out);
}

/* Rewrites one byte of the source at `at`, and gives the file its times back. */
static void change(const world *w, off_t at)
{
    struct stat st;
    int fd = open(w->file, O_RDWR);
    char c;
    assert_true(fd >= 0 && fstat(fd, &st) == 0 && pread(fd, &c, 1, at) == 1);
    c = (char)(c == 'w' ? 'v' : 'w');
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void only_what_was_packed_is_taken(void **state)
{
    (void)state;
    world w = begin(HS_PACK_ZSTD);
    char away[320];
    snprintf(away, sizeof away, "%s.away", w.file);
    assert_true(has_raw(w.dst));
    assert_int_equal(rename(w.file, away), 0);
    assert_false(has_raw(w.dst));
    assert_int_equal(rename(away, w.file), 0);
    assert_true(has_raw(w.dst));
    change(&w, 16); /* a name in the header */
    assert_false(has_raw(w.dst));
    change(&w, 16);
    struct stat st;
    assert_int_equal(stat(w.file, &st), 0);
    const struct timespec later[2] = {st.st_atim, {st.st_mtim.tv_sec + 1, st.st_mtim.tv_nsec}};
    assert_int_equal(utimensat(AT_FDCWD, w.file, later, 0), 0);
    assert_false(has_raw(w.dst));
    assert_true(loads(w.dst)); /* nothing depends on it */
    finish(&w);
}

static void raw_records_need_no_other_way(void **state)
{
    (void)state;
    world w = begin(HS_PACK_RAW);
    assert_false(has_raw(w.dst));
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_are_the_same_bytes),
        cmocka_unit_test(what_is_kept_needs_no_source),
        cmocka_unit_test(only_what_was_packed_is_taken),
        cmocka_unit_test(raw_records_need_no_other_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

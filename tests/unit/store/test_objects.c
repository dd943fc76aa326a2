/* labels: unit fault */
/* test_objects.c - experts as ranges, frames and parts: read by plain pread here, as residency would through hs_io. */
#include "unit/store/folder.h"
#include "unit/store/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/objects.h"

#define N_PARTS 4

static const char *const part_names[2][N_PARTS] = {
    {"l0.e0.gate", "l0.e0.up", "l0.e0.up.scale", "l0.e0.down"},
    {"l0.e1.gate", "l0.e1.up", "l0.e1.up.scale", "l0.e1.down"},
};

typedef struct opened {
    char path[FOLDER_PATH];
    const tiny_model *model;
    hs_source *s;
    hs_objects *o;
    hs_decoder *decoder;
    uint8_t *slot, *staging;
} opened;

static void open_model(opened *x, const tiny_model *m, bool packed)
{
    uint32_t parts[2 * N_PARTS];
    hs_err err = {0};
    *x = (opened){.model = m};
    folder_create(x->path);
    if (packed)
        tiny_write_packed(m, x->path);
    else
        tiny_write_plain(m, x->path);
    assert_int_equal(hs_source_open(x->path, &x->s, NULL), 0);
    for (uint32_t i = 0; i < 2 * N_PARTS; i++)
        parts[i] = hs_checkpoint_find(hs_source_checkpoint(x->s), part_names[i / N_PARTS][i % N_PARTS]);
    if (hs_objects_create(x->s, parts, 2, N_PARTS, &x->o, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(hs_decoder_create(&x->decoder, NULL), 0);
    x->slot = calloc(1, hs_objects_slot_bytes(x->o));
    x->staging = calloc(1, hs_objects_staging_bytes(x->o) + 1);
    assert_true(x->slot && x->staging);
}

static void close_model(opened *x)
{
    free(x->slot);
    free(x->staging);
    hs_decoder_destroy(&x->decoder);
    hs_objects_destroy(&x->o);
    assert_null(x->o);
    hs_objects_destroy(&x->o);
    hs_source_close(&x->s);
    folder_destroy(x->path);
}

/* Reads the object's ranges to where they belong and checks what the ranges promise. */
static void read_ranges(opened *x, uint32_t obj)
{
    hs_range r[HS_OBJECT_MAX_RANGES];
    uint32_t n = hs_object_ranges(x->o, obj, r), n_fds;
    const int *fds = hs_objects_fds(x->o, &n_fds);
    bool staged = hs_object_is_staged(x->o, obj);
    uint64_t space = staged ? hs_objects_staging_bytes(x->o) : hs_objects_slot_bytes(x->o), bytes = 0;
    assert_true(n >= 1 && n <= HS_OBJECT_MAX_RANGES);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(r[i].file < n_fds);
        assert_true(r[i].len && (r[i].offset | r[i].len | r[i].dst_offset) % 4096 == 0);
        assert_true(r[i].dst_offset + r[i].len <= space);
        for (uint32_t k = 0; k < i; k++)
            assert_true(r[k].dst_offset + r[k].len <= r[i].dst_offset);
        uint8_t *to = (staged ? x->staging : x->slot) + r[i].dst_offset;
        ssize_t got = pread(fds[r[i].file], to, r[i].len, (off_t)r[i].offset);
        assert_true(got > (ssize_t)r[i].len - 4096);
        bytes += r[i].len;
    }
    assert_int_equal(bytes, hs_object_read_bytes(x->o, obj));
}

static int folder_fd(const opened *x, uint32_t file)
{
    uint32_t n;
    const int *fds = hs_objects_fds(x->o, &n);
    assert_true(file < n);
    return fds[file];
}

static int decode_all(opened *x, uint32_t obj, hs_err *err)
{
    hs_frame_iter it = {0};
    hs_frame f;
    uint32_t n = 0;
    int r = 0;
    const uint8_t *from = hs_object_is_staged(x->o, obj) ? x->staging : x->slot;
    while (hs_object_next_frame(x->o, obj, &it, &f)) {
        assert_true(f.raw_offset + f.raw_bytes <= hs_objects_slot_bytes(x->o));
        assert_true(f.stored_offset + f.stored_bytes <= hs_object_read_bytes(x->o, obj));
        if (r == 0)
            r = hs_object_decode_frame(x->o, obj, &f, x->decoder, from, x->slot, err);
        n++;
    }
    assert_int_equal(n, hs_object_frames(x->o, obj));
    return r;
}

static void check_parts(opened *x, uint32_t obj)
{
    const void *parts[HS_OBJECT_MAX_PARTS];
    uint64_t raw = 0;
    hs_object_parts(x->o, obj, x->slot, parts);
    for (uint32_t p = 0; p < N_PARTS; p++) {
        const tiny_tensor *t = tiny_find(x->model, part_names[obj][p]);
        uint8_t *want = malloc(tiny_nbytes(t));
        tiny_bytes(t, want);
        assert_memory_equal(parts[p], want, tiny_nbytes(t));
        free(want);
        raw += tiny_nbytes(t);
    }
    assert_int_equal(raw, hs_object_raw_bytes(x->o, obj));
}

static void experts_come_out_of_both_kinds_of_folder(void **state)
{
    (void)state;
    const tiny_model *models[] = {&tiny_small, &tiny_wide};
    for (int i = 0; i < 4; i++) {
        bool packed = i / 2;
        opened x;
        open_model(&x, models[i % 2], packed);
        assert_int_equal(hs_objects_count(x.o), 2);
        assert_int_equal(hs_objects_slot_bytes(x.o) % 4096, 0);
        assert_true(hs_objects_table_bytes(x.o) > 0);
        for (uint32_t obj = 0; obj < 2; obj++) {
            hs_err err = {0};
            read_ranges(&x, obj);
            if (decode_all(&x, obj, &err) < 0)
                fail_msg("%s", err.text);
            check_parts(&x, obj);
            assert_int_equal(hs_object_is_staged(x.o, obj), packed && obj == 0);
            assert_true((hs_object_frames(x.o, obj) > 0) == packed);
        }
        assert_true((hs_objects_staging_bytes(x.o) > 0) == packed);
        close_model(&x);
    }
}

/* As striped packs have it: matrices of one expert in several records, compressed and raw ones, in any order. */
static void an_object_may_be_in_several_records(void **state)
{
    (void)state;
    static const char *const names[] = {"l0.e1.down", "l0.e0.gate", "head.weight", "l0.e1.gate", "l0.e0.down"};
    for (int i = 0; i < 2; i++) {
        opened x;
        hs_err err = {0};
        uint32_t parts[5];
        const void *at[HS_OBJECT_MAX_PARTS];
        hs_range r[HS_OBJECT_MAX_RANGES];
        char what[300];
        open_model(&x, i ? &tiny_wide : &tiny_small, true);
        hs_objects_destroy(&x.o);
        for (int p = 0; p < 5; p++)
            parts[p] = hs_checkpoint_find(hs_source_checkpoint(x.s), names[p]);
        assert_int_equal(hs_objects_create(x.s, parts, 1, 5, &x.o, &err), 0);
        free(x.slot);
        free(x.staging);
        x.slot = calloc(1, hs_objects_slot_bytes(x.o));
        x.staging = calloc(1, hs_objects_staging_bytes(x.o));
        assert_int_equal(hs_object_ranges(x.o, 0, r), 3);
        assert_true(hs_object_is_staged(x.o, 0)); /* as one of them is */
        read_ranges(&x, 0);
        if (decode_all(&x, 0, &err) < 0)
            fail_msg("%s", err.text);
        hs_object_parts(x.o, 0, x.slot, at);
        for (int p = 0; p < 5; p++) {
            const tiny_tensor *t = tiny_find(x.model, names[p]);
            uint8_t *want = malloc(tiny_nbytes(t));
            tiny_bytes(t, want);
            assert_memory_equal(at[p], want, tiny_nbytes(t));
            free(want);
        }
        hs_object_describe(x.o, 0, 0, what, sizeof what);
        assert_non_null(strstr(what, "experts-00000.hss, record 1 (l0.e1.down"));
        /* Damage is said of the record that has it. */
        for (int k = 0; k < 3; k++) {
            static const char *const said[] = {"record 1 (l0.e1.down", "record 0 (l0.e0.gate", "(head.weight"};
            hs_object_describe(x.o, 0, (uint32_t)k, what, sizeof what);
            assert_non_null(strstr(what, said[k]));
            x.staging[r[k].dst_offset] ^= 1;
            assert_int_equal(decode_all(&x, 0, &err), -EBADMSG);
            if (!strstr(err.text, said[k]) || !strstr(err.text, "at byte 0 of the record"))
                fail_msg("'%s' is not in: %s", said[k], err.text);
            x.staging[r[k].dst_offset] ^= 1;
        }
        close_model(&x);
    }
}

/* Every byte of both records, staged and not. */
static void a_damaged_record_is_named(void **state)
{
    (void)state;
    opened x;
    open_model(&x, &tiny_small, true);
    for (uint32_t obj = 0; obj < 2; obj++) {
        hs_frame_iter it = {0};
        hs_frame f;
        uint64_t stored = 0;
        char what[64];
        while (hs_object_next_frame(x.o, obj, &it, &f))
            stored = f.stored_offset + f.stored_bytes;
        snprintf(what, sizeof what, "experts-00000.hss, record %u", obj);
        read_ranges(&x, obj);
        uint8_t *bytes = hs_object_is_staged(x.o, obj) ? x.staging : x.slot;
        for (uint64_t i = 0; i < stored; i++) {
            hs_err err = {0};
            bytes[i] ^= (uint8_t)(1u << i % 8);
            assert_int_equal(decode_all(&x, obj, &err), -EBADMSG);
            if (!strstr(err.text, what) || !strstr(err.text, "l0.e"))
                fail_msg("'%s' is not in: %s", what, err.text);
            bytes[i] ^= (uint8_t)(1u << i % 8);
        }
        assert_int_equal(decode_all(&x, obj, NULL), 0);
        check_parts(&x, obj);
    }
    close_model(&x);
}

static void neighbours_are_read_as_one_range(void **state)
{
    (void)state;
    opened x;
    hs_range r[HS_OBJECT_MAX_RANGES];
    open_model(&x, &tiny_small, false);
    assert_int_equal(hs_object_ranges(x.o, 0, r), 1);
    close_model(&x);
    open_model(&x, &tiny_wide, false);
    assert_int_equal(hs_object_ranges(x.o, 0, r), 2); /* two files */
    assert_int_not_equal(r[0].file, r[1].file);
    close_model(&x);
    open_model(&x, &tiny_wide, true);
    assert_int_equal(hs_object_ranges(x.o, 0, r), 1);
    assert_true(r[0].len < hs_object_raw_bytes(x.o, 0)); /* compressed */
    close_model(&x);
}

static void absent_parts_are_null_and_bad_tuples_refused(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        opened x;
        hs_objects *o = NULL;
        hs_err err = {0};
        open_model(&x, &tiny_small, packed);
        const hs_checkpoint *c = hs_source_checkpoint(x.s);
        uint32_t up = hs_checkpoint_find(c, "l0.e0.up"), other = hs_checkpoint_find(c, "l0.e1.up");
        uint32_t parts[3] = {HS_NO_TENSOR, up, HS_NO_TENSOR};
        assert_int_equal(hs_objects_create(x.s, parts, 1, 3, &o, &err), 0);
        const void *at[HS_OBJECT_MAX_PARTS];
        hs_object_parts(o, 0, x.slot, at);
        assert_null(at[0]);
        assert_non_null(at[1]);
        assert_null(at[2]);
        hs_objects_destroy(&o);
        parts[1] = HS_NO_TENSOR;
        assert_int_equal(hs_objects_create(x.s, parts, 1, 3, &o, &err), -EINVAL);
        assert_non_null(strstr(err.text, "object 0 has no tensors"));
        assert_int_equal(hs_objects_create(x.s, parts, 1, 9, &o, &err), -EINVAL);
        assert_int_equal(hs_objects_create(x.s, parts, 0, 1, &o, &err), -EINVAL);
        const uint32_t far[5] = {up, hs_checkpoint_find(c, "embed.weight"), hs_checkpoint_find(c, "norm.weight"),
                                 hs_checkpoint_find(c, "head.weight"), other};
        if (packed) {
            assert_int_equal(hs_objects_create(x.s, far, 1, 5, &o, &err), -EBADMSG);
            assert_non_null(strstr(err.text, "l0.e1.up is not in one of 4 records"));
        }
        assert_null(o);
        close_model(&x);
    }
}

/* The small model's four experts, each of four tensors of three types, straight from the file. */
static void experts_of_a_gguf_file_have_parts_of_several_types(void **state)
{
    (void)state;
    static const char *const names[N_PARTS] = {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight",
                                               "ffn_gate_up_exps.weight"};
    for (uint32_t n_files = 1; n_files <= 3; n_files += 2) {
        char file[FOLDER_PATH + 32], name[64], what[300];
        uint32_t parts[4 * N_PARTS];
        opened x = {0};
        folder_create(x.path);
        gguf_small(x.path, "m", n_files);
        snprintf(file, sizeof file, "%s/%s", x.path, n_files == 1 ? "m.gguf" : "m-00001-of-00003.gguf");
        assert_int_equal(hs_source_open(file, &x.s, NULL), 0);
        const hs_checkpoint *c = hs_source_checkpoint(x.s);
        for (uint32_t i = 0; i < 4 * N_PARTS; i++) {
            snprintf(name, sizeof name, "blk.0.%s.%u", names[i % N_PARTS], i / N_PARTS);
            parts[i] = hs_checkpoint_find(c, name);
        }
        assert_int_equal(hs_objects_create(x.s, parts, 4, N_PARTS, &x.o, NULL), 0);
        x.slot = calloc(1, hs_objects_slot_bytes(x.o));
        for (uint32_t obj = 0; obj < 4; obj++) {
            const void *at[HS_OBJECT_MAX_PARTS];
            read_ranges(&x, obj);
            hs_object_parts(x.o, obj, x.slot, at);
            for (uint32_t p = 0; p < N_PARTS; p++) {
                const hs_tensor *t = &c->tensors[parts[obj * N_PARTS + p]];
                uint8_t want[8192];
                assert_int_equal(pread(folder_fd(&x, t->file), want, t->nbytes, (off_t)t->offset), t->nbytes);
                assert_memory_equal(at[p], want, t->nbytes);
            }
            assert_int_equal(hs_object_raw_bytes(x.o, obj), 2 * 4608 + 1680 + 36);
            assert_int_equal(hs_object_frames(x.o, obj), 0);
            hs_object_describe(x.o, obj, 0, what, sizeof what);
            snprintf(name, sizeof name, ".gguf, tensor blk.0.ffn_gate_exps.weight.%u", obj);
            assert_non_null(strstr(what, name));
        }
        close_model(&x);
    }
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    opened x;
    open_model(&x, &tiny_small, true);
    uint32_t part = hs_checkpoint_find(hs_source_checkpoint(x.s), "l0.e0.up");
    int r = -1;
    for (int64_t n = 0; r < 0; n++) {
        hs_objects *o = NULL;
        hs_err err = {0};
        hs_mem_fail_after(n);
        r = hs_objects_create(x.s, &part, 1, 1, &o, &err);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || (err.text[0] && !o));
        hs_objects_destroy(&o);
        assert_true(n < 100);
    }
    close_model(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_come_out_of_both_kinds_of_folder),
        cmocka_unit_test(an_object_may_be_in_several_records),
        cmocka_unit_test(a_damaged_record_is_named),
        cmocka_unit_test(neighbours_are_read_as_one_range),
        cmocka_unit_test(absent_parts_are_null_and_bad_tuples_refused),
        cmocka_unit_test(experts_of_a_gguf_file_have_parts_of_several_types),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* labels: unit */
/*
 * test_objects_random.c - the object index over random folders: tensors of any size in any order, objects of any of
 * them, parts that do not exist. After create everything that the index promises is checked for every object, and every
 * part's bytes are found where they should be. The seed is printed; `store_test_objects_random SEED` repeats one.
 */
#include "unit/store/folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/objects.h"

#define ROUNDS      60u
#define MAX_TENSORS 60u
#define MAX_OBJECTS 12u
#define MAX_TEXT    8192u

typedef struct world {
    uint64_t random;
    char path[FOLDER_PATH];
    uint32_t n_tensors, n_objects, n_parts;
    uint64_t offset[MAX_TENSORS], bytes[MAX_TENSORS], data;
    uint8_t *image;                                    /* the file's data */
    uint32_t parts[MAX_OBJECTS * HS_OBJECT_MAX_PARTS]; /* tensor indexes of this test */
} world;

static uint64_t first_seed = 1, n_seeds = ROUNDS;

static uint32_t below(world *w, uint32_t n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->random >> 33) % n);
}

/* Sizes around pages and alignments more often than others. */
static uint64_t any_size(world *w)
{
    static const uint32_t edges[] = {1, 63, 64, 4095, 4096, 4097, 8192, 20000};
    return below(w, 2) ? edges[below(w, sizeof edges / sizeof edges[0])] : 1 + below(w, 9000);
}

static void write_folder(world *w)
{
    static char text[MAX_TEXT];
    size_t n = 1;
    w->n_tensors = 1 + below(w, MAX_TENSORS);
    w->data = 0;
    strcpy(text, "{");
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        w->offset[i] = w->data;
        w->bytes[i] = any_size(w);
        w->data += w->bytes[i];
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[%" PRIu64 "],\"data_offsets\":[%" PRIu64
                              ",%" PRIu64 "]}",
                              i ? "," : "", i, w->bytes[i], w->offset[i], w->data);
    }
    assert_true(n + 2 < sizeof text);
    strcpy(text + n, "}");
    w->image = malloc(w->data);
    assert_non_null(w->image);
    for (uint64_t i = 0; i < w->data; i++)
        w->image[i] = (uint8_t)below(w, 256);
    folder_safetensors(w->path, "model.safetensors", text, w->image, w->data);
    folder_write(w->path, "config.json", "{}", 2);
}

static void choose_objects(world *w)
{
    w->n_objects = 1 + below(w, MAX_OBJECTS);
    w->n_parts = 1 + below(w, HS_OBJECT_MAX_PARTS);
    for (uint32_t i = 0; i < w->n_objects * w->n_parts; i++) {
        bool first = i % w->n_parts == 0;
        w->parts[i] = first || below(w, 5) ? below(w, w->n_tensors) : HS_NO_TENSOR;
        for (uint32_t k = i - i % w->n_parts; k < i; k++) /* a tensor is one part of an object */
            if (w->parts[k] == w->parts[i])
                w->parts[i] = HS_NO_TENSOR;
    }
}

/* What ranges promise; reads them into the slot. */
static void check_ranges(const hs_objects *o, uint32_t obj, uint8_t *slot)
{
    hs_range r[HS_OBJECT_MAX_RANGES];
    uint32_t n = hs_object_ranges(o, obj, r), n_fds;
    const int *fds = hs_objects_fds(o, &n_fds);
    uint64_t bytes = 0;
    assert_true(n >= 1 && n <= HS_OBJECT_MAX_RANGES);
    assert_false(hs_object_is_staged(o, obj));
    for (uint32_t i = 0; i < n; i++) {
        assert_true(r[i].file < n_fds && r[i].len);
        assert_int_equal((r[i].offset | r[i].len | r[i].dst_offset) % 4096, 0);
        assert_true(r[i].dst_offset + r[i].len <= hs_objects_slot_bytes(o));
        for (uint32_t k = 0; k < i; k++)
            assert_true(r[k].dst_offset + r[k].len <= r[i].dst_offset || r[i].dst_offset + r[i].len <= r[k].dst_offset);
        ssize_t got = pread(fds[r[i].file], slot + r[i].dst_offset, r[i].len, (off_t)r[i].offset);
        assert_true(got > (ssize_t)r[i].len - 4096);
        bytes += r[i].len;
    }
    assert_int_equal(bytes, hs_object_read_bytes(o, obj));
}

static void check_parts(const world *w, const hs_objects *o, uint32_t obj, const uint8_t *slot)
{
    const void *parts[HS_OBJECT_MAX_PARTS];
    uint64_t raw = 0;
    hs_object_parts(o, obj, slot, parts);
    for (uint32_t p = 0; p < w->n_parts; p++) {
        uint32_t t = w->parts[obj * w->n_parts + p];
        if (t == HS_NO_TENSOR) {
            assert_null(parts[p]);
            continue;
        }
        assert_memory_equal(parts[p], w->image + w->offset[t], w->bytes[t]);
        raw += w->bytes[t];
    }
    assert_int_equal(raw, hs_object_raw_bytes(o, obj));
    assert_int_equal(hs_object_frames(o, obj), 0);
}

static void run(uint64_t seed)
{
    world w = {.random = seed};
    hs_source *s = NULL;
    hs_objects *o = NULL;
    hs_err err = {0};
    uint32_t parts[MAX_OBJECTS * HS_OBJECT_MAX_PARTS];
    char name[16], text[300];
    folder_create(w.path);
    write_folder(&w);
    choose_objects(&w);
    if (hs_source_open(w.path, &s, &err) < 0)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < w.n_objects * w.n_parts; i++) {
        snprintf(name, sizeof name, "t%u", w.parts[i]);
        parts[i] = w.parts[i] == HS_NO_TENSOR ? HS_NO_TENSOR : hs_checkpoint_find(hs_source_checkpoint(s), name);
    }
    if (hs_objects_create(s, parts, w.n_objects, w.n_parts, &o, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(hs_objects_count(o), w.n_objects);
    assert_int_equal(hs_objects_slot_bytes(o) % 4096, 0);
    for (uint32_t i = 0; i < w.n_objects; i++) {
        uint8_t *slot = calloc(1, hs_objects_slot_bytes(o));
        check_ranges(o, i, slot);
        check_parts(&w, o, i, slot);
        hs_object_describe(o, i, 0, text, sizeof text);
        assert_non_null(strstr(text, "model.safetensors"));
        free(slot);
    }
    hs_objects_destroy(&o);
    hs_source_close(&s);
    free(w.image);
    folder_destroy(w.path);
}

static void random_folders(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++) {
        print_message("seed %" PRIu64 "\n", seed);
        run(seed);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10), n_seeds = 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_folders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

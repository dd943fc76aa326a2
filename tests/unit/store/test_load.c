/* labels: unit fault */
/* test_load.c - tensors into memory: the right bytes from both kinds of folder, and who is named when they are not. */
#include "unit/store/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/source.h"

#define GUARD 0xeeu

typedef struct loaded {
    hs_source *s;
    hs_load loads[TINY_MAX_TENSORS];
    uint8_t *mem;
    size_t n;
} loaded;

static void make(const tiny_model *m, bool packed, char *path)
{
    folder_create(path);
    if (packed)
        tiny_write_packed(m, path);
    else
        tiny_write_plain(m, path);
}

/* All tensors, in a turned-round order, each at an odd address with a guard byte behind it. */
static void prepare(loaded *l, const char *path)
{
    assert_int_equal(hs_source_open(path, &l->s, NULL), 0);
    const hs_checkpoint *c = hs_source_checkpoint(l->s);
    l->n = 1;
    for (uint32_t i = 0; i < c->n_tensors; i++)
        l->n += c->tensors[i].nbytes + 2;
    l->mem = malloc(l->n);
    assert_non_null(l->mem);
    memset(l->mem, GUARD, l->n);
    size_t at = 1;
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        l->loads[c->n_tensors - 1 - i] = (hs_load){i, l->mem + at};
        at += c->tensors[i].nbytes + 1;
    }
}

static int load(loaded *l, hs_pool *pool, hs_load_progress progress, void *ctx, hs_err *err)
{
    return hs_source_load(l->s, l->loads, hs_source_checkpoint(l->s)->n_tensors, pool, NULL, progress, ctx, err);
}

static void check(const loaded *l, const tiny_model *m)
{
    const hs_checkpoint *c = hs_source_checkpoint(l->s);
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        const hs_tensor *t = &c->tensors[l->loads[i].tensor];
        const uint8_t *got = l->loads[i].dst;
        uint8_t *want = malloc(t->nbytes + 1);
        tiny_bytes(tiny_find(m, t->name), want);
        assert_memory_equal(got, want, t->nbytes);
        assert_int_equal(got[-1], GUARD);
        assert_int_equal(got[t->nbytes], GUARD);
        free(want);
    }
}

static void release(loaded *l)
{
    hs_source_close(&l->s);
    free(l->mem);
}

typedef struct progress_log {
    uint64_t last, total;
    uint32_t calls, cancel_at;
} progress_log;

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    progress_log *p = ctx;
    assert_true(done >= p->last && done <= total);
    p->last = done;
    p->total = total;
    return ++p->calls == p->cancel_at;
}

static void both_kinds_of_folder_give_the_bytes(void **state)
{
    (void)state;
    const tiny_model *models[] = {&tiny_small, &tiny_wide};
    for (int i = 0; i < 12; i++) {
        const tiny_model *m = models[i % 2];
        char path[FOLDER_PATH];
        loaded l;
        hs_pool *pool;
        hs_err err = {0};
        progress_log p = {0};
        assert_int_equal(hs_pool_create(1 + (uint32_t)i / 4, &pool, NULL), 0);
        make(m, i / 2 % 2, path);
        prepare(&l, path);
        if (load(&l, pool, on_progress, &p, &err) < 0)
            fail_msg("%s", err.text);
        check(&l, m);
        assert_int_equal(p.total, hs_source_checkpoint(l.s)->total_bytes);
        assert_int_equal(p.last, p.total);
        release(&l);
        hs_pool_destroy(&pool);
        folder_destroy(path);
    }
}

static void nothing_to_load_is_fine(void **state)
{
    (void)state;
    char path[FOLDER_PATH];
    loaded l;
    hs_pool *pool;
    assert_int_equal(hs_pool_create(1, &pool, NULL), 0);
    make(&tiny_small, true, path);
    prepare(&l, path);
    assert_int_equal(hs_source_load(l.s, NULL, 0, pool, NULL, NULL, NULL, NULL), 0);
    hs_load none = {hs_checkpoint_find(hs_source_checkpoint(l.s), "none.weight"), NULL};
    assert_int_equal(hs_source_load(l.s, &none, 1, pool, NULL, NULL, NULL, NULL), 0);
    release(&l);
    hs_pool_destroy(&pool);
    folder_destroy(path);
}

static void progress_can_cancel(void **state)
{
    (void)state;
    char path[FOLDER_PATH];
    hs_pool *pool;
    assert_int_equal(hs_pool_create(2, &pool, NULL), 0);
    for (int packed = 0; packed < 2; packed++) {
        loaded l;
        hs_err err = {0};
        progress_log p = {.cancel_at = 1};
        make(&tiny_wide, packed, path);
        prepare(&l, path);
        assert_int_equal(load(&l, pool, on_progress, &p, &err), -ECANCELED);
        assert_non_null(strstr(err.text, "cancelled"));
        release(&l);
        folder_destroy(path);
    }
    hs_pool_destroy(&pool);
}

static void flip(const char *path, const char *name, size_t at)
{
    uint8_t byte;
    int fd = folder_open(path, name, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* Every byte of a small dense shard's records, and every 5th of the experts', of which test_objects.c tries each. */
static void every_damaged_record_byte_is_named(void **state)
{
    (void)state;
    char path[FOLDER_PATH], part[64];
    hs_pool *pool;
    assert_int_equal(hs_pool_create(1, &pool, NULL), 0);
    make(&tiny_small, true, path);
    loaded l;
    prepare(&l, path);
    static const char *const names[] = {"dense-00000.hss", "experts-00000.hss"};
    for (int f = 0; f < 2; f++) {
        size_t n, tried = 0;
        uint8_t *shard = folder_read(path, names[f], &n);
        for (size_t at = 0; at < n; at++) {
            uint32_t record = 0;
            if (tiny_area_of(shard, n, at, &record) != TINY_RECORD || (f && at % 5))
                continue;
            hs_err err = {0};
            flip(path, names[f], at);
            assert_int_equal(load(&l, pool, NULL, NULL, &err), -EBADMSG);
            snprintf(part, sizeof part, "%s: record %u (", names[f], record);
            if (!strstr(err.text, part) || !strstr(err.text, "damaged"))
                fail_msg("byte %zu: '%s' is not in: %s", at, part, err.text);
            flip(path, names[f], at);
            tried++;
        }
        assert_true(tried > 100);
        free(shard);
    }
    assert_int_equal(load(&l, pool, NULL, NULL, NULL), 0);
    check(&l, &tiny_small);
    release(&l);
    hs_pool_destroy(&pool);
    folder_destroy(path);
}

static void a_file_changed_after_opening_is_named(void **state)
{
    (void)state;
    char path[FOLDER_PATH], full[FOLDER_PATH + 64];
    hs_pool *pool;
    assert_int_equal(hs_pool_create(2, &pool, NULL), 0);
    for (int packed = 0; packed < 2; packed++) {
        const char *name = packed ? "dense-00000.hss" : "model-00001-of-00002.safetensors";
        loaded l;
        hs_err err = {0};
        make(&tiny_wide, packed, path);
        prepare(&l, path);
        snprintf(full, sizeof full, "%s/%s", path, name);
        assert_int_equal(truncate(full, 5000), 0);
        assert_int_equal(load(&l, pool, NULL, NULL, &err), -ESTALE);
        assert_non_null(strstr(err.text, name));
        size_t n;
        uint8_t *other = folder_read(path, name, &n);
        unlink(full);
        assert_true(load(&l, pool, NULL, NULL, &err) < 0);
        assert_non_null(strstr(err.text, name));
        folder_write(path, name, other, n);
        assert_int_equal(load(&l, pool, NULL, NULL, &err), -ESTALE);
        free(other);
        release(&l);
        folder_destroy(path);
    }
    hs_pool_destroy(&pool);
}

static void every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    hs_pool *pool;
    assert_int_equal(hs_pool_create(2, &pool, NULL), 0);
    for (int packed = 0; packed < 2; packed++) {
        char path[FOLDER_PATH];
        loaded l;
        make(&tiny_small, packed, path);
        prepare(&l, path);
        int r = -1;
        for (int64_t n = 0; r < 0; n++) {
            hs_err err = {0};
            hs_mem_fail_after(n);
            r = load(&l, pool, NULL, NULL, &err);
            hs_mem_fail_after(-1);
            assert_true(r == 0 || err.text[0]);
            assert_true(n < 1000);
        }
        check(&l, &tiny_small);
        release(&l);
        folder_destroy(path);
    }
    hs_pool_destroy(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_kinds_of_folder_give_the_bytes),
        cmocka_unit_test(nothing_to_load_is_fine),
        cmocka_unit_test(progress_can_cancel),
        cmocka_unit_test(every_damaged_record_byte_is_named),
        cmocka_unit_test(a_file_changed_after_opening_is_named),
        cmocka_unit_test(every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

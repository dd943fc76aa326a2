/* labels: unit */
/* Packs whose experts lie in several folders: who gets what, and what readers find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/objects.h"
#include "store/source.h"
#include "striped.h"

/* ---- who gets what ---- */

static uint64_t bytes_of(const hs__pk_plan *p, uint32_t record)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->records[record].n_parts; i++)
        bytes += p->parts[p->records[record].first_part + i].bytes;
    return bytes;
}

static hs__pk_plan *striped_plan(const char *src, const hs__pk_stripe *s, uint64_t shard_bytes)
{
    static const hs_pack_monitor deaf;
    hs__pk_work w = {.monitor = &deaf};
    hs__pk_plan *p = NULL;
    assert_int_equal(hs__pk_plan_create(src, shard_bytes, &w, &p, NULL), 0);
    assert_int_equal(hs__pk_plan_stripe(p, s, shard_bytes, NULL), 0);
    return p;
}

/* Number of the expert that a record is of, or is a piece of. */
static uint32_t expert_of(const hs__pk_plan *whole, const hs__pk_plan *p, uint32_t record)
{
    const hs__pk_part *is = &p->parts[p->records[record].first_part];
    for (uint32_t first = whole->shards[0].n_records, x = first; x < whole->n_records; x++) {
        const hs__pk_record *rec = &whole->records[x];
        for (uint32_t i = rec->first_part; i < rec->first_part + rec->n_parts; i++) {
            const hs__pk_part *of = &whole->parts[i];
            if (of->source == is->source && is->offset >= of->offset && is->offset < of->offset + of->bytes)
                return x - first;
        }
    }
    fail_msg("a record of no expert");
    return 0;
}

/* Of the 64 experts of every layer each drive has its share, give or take one expert, or a page of each where these are
 * cut; no shard is too big or has records of two drives; no expert is in two records of one drive. */
static void every_layer_is_dealt_out_by_shares(void **state)
{
    (void)state;
    static const char src[] = TESTS_DIR "/models/tale-moe-fp8";
    static const struct {
        uint32_t n, share[8];
    } stripes[] = {{2, {1, 1}},    {2, {3, 1}}, {3, {700, 3500, 1400}},
                   {3, {0, 1, 1}}, {2, {0, 5}}, {8, {1, 2, 3, 4, 5, 6, 7, 8}}};
    hs__pk_stripe one = {.n = 1, .share = {1}};
    hs__pk_plan *whole = striped_plan(src, &one, MIB);
    uint32_t first = whole->shards[0].n_records, n_experts = whole->n_records - first;
    assert_int_equal(n_experts, 320);
    double expert = (double)bytes_of(whole, first), layer = 64 * expert;
    for (size_t k = 0; k < 2 * sizeof stripes / sizeof *stripes; k++) {
        bool split = k % 2;
        hs__pk_stripe s = {.n = stripes[k / 2].n, .split_bytes = split ? 1000 : MIB};
        memcpy(s.share, stripes[k / 2].share, sizeof stripes[0].share);
        hs__pk_plan *p = striped_plan(src, &s, MIB);
        double sum = 0, got[5][8] = {{0}}, all = 0;
        static uint8_t drives[320];
        memset(drives, 0, sizeof drives);
        for (uint32_t d = 0; d < s.n; d++)
            sum += s.share[d];
        for (uint32_t i = 0; i < p->n_shards; i++) {
            const hs__pk_shard_plan *sh = &p->shards[i];
            assert_true(sh->dense || sh->source_bytes <= MIB);
            assert_true(!sh->dense || sh->drive == 0);
            for (uint32_t r = sh->first_record; !sh->dense && r < sh->first_record + sh->n_records; r++) {
                uint32_t x = expert_of(whole, p, r);
                assert_false(drives[x] >> sh->drive & 1);
                drives[x] = (uint8_t)(drives[x] | 1 << sh->drive);
                got[x / 64][sh->drive] += (double)bytes_of(p, r);
                all += (double)bytes_of(p, r);
            }
        }
        assert_true(all == 5 * layer);
        assert_int_equal(p->split, split && s.share[1] && (s.share[0] || s.n > 2));
        assert_true(split || p->n_records == whole->n_records);
        for (int l = 0; l < 5; l++)
            for (uint32_t d = 0; d < s.n; d++) {
                double want = layer * s.share[d] / sum, most = expert * (split ? 0.35 : 1.01);
                if (got[l][d] > want + most || got[l][d] < want - most)
                    fail_msg("stripe %zu, layer %d, drive %u: %.0f bytes, not about %.0f", k, l, d, got[l][d], want);
            }
        hs__pk_plan_destroy(&p);
    }
    hs__pk_plan_destroy(&whole);
}

/* Of the bandwidth of two like drives, what `misses` of a layer's 64 experts get, taken at random. */
static double worth(const hs__pk_plan *whole, const hs__pk_plan *p, int misses)
{
    static double bytes[320][2];
    double time = 0, all = 0;
    uint32_t seed = 1;
    memset(bytes, 0, sizeof bytes);
    for (uint32_t i = 0; i < p->n_shards; i++)
        for (uint32_t r = p->shards[i].first_record, k = 0; !p->shards[i].dense && k < p->shards[i].n_records; k++, r++)
            bytes[expert_of(whole, p, r)][p->shards[i].drive] += (double)bytes_of(p, r);
    for (uint32_t t = 0; t < 2000; t++) {
        double load[2] = {0};
        uint64_t chosen = 0;
        for (int n = 0; n < misses;) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t x = seed >> 26;
            if (chosen >> x & 1)
                continue;
            chosen |= 1ull << x;
            load[0] += bytes[t % 5 * 64 + x][0];
            load[1] += bytes[t % 5 * 64 + x][1];
            n++;
        }
        time += load[0] > load[1] ? load[0] : load[1];
        all += load[0] + load[1];
    }
    return all / 2 / time;
}

static void a_tokens_misses_keep_both_drives_busy(void **state)
{
    (void)state;
    static const char src[] = TESTS_DIR "/models/tale-moe-fp8";
    hs__pk_stripe s = {.n = 2, .share = {1, 1}, .split_bytes = MIB}, one = {.n = 1, .share = {1}};
    hs__pk_plan *whole = striped_plan(src, &one, MIB), *dealt = striped_plan(src, &s, MIB);
    s.split_bytes = 1000;
    hs__pk_plan *cut = striped_plan(src, &s, MIB);
    for (int n = 1; n <= 8; n++) {
        double a = worth(whole, whole, n), b = worth(whole, dealt, n), c = worth(whole, cut, n);
        print_message("%d misses, of two drives' bandwidth: one drive %.2f, whole experts %.2f, cut %.2f\n", n, a, b,
                      c);
        assert_true(a == 0.5 &&
                    b > (n > 5   ? 0.7
                         : n > 2 ? 0.6
                                 : 0.49) &&
                    c > (n > 1 ? 0.95 : 0.9)); /* a page of 49 KiB is much */
    }
    hs__pk_plan_destroy(&whole);
    hs__pk_plan_destroy(&dealt);
    hs__pk_plan_destroy(&cut);
}

static void one_drive_is_as_before(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_BF16);
    hs__pk_stripe one = {.n = 1, .share = {1}};
    hs__pk_plan *p = striped_plan(t->src, &one, MIB);
    for (uint32_t i = 0; i < p->n_shards; i++)
        assert_int_equal(p->shards[i].drive, 0);
    hs__pk_plan_destroy(&p);
    hs_pack_options o = trip_options(t);
    o.n_stripe = 0;
    o.split_bytes = 0;
    assert_packs(&o);
    size_t n;
    char *text = read_file(t->dst, HS__PK_MANIFEST, &n);
    text[n] = '\0';
    assert_null(strstr(text, "stripe"));
    free(text);
    trip_end(t);
}

#define N_KINDS 6

/* The k-th kind of pack, of either source: raw, compressed, both. */
static trip *begin_kind(int k, hs_pack_options *ret)
{
    trip *t = trip_begin(k % 2 ? SOURCE_FP8 : SOURCE_BF16);
    *ret = trip_options(t);
    ret->codec = k / 2 ? HS_PACK_EXPONENT : HS_PACK_RAW;
    ret->keep_raw = k / 2 == 2;
    return t;
}

static int64_t version_of(const trip *t)
{
    json_t *m = NULL;
    int64_t version = 0;
    char path[300];
    snprintf(path, sizeof path, "%s/" HS__PK_MANIFEST, t->dst);
    assert_int_equal(hs_json_load_file(path, MIB, &m, NULL), 0);
    assert_int_equal(hs_json_int(m, path, "version", 1, 9, &version, NULL), 0);
    json_decref(m);
    return version;
}

/* Experts whole or cut, which is what older builds must refuse by the version. */
static void comes_back_bit_for_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * N_KINDS; i++) {
        hs_pack_options o;
        trip *t = begin_kind(i / 2, &o);
        o.shares = (const uint32_t[]){1, 2, 2};
        o.split_bytes = i % 2 ? 1 : 0;
        assert_packs(&o);
        assert_true(size_of(t->b, shard_in(t->b)) > 0);
        assert_true(size_of(t->c, shard_in(t->c)) > 0);
        assert_int_equal(version_of(t), o.split_bytes ? 4 : o.keep_raw ? 2 : 1);
        assert_complete(t);
        assert_packs(&o); /* complete already */
        o.check = true;
        assert_packs(&o);
        trip_end(t);
    }
}

/* Every tensor, loaded by itself (hs_free each). */
static void **load_all(const hs_source *s, hs_pool *pool)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    hs_load *loads = hs_calloc(c->n_tensors, sizeof *loads);
    void **bytes = hs_calloc(c->n_tensors, sizeof *bytes);
    hs_err err = {0};
    assert_true(loads && bytes);
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        bytes[i] = hs_malloc(c->tensors[i].nbytes + 1);
        assert_non_null(bytes[i]);
        loads[i] = (hs_load){i, bytes[i]};
    }
    if (hs_source_load(s, loads, c->n_tensors, pool, NULL, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    hs_free(loads);
    return bytes;
}

/* The tensors of each expert: their number. */
static uint32_t find_experts(const hs_checkpoint *c, uint32_t parts[][6])
{
    static const char *const what[] = {"gate_proj.weight",         "up_proj.weight",
                                       "down_proj.weight",         "gate_proj.weight_scale_inv",
                                       "up_proj.weight_scale_inv", "down_proj.weight_scale_inv"};
    uint32_t n = 0;
    for (int x = 0; x < 16; x++) {
        for (int k = 0; k < 6; k++) {
            char name[100];
            snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s", x / 8, x % 8, what[k]);
            parts[n][k] = hs_checkpoint_find(c, name);
        }
        n += parts[n][0] != HS_NO_TENSOR;
    }
    return n;
}

/* An object as it is read and decoded: its parts are those bytes. */
static void assert_object(const hs_objects *o, uint32_t object, const hs_checkpoint *c, const uint32_t *part,
                          void *const *bytes)
{
    uint32_t n_fds, n;
    const int *fds = hs_objects_fds(o, &n_fds);
    hs_range ranges[HS_OBJECT_MAX_RANGES];
    hs_frame_iter it = {0};
    hs_frame f;
    hs_decoder *d = NULL;
    hs_err err = {0};
    uint8_t *slot = hs_malloc(hs_objects_slot_bytes(o)), *staging = hs_malloc(hs_object_read_bytes(o, object));
    assert_true(slot && staging && hs_decoder_create(&d, NULL) == 0);
    uint8_t *to = hs_object_is_staged(o, object) ? staging : slot;
    n = hs_object_ranges(o, object, ranges);
    for (uint32_t i = 0; i < n; i++)
        assert_true(pread(fds[ranges[i].file], to + ranges[i].dst_offset, ranges[i].len, (off_t)ranges[i].offset) > 0);
    while (hs_object_next_frame(o, object, &it, &f))
        if (hs_object_decode_frame(o, object, &f, d, to, slot, &err) < 0)
            fail_msg("%s", err.text);
    const void *at[HS_OBJECT_MAX_PARTS];
    hs_object_parts(o, object, slot, at);
    for (uint32_t k = 0; k < 6; k++)
        if (part[k] != HS_NO_TENSOR)
            assert_memory_equal(at[k], bytes[part[k]], c->tensors[part[k]].nbytes);
    hs_decoder_destroy(&d);
    hs_free(slot);
    hs_free(staging);
}

/* The number of experts; *ret_cut: of these, in several records. */
static uint32_t assert_same_weights(const hs_source *plain, const hs_source *packed, uint32_t *ret_cut)
{
    const hs_checkpoint *c = hs_source_checkpoint(plain), *pc = hs_source_checkpoint(packed);
    hs_pool *pool = NULL;
    assert_int_equal(hs_pool_create(2, &pool, NULL), 0);
    void **a = load_all(plain, pool), **b = load_all(packed, pool);
    assert_int_equal(c->n_tensors, pc->n_tensors);
    uint32_t parts[17][6], n = find_experts(c, parts);
    hs_objects *o = NULL;
    hs_err err = {0};
    if (hs_objects_create(packed, parts[0], n, 6, &o, &err) < 0)
        fail_msg("%s", err.text);
    *ret_cut = 0;
    for (uint32_t i = 0; i < n; i++) {
        hs_range ranges[HS_OBJECT_MAX_RANGES];
        assert_object(o, i, c, parts[i], a);
        if (hs_objects_has_raw(o))
            assert_object(o, i | HS_OBJECT_RAW, c, parts[i], a);
        *ret_cut += hs_object_ranges(o, i, ranges) > 1;
    }
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        assert_string_equal(c->tensors[i].name, pc->tensors[i].name);
        assert_memory_equal(a[i], b[i], c->tensors[i].nbytes);
        hs_free(a[i]);
        hs_free(b[i]);
    }
    hs_free(a);
    hs_free(b);
    hs_objects_destroy(&o);
    hs_pool_destroy(&pool);
    return n;
}

/* What a reader finds of every tensor, in a slot and loaded by itself, is what the source has of it: of experts cut
 * inside their tensors, raw and compressed, and with the raw ones kept. */
static void a_cut_expert_is_whole_in_its_slot(void **state)
{
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        hs_pack_options o;
        trip *t = begin_kind(k, &o);
        o.shares = (const uint32_t[]){2, 3, 2};
        assert_packs(&o);
        hs_source *plain = NULL, *packed = NULL;
        assert_int_equal(hs_source_open(t->src, &plain, NULL), 0);
        assert_int_equal(hs_source_open(t->dst, &packed, NULL), 0);
        uint32_t n_cut, n = assert_same_weights(plain, packed, &n_cut);
        assert_true(n > 4 && n_cut == n);
        hs_source_close(&packed);
        hs_source_close(&plain);
        trip_end(t);
    }
}

/* A striped pack is the same model as any other: only shards are cut otherwise. Without the other folders, its links
 * followed, it is still itself. */
static void a_plain_copy_is_a_copy(void **state)
{
    (void)state;
    hs_err err = {0};
    trip *t = trip_begin(SOURCE_BF16);
    char command[700];
    hs_pack_options o = trip_options(t);
    assert_packs(&o);
    snprintf(command, sizeof command, "cp -rL '%s' '%s.copy'", t->dst, t->dst);
    assert_int_equal(system(command), 0);
    hs_source *s = NULL;
    char copy[210];
    snprintf(copy, sizeof copy, "%s.copy", t->dst);
    assert_int_equal(hs_source_open(t->dst, &s, NULL), 0);
    if (hs_source_add_mirror(s, copy, &err) < 0)
        fail_msg("%s", err.text);
    hs_source_close(&s);
    /* What is damaged is mended from the copy where it lies, and from the source. */
    for (int i = 0; i < 4; i++) {
        const char *folder = i % 2 ? t->b : t->c;
        uint64_t n = 0, problems = 0;
        flip_bits(folder, shard_in(folder), 5000, 1);
        assert_int_equal(hs_verify(t->dst, NULL, NULL, &problems, &err), -EBADMSG);
        assert_non_null(strstr(err.text, shard_in(folder)));
        if (hs_repair(t->dst, i / 2 ? copy : NULL, NULL, NULL, &n, &problems, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(n, 1);
        assert_complete(t);
    }
    remove_tree(t->b);
    remove_tree(t->c);
    assert_int_equal(hs_verify(copy, NULL, NULL, NULL, NULL), 0);
    trip_end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_is_dealt_out_by_shares),
        cmocka_unit_test(a_tokens_misses_keep_both_drives_busy),
        cmocka_unit_test(one_drive_is_as_before),
        cmocka_unit_test(comes_back_bit_for_bit),
        cmocka_unit_test(a_cut_expert_is_whole_in_its_slot),
        cmocka_unit_test(a_plain_copy_is_a_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

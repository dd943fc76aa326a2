/* labels: unit fault */
/* Packs whose experts lie in several folders: who gets what, going on after interruptions, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "make.h"
#include "pack/pack_int.h"
#include "store/objects.h"
#include "store/source.h"

#define MIB (1u << 20)

/* src; out: dst and two folders for its shards, back: none of which exists yet. */
typedef struct trip {
    const char *src, *out;
    char dst[200], b[200], c[200], back[200];
    const char *folders[2];
} trip;

static trip *begin(source_kind kind)
{
    static trip t;
    t.src = temp_folder(0);
    t.out = temp_folder(1);
    make_source(t.src, kind);
    snprintf(t.dst, sizeof t.dst, "%s/packed", t.out);
    snprintf(t.b, sizeof t.b, "%s/b", t.out);
    snprintf(t.c, sizeof t.c, "%s/c", t.out);
    snprintf(t.back, sizeof t.back, "%s/back", t.out);
    t.folders[0] = t.b;
    t.folders[1] = t.c;
    return &t;
}

static void end(const trip *t)
{
    remove_tree(t->src);
    remove_tree(t->out);
}

static hs_pack_options options(const trip *t)
{
    return (hs_pack_options){.src = t->src,
                             .dst = t->dst,
                             .codec = HS_PACK_EXPONENT,
                             .shard_bytes = MIB,
                             .threads = 1,
                             .stripe = t->folders,
                             .n_stripe = 2,
                             .split_bytes = 1};
}

static void assert_packs(const hs_pack_options *o)
{
    hs_err err = {0};
    if (hs_pack(o, &err) < 0)
        fail_msg("%s", err.text);
}

static void assert_refused(const hs_pack_options *o, int code, const char *words)
{
    hs_err err = {0};
    int r = hs_pack(o, &err);
    if (r != code || !strstr(err.text, words))
        fail_msg("%d (%s), not %d with \"%s\"", r, err.text, code, words);
}

static void assert_complete(const trip *t)
{
    hs_err err = {0};
    const char *const all[] = {t->dst, t->b, t->c};
    if (hs_verify(t->dst, NULL, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(loads(t->dst));
    for (int i = 0; i < 3; i++) {
        assert_false(file_exists(all[i], HS__PK_LOCK));
        assert_false(file_exists(all[i], HS__PK_STATE));
        assert_false(file_exists(all[i], HS__PK_TMP));
    }
    remove_tree(t->back);
    if (hs_unpack(t->dst, t->back, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_same_folder(t->src, t->back);
    remove_tree(t->back);
}

static void assert_unfinished(const trip *t)
{
    assert_false(file_exists(t->dst, HS__PK_MANIFEST));
    assert_false(loads(t->dst));
    assert_false(loads(t->b));
    assert_true(hs_verify(t->dst, NULL, NULL, NULL, NULL) < 0);
    assert_true(hs_unpack(t->dst, t->back, NULL, NULL, NULL) < 0);
    remove_tree(t->back);
}

/* The first shard that lies in folder: its name. */
static const char *shard_in(const char *folder)
{
    static char name[32];
    struct stat st;
    for (int i = 0; i < 100; i++) {
        char path[300];
        snprintf(name, sizeof name, "experts-%05d.hss", i);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            return name;
    }
    fail_msg("%s has no shard", folder);
    return NULL;
}

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
    trip *t = begin(SOURCE_BF16);
    hs__pk_stripe one = {.n = 1, .share = {1}};
    hs__pk_plan *p = striped_plan(t->src, &one, MIB);
    for (uint32_t i = 0; i < p->n_shards; i++)
        assert_int_equal(p->shards[i].drive, 0);
    hs__pk_plan_destroy(&p);
    hs_pack_options o = options(t);
    o.n_stripe = 0;
    o.split_bytes = 0;
    assert_packs(&o);
    size_t n;
    char *text = read_file(t->dst, HS__PK_MANIFEST, &n);
    text[n] = '\0';
    assert_null(strstr(text, "stripe"));
    free(text);
    end(t);
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

/* Raw, compressed, both; experts whole or cut, which is what older builds must refuse by the version. */
static void comes_back_bit_for_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        trip *t = begin(i % 2 ? SOURCE_FP8 : SOURCE_BF16);
        hs_pack_options o = options(t);
        o.codec = i / 4 ? HS_PACK_EXPONENT : HS_PACK_RAW;
        o.keep_raw = i / 4 == 2;
        o.shares = (const uint32_t[]){1, 2, 2};
        o.split_bytes = i / 2 % 2 ? 1 : 0;
        assert_packs(&o);
        assert_true(size_of(t->b, shard_in(t->b)) > 0);
        assert_true(size_of(t->c, shard_in(t->c)) > 0);
        assert_int_equal(version_of(t), o.split_bytes ? 4 : o.keep_raw ? 2 : 1);
        assert_complete(t);
        assert_packs(&o); /* complete already */
        o.check = true;
        assert_packs(&o);
        end(t);
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
    for (int i = 0; i < 6; i++) {
        trip *t = begin(i % 2 ? SOURCE_FP8 : SOURCE_BF16);
        hs_pack_options o = options(t);
        o.codec = i / 2 ? HS_PACK_EXPONENT : HS_PACK_RAW;
        o.keep_raw = i / 2 == 2;
        o.shares = (const uint32_t[]){2, 3, 2};
        assert_packs(&o);
        hs_source *plain = NULL, *packed = NULL;
        assert_int_equal(hs_source_open(t->src, &plain, NULL), 0);
        assert_int_equal(hs_source_open(t->dst, &packed, NULL), 0);
        uint32_t n_cut, n = assert_same_weights(plain, packed, &n_cut);
        assert_true(n > 4 && n_cut == n);
        hs_source_close(&packed);
        hs_source_close(&plain);
        end(t);
    }
}

/* A striped pack is the same model as any other: only shards are cut otherwise. Without the other folders, its links
 * followed, it is still itself. */
static void a_plain_copy_is_a_copy(void **state)
{
    (void)state;
    hs_err err = {0};
    trip *t = begin(SOURCE_BF16);
    char command[700];
    hs_pack_options o = options(t);
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
    end(t);
}

/* ---- interruptions ---- */

/* Stopped, or killed in a child, at its n-th sign of life, for each n; with and without the folders given again. */
static void goes_on(bool killed)
{
    trip *t = begin(SOURCE_BF16);
    bool stopped = true;
    for (int n = 1; stopped; n++) {
        stopper s = {.stop_at = n, .kill = killed};
        hs_pack_options o = options(t);
        o.n_stripe = n % 3 == 2 && file_exists(t->dst, HS__PK_STATE) ? 0 : 2;
        o.split_bytes = o.n_stripe ? 1 : 0;
        o.keep_raw = true;
        o.monitor = (hs_pack_monitor){.ctx = &s, .progress = stopper_progress, .cancel = &s.cancel};
        pid_t pid = killed ? fork() : 0;
        int r = pid ? 0 : hs_pack(&o, NULL), status = 0;
        if (killed && !pid)
            _exit(r < 0 ? 1 : 0);
        if (killed)
            assert_int_equal(waitpid(pid, &status, 0), pid);
        stopped = killed ? WIFSIGNALED(status) : r < 0;
        assert_true(stopped || status == 0);
        assert_true(!stopped || killed || r == -ECANCELED);
        if (stopped)
            assert_unfinished(t);
        assert_true(n < 300);
    }
    assert_complete(t);
    end(t);
}

static void cancelled_it_goes_on(void **state)
{
    (void)state;
    goes_on(false);
}

static void killed_it_goes_on(void **state)
{
    (void)state;
    goes_on(true);
}

static hs_pack_options stopped_at(trip *t, stopper *s, int n)
{
    *s = (stopper){.stop_at = n};
    hs_pack_options o = options(t);
    o.monitor = (hs_pack_monitor){.ctx = s, .progress = stopper_progress, .cancel = &s->cancel};
    return o;
}

/* An unfinished pack in which folder b has a shard already. */
static hs_pack_options half_done(trip *t)
{
    stopper s;
    for (int n = 1; n < 300; n++) {
        hs_pack_options o = stopped_at(t, &s, n);
        assert_int_equal(hs_pack(&o, NULL), -ECANCELED);
        char link[300];
        struct stat st;
        for (int i = 0; i < 20; i++) {
            snprintf(link, sizeof link, "%s/experts-%05d.hss", t->b, i);
            if (lstat(link, &st) == 0)
                return options(t);
        }
    }
    fail_msg("no shard came to folder b");
    return options(t);
}

/* Killed between a shard and its link: the shard is found, not written again. */
static void a_shard_without_its_link_is_found(void **state)
{
    (void)state;
    trip *t = begin(SOURCE_BF16);
    hs_pack_options o = half_done(t);
    char shard[300], link[300];
    struct stat was, is;
    snprintf(shard, sizeof shard, "%s/%s", t->b, shard_in(t->b));
    snprintf(link, sizeof link, "%s/%s", t->dst, shard_in(t->b));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(stat(shard, &was), 0);
    assert_packs(&o);
    assert_int_equal(stat(shard, &is), 0);
    assert_true(was.st_ino == is.st_ino && was.st_mtim.tv_nsec == is.st_mtim.tv_nsec);
    assert_complete(t);
    end(t);
}

static void out_of_memory_it_goes_on(void **state)
{
    (void)state;
    trip *t = begin(SOURCE_TINY);
    int r = -ENOMEM;
    for (int n = 0; r < 0; n++) {
        hs_err err = {0};
        hs_pack_options o = options(t);
        hs_mem_fail_after(n);
        r = hs_pack(&o, &err);
        hs_mem_fail_after(-1);
        if (r < 0)
            assert_int_equal(r, -ENOMEM);
        if (r < 0)
            assert_false(loads(t->dst));
        assert_true(n < 3000);
    }
    assert_complete(t);
    end(t);
}

/* ---- what is refused ---- */

static void refuses_folders(void **state)
{
    (void)state;
    trip *t = begin(SOURCE_BF16);
    char inside[300], alias[300];
    hs_pack_options o = options(t);
    snprintf(inside, sizeof inside, "%s/sub", t->src);
    snprintf(alias, sizeof alias, "%s/alias", t->out);
    assert_int_equal(symlink(t->b, alias), 0);
    t->folders[1] = inside;
    assert_refused(&o, -EINVAL, "lies inside");
    t->folders[1] = t->src;
    assert_refused(&o, -EINVAL, "same folder");
    t->folders[1] = alias;
    assert_refused(&o, -EINVAL, "is given twice");
    t->folders[1] = t->dst;
    assert_refused(&o, -EINVAL, "is given twice");
    t->folders[1] = "/nonexistent/folder";
    assert_refused(&o, -ENOENT, "/nonexistent");
    t->folders[1] = "/dev/null";
    assert_refused(&o, -ENOTDIR, "/dev/null");
    t->folders[1] = t->c;
    o.shares = (const uint32_t[]){0, 0, 0};
    assert_refused(&o, -EINVAL, "shares");
    o.shares = (const uint32_t[]){1, 1, HS_PACK_MAX_SHARE + 1};
    assert_refused(&o, -EINVAL, "a share of");
    o.n_stripe = 0;
    assert_refused(&o, -EINVAL, "shares");
    o.split_bytes = 0;
    o.n_stripe = HS_PACK_MAX_STRIPE + 1;
    o.shares = NULL;
    assert_refused(&o, -EINVAL, "at most");
    assert_false(loads(t->dst));
    end(t);
}

/* A file with a shard's name that is none of this pack's is never touched, be it a link to who knows what. */
static void refuses_what_is_not_its_own(void **state)
{
    (void)state;
    trip *t = begin(SOURCE_BF16);
    hs_pack_options o = half_done(t);
    char shard[300], aside[300];
    snprintf(shard, sizeof shard, "%s/%s", t->b, shard_in(t->b));
    snprintf(aside, sizeof aside, "%s/aside", t->b);
    assert_int_equal(rename(shard, aside), 0);
    const char *name = strrchr(shard, '/') + 1;
    write_file(t->b, name, "mine", 4);
    assert_refused(&o, -EEXIST, "is not of this pack");
    assert_int_equal(size_of(t->b, name), 4);
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(symlink(aside, shard), 0);
    assert_refused(&o, -EEXIST, "is not of this pack");
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(rename(aside, shard), 0);
    assert_packs(&o);
    assert_complete(t);
    end(t);
}

static void refuses_to_go_on_otherwise(void **state)
{
    (void)state;
    trip *t = begin(SOURCE_BF16);
    hs_pack_options o = half_done(t);
    char aside[300];
    const char *swapped[] = {t->c, t->b};
    o.stripe = swapped;
    assert_refused(&o, -EEXIST, "over other folders");
    o.n_stripe = 1;
    assert_refused(&o, -EEXIST, "over other folders");
    o = options(t);
    o.shares = (const uint32_t[]){1, 1, 2};
    assert_refused(&o, -EEXIST, "with other options");
    o.shares = NULL;
    o.split_bytes = 2;
    assert_refused(&o, -EEXIST, "with other options");
    o.n_stripe = 0;
    assert_refused(&o, -EINVAL, "split_bytes is for the folders of stripe");
    /* Its drive is not mounted: nothing is made in its place. */
    snprintf(aside, sizeof aside, "%s/aside", t->out);
    assert_int_equal(rename(t->b, aside), 0);
    o = options(t);
    o.n_stripe = 0;
    o.split_bytes = 0;
    assert_refused(&o, -ENOENT, "is the drive mounted");
    assert_refused(&o, -ENOENT, t->b);
    assert_false(file_exists(t->b, ""));
    assert_int_equal(rename(aside, t->b), 0);
    assert_packs(&o);
    assert_complete(t);
    o = options(t);
    /* Complete, it is left as it is. */
    o.n_stripe = 1;
    assert_refused(&o, -EEXIST, "complete pack over 3 drives");
    o.n_stripe = 2;
    t->folders[1] = t->back;
    assert_int_equal(mkdir(t->back, 0755), 0);
    assert_refused(&o, -EEXIST, "with shards elsewhere");
    t->folders[1] = t->c;
    o.shares = (const uint32_t[]){1, 1, 2};
    assert_refused(&o, -EEXIST, "in other shares");
    o.check = true;
    assert_refused(&o, -EEXIST, "in other shares");
    end(t);
}

/* ---- what a reader meets ---- */

static void assert_no_reader(const trip *t, const char *words)
{
    hs_source *s = NULL;
    hs_err err = {0};
    assert_true(hs_source_open(t->dst, &s, &err) < 0);
    if (!strstr(err.text, words))
        fail_msg("%s: not with \"%s\"", err.text, words);
    memset(&err, 0, sizeof err);
    assert_true(hs_verify(t->dst, NULL, NULL, NULL, &err) < 0);
    assert_true(hs_unpack(t->dst, t->back, NULL, NULL, NULL) < 0);
    remove_tree(t->back);
}

static void a_missing_drive_is_named(void **state)
{
    (void)state;
    trip *t = begin(SOURCE_BF16);
    hs_pack_options o = options(t);
    char aside[300], words[400];
    hs_err err = {0};
    assert_packs(&o);
    snprintf(aside, sizeof aside, "%s/aside", t->out);
    snprintf(words, sizeof words, "is a link to %s/%s: No such file or directory (is that drive mounted?)", t->b,
             shard_in(t->b));
    assert_int_equal(rename(t->b, aside), 0);
    assert_no_reader(t, words);
    assert_int_equal(hs_verify(t->dst, NULL, NULL, NULL, &err), -EBADMSG);
    assert_non_null(strstr(err.text, words));
    assert_refused(&o, -EBADMSG, words);
    assert_int_equal(rename(aside, t->b), 0);
    assert_complete(t);
    end(t);
}

/* A folder from a stranger: its links may lead anywhere. */
static void hostile_links_are_refused(void **state)
{
    (void)state;
    trip *t = begin(SOURCE_BF16);
    hs_pack_options o = options(t);
    assert_packs(&o);
    char link[300], right[300], other[300], up[300];
    snprintf(link, sizeof link, "%s/%s", t->dst, shard_in(t->b));
    snprintf(right, sizeof right, "%s/%s", t->b, shard_in(t->b));
    snprintf(up, sizeof up, "../b/%s", shard_in(t->b));
    snprintf(other, sizeof other, "%s/%s", t->c, shard_in(t->c));
    const char *const hostile[] = {"/dev/zero",   "/dev/null",           link,  ".",
                                   "..",          "/etc/passwd",         other, "dense-00000.hss",
                                   "config.json", "../../../nonexistent"};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        assert_int_equal(unlink(link), 0);
        assert_int_equal(symlink(hostile[i], link), 0);
        assert_no_reader(t, "");
    }
    /* A relative one, as of folders that move together, is as good as any. */
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(up, link), 0);
    assert_complete(t);
    end(t);
}

/* Shares are for packing again; a manifest or state that has nonsense for them is refused there. */
static void malformed_shares_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"[]",
                                      "[1]x",
                                      "{}",
                                      "[0, 0]",
                                      "[-1, 2]",
                                      "[1, \"2\"]",
                                      "[1, 1.5]",
                                      "[1, null]",
                                      "[1, 1000001]",
                                      "7",
                                      "[1,1,1,1,1,1,1,1,1]",
                                      "[9223372036854775807, 1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs__pk_recipe recipe;
        const char *source;
        hs_err err = {0};
        char text[300];
        snprintf(text, sizeof text,
                 "{\"options\": {\"codec\": \"raw\", \"level\": 1, \"shard_bytes\": 1048576, \"split_bytes\": 1, "
                 "\"stripe\": %s}}",
                 bad[i]);
        json_t *m = NULL;
        if (hs_json_load(text, strlen(text), "m", &m, NULL) == 0) {
            if (hs__pk_manifest_recipe(m, "m", &recipe, &source, &err) != -EINVAL || !strstr(err.text, "stripe"))
                fail_msg("%s: %s", bad[i], err.text);
        } else {
            assert_int_equal(i, 1); /* no JSON at all */
        }
        json_decref(m);
    }
    trip *t = begin(SOURCE_BF16);
    static const char *const states[] = {"\"stripe\": [1, 1]",
                                         "\"stripe\": [1, 1], \"folders\": []",
                                         "\"stripe\": [1, 1], \"folders\": [\"../b\"]",
                                         "\"stripe\": [1, 1], \"folders\": [7]",
                                         "\"stripe\": [1, 1], \"folders\": [\"/x\", \"/y\"]",
                                         "\"folders\": [\"/x\"]"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char text[400];
        hs_pack_options o = options(t);
        int n = snprintf(text, sizeof text,
                         "{\"format\": \"hotset-pack-state\", \"source_stamp\": \"%032d\", \"compress\": 0, \"level\": "
                         "1, \"split_bytes\": 1, \"shard_bytes\": 1048576, %s}",
                         0, states[i]);
        assert_true(mkdir(t->dst, 0755) == 0 || errno == EEXIST);
        write_file(t->dst, HS__PK_STATE, text, (size_t)n);
        assert_refused(&o, -EINVAL, "folders");
    }
    end(t);
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
        cmocka_unit_test(cancelled_it_goes_on),
        cmocka_unit_test(killed_it_goes_on),
        cmocka_unit_test(a_shard_without_its_link_is_found),
        cmocka_unit_test(out_of_memory_it_goes_on),
        cmocka_unit_test(refuses_folders),
        cmocka_unit_test(refuses_what_is_not_its_own),
        cmocka_unit_test(refuses_to_go_on_otherwise),
        cmocka_unit_test(a_missing_drive_is_named),
        cmocka_unit_test(hostile_links_are_refused),
        cmocka_unit_test(malformed_shares_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

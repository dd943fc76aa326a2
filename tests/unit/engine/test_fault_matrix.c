/* labels: unit fault, all: unit fault slow */
/*
 * test_fault_matrix.c - what drives do wrong while requests run, with every engine, form of model and layout on drives.
 *
 * What comes out follows from the combination:
 *   - right tokens where the bytes are somewhere: after a read that fails once, a stall that ends, from a file that was
 *     replaced (it stays open), from a mirror, or the other way where a pack keeps raw records.
 *   - where they are not: exactly the requests that need a lost expert fail, with its file and record.
 *   - damage without an error in safetensors and GGUF files, which have no checksums, goes unnoticed: the requests that
 *     need the expert end, with whatever tokens; later ones too, while it is in memory.
 * In all of them the other requests of the batch, and the next one, get their tokens.
 *
 *   engine_test_fault_matrix [all]    without "all" as many combinations that any values of any three axes meet
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "combine.h"
#include "pack/pack.h"
#include "question.h"
#include "residency/residency_int.h"
#include "sanitized.h"
#include "tale.h"
#include "unit/store/engines.h"

#define GGUF TESTS_DIR "/data/gguf/mixtral-bf16.gguf"
#define MOST 4u /* requests of a batch */

/* The last two change without another engine being brought up. */
enum { ENGINE, FORM, LAYOUT, WARM, FAULT, BATCH, AXES };
enum { SAFETENSORS, GGUF_FILE, ZSTD, EXPONENT, KEPT, KEPT_RAW, FORMS }; /* kept: with raw records; raw: they are read */
enum { ONE, MIRROR, STRIPED, LAYOUTS };
enum { EIO_ONCE, EIO_ALWAYS, SHORT_ONCE, CORRUPT, STALL, REPLACED, TRUNCATED, FAULTS };

static const char *const names[AXES][COMBINE_VALUES] = {
    [ENGINE] = {"io_uring", "pread"},
    [FORM] = {"safetensors", "GGUF", "zstd", "exponents", "raw kept", "raw kept and read"},
    [LAYOUT] = {"one drive", "mirror", "striped"},
    [WARM] = {"decoded", "warm tier"},
    [FAULT] = {"EIO once", "EIO", "short read", "damage", "stall", "replaced", "truncated"},
    [BATCH] = {"alone", "four"},
};
static const uint32_t lengths[AXES] = {2, FORMS, LAYOUTS, 2, FAULTS, 2};

static bool can_uring, all;
static char what[200]; /* is being tried */
static uint32_t turn, n_right, n_failed, n_unnoticed, n_wrong;

/* ---- models ---- */

typedef struct model {
    char folder[LAYOUTS][64], stripe[64]; /* of the mirror: the copy; of the stripe: the second folder of its shards */
    uint32_t n_files;                     /* unstriped */
} model;

static model models[FORMS];
static question questions[2][MOST]; /* of the trained model, of GGUF */

static void make_folder(char path[64])
{
    snprintf(path, 64, "/tmp/hotset-matrix-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static void make_packed(model *m, uint32_t form)
{
    hs_err err = {0};
    const char *stripe[] = {m->stripe};
    hs_pack_options opt = {.src = TALE,
                           .dst = m->folder[ONE],
                           .codec = form == EXPONENT ? HS_PACK_EXPONENT : HS_PACK_ZSTD,
                           .keep_raw = form >= KEPT,
                           .threads = 2};
    make_folder(m->folder[ONE]);
    if (hs_pack(&opt, &err) < 0)
        fail_msg("%s", err.text);
    make_folder(m->folder[STRIPED]);
    make_folder(m->stripe);
    opt.dst = m->folder[STRIPED];
    opt.stripe = stripe;
    opt.n_stripe = 1;
    opt.shares = (const uint32_t[]){1, 1};
    opt.split_bytes = 1;
    if (hs_pack(&opt, &err) < 0)
        fail_msg("%s", err.text);
}

static void path_in(char path[100], uint32_t form, const char *folder)
{
    snprintf(path, 100, "%.63s%s", folder, form == GGUF_FILE ? "/model.gguf" : "");
}

static void make_model(uint32_t form)
{
    model *m = &models[form];
    hs_source *s = NULL;
    char path[100];
    if (form == KEPT_RAW) {
        *m = models[KEPT];
        return;
    }
    if (form == SAFETENSORS) {
        tale_copy_folder(TALE, m->folder[ONE]);
    } else if (form == GGUF_FILE) {
        char *data = NULL;
        size_t len = 0;
        make_folder(m->folder[ONE]);
        path_in(path, form, m->folder[ONE]);
        assert_int_equal(hs_file_read(GGUF, 1u << 30, &data, &len, NULL), 0);
        assert_int_equal(hs_file_write_atomic(path, data, len, NULL), 0);
        hs_free(data);
    } else {
        make_packed(m, form);
    }
    tale_copy_folder(m->folder[ONE], m->folder[MIRROR]);
    path_in(path, form, m->folder[ONE]);
    assert_int_equal(hs_source_open(path, &s, NULL), 0);
    while (hs_source_file(s, m->n_files))
        m->n_files++;
    hs_source_close(&s);
}

/* ---- an engine over drives ---- */

typedef struct bed {
    uint32_t at[AXES];
    const model *m;
    char path[2][100]; /* the model's, the mirror's */
    question *q;
    uint32_t n_copies, n_files;
    bool two_ways, raw; /* raw bytes are there too; and are what is read */
    fault_engine *drive;
    hs_io_config how;
    uint32_t drives[64];
    hs_engine *e;
} bed;

static hs_engine_options options(const bed *b)
{
    return tale_options((hs_engine_options){.path = b->path[0],
                                            .mirror = b->at[LAYOUT] == MIRROR ? b->path[1] : NULL,
                                            .cache_kind = HS_CACHE_PERCENT,
                                            .cache_percent = b->at[FORM] == GGUF_FILE ? 25 : 3,
                                            .warm_tier = b->at[WARM] ? HS_WARM_ON : HS_WARM_OFF,
                                            .io_buffered = true,
                                            .io_verify_always = true,
                                            .activations = "f32",
                                            .context = 128,
                                            .parallel = MOST,
                                            .max_queue = MOST});
}

/* Files are on two drives, as far as the I/O knows: of a mirror each copy on its own, of a striped model by turns. */
static bed *bed_start(const uint32_t *at)
{
    bed *b = calloc(1, sizeof *b);
    hs_err err = {0};
    assert_non_null(b);
    memcpy(b->at, at, sizeof b->at);
    b->m = &models[at[FORM]];
    path_in(b->path[0], at[FORM], b->m->folder[at[LAYOUT] == STRIPED ? STRIPED : ONE]);
    path_in(b->path[1], at[FORM], b->m->folder[MIRROR]);
    b->q = questions[at[FORM] == GGUF_FILE];
    b->n_copies = at[LAYOUT] == MIRROR ? 2 : 1;
    b->drive = fault_engine_over(at[ENGINE] ? &hs_io_pread_ops : &hs_io_uring_ops);
    for (uint32_t f = 0; f < 64; f++)
        b->drives[f] = at[LAYOUT] == MIRROR ? f >= b->m->n_files : at[LAYOUT] == STRIPED ? f % 2 : 0;
    b->how = (hs_io_config){.custom = &fault_engine_ops, .custom_ctx = b->drive, .drives = b->drives};
    hs_engine_options opt = options(b);
    if (hs__engine_create(&opt, &b->how, &b->e, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    b->two_ways = at[FORM] >= KEPT && b->e->residency->ways.is_possible;
    b->raw = b->two_ways && at[FORM] == KEPT_RAW;
    if (b->two_ways)
        tale_set_way(b->e, b->raw);
    else
        tale_stay_packed(b->e);
    hs_objects_fds(b->e->opened.objects, &b->n_files);
    b->n_files /= b->n_copies;
    if (hs_engine_start(b->e, &err) < 0)
        fail_msg("%s: %s", what, err.text);
    return b;
}

static void bed_end(bed **b)
{
    if (!*b)
        return;
    hs_engine_destroy(&(*b)->e);
    fault_engine_destroy(&(*b)->drive);
    free(*b);
    *b = NULL;
}

/* ---- what is bad ---- */

/* Bytes [from, to) of a file, in one of its copies. */
typedef struct damage {
    uint32_t file;
    uint64_t from, to;
} damage;

static bool overlaps(const damage *d, const hs_range *r)
{
    return r->file == d->file && r->offset < d->to && r->offset + r->len > d->from;
}

static bool touches(const bed *b, const damage *d, uint32_t object)
{
    hs_range r[HS_OBJECT_MAX_RANGES];
    uint32_t n = hs_object_ranges(b->e->opened.objects, object, r);
    for (uint32_t i = 0; i < n; i++)
        if (overlaps(d, &r[i]))
            return true;
    return false;
}

/* There is nowhere to read it from. */
static bool is_lost(const bed *b, const damage *d, uint32_t object)
{
    return b->n_copies == 1 && touches(b, d, object) && (!b->two_ways || touches(b, d, object | HS_OBJECT_RAW));
}

static bool needs_lost(const bed *b, const damage *d, const question *q, uint32_t *object)
{
    for (; *object < hs_objects_count(b->e->opened.objects); ++*object)
        if (q->needs[*object] && is_lost(b, d, *object))
            return true;
    return false;
}

/* One of its ranges, or all from its last on. */
static damage damage_of(const bed *b, uint32_t object, uint32_t range)
{
    hs_range r[HS_OBJECT_MAX_RANGES];
    uint32_t n = hs_object_ranges(b->e->opened.objects, b->raw ? object | HS_OBJECT_RAW : object, r), k = range % n;
    if (b->at[FAULT] != TRUNCATED)
        return (damage){r[k].file, r[k].offset, r[k].offset + 1};
    for (uint32_t i = 0; i < n; i++)
        if (r[i].file == r[k].file && r[i].offset > r[k].offset)
            k = i;
    return (damage){r[k].file, r[k].offset, UINT64_MAX};
}

/* How many of the requests need what is lost. */
static uint32_t count_losing(const bed *b, const damage *d, uint32_t first, uint32_t n)
{
    uint32_t losing = 0;
    for (uint32_t p = first; p < first + n; p++) {
        uint32_t object = 0;
        losing += needs_lost(b, d, &b->q[p], &object);
    }
    return losing;
}

/* An expert that is not in memory and that a request needs, but, if it is lost, as few as may be of several: not all,
 * unless a whole end of the file goes. */
static damage choose(const bed *b, uint32_t first, uint32_t n)
{
    uint32_t count = hs_objects_count(b->e->opened.objects), fewest = n;
    damage best = {0};
    for (uint32_t i = 0; i < count && (!best.to || fewest > n / 2); i++) {
        uint32_t object = (turn * 37 + i) % count;
        bool is_needed = false;
        for (uint32_t p = first; p < first + n; p++)
            is_needed = is_needed || b->q[p].needs[object];
        if (!is_needed || b->e->residency->slot_of[object] != HS__NONE)
            continue;
        damage d = damage_of(b, object, turn + i);
        uint32_t losing = count_losing(b, &d, first, n);
        if (best.to && losing >= fewest)
            continue;
        best = d;
        fewest = losing;
    }
    if (!best.to || (n > 1 && fewest == n && b->at[FAULT] != TRUNCATED))
        fail_msg("%s: there is no such expert", what);
    return best;
}

/* Of the model, not of its mirror. */
static void path_of(const bed *b, const damage *d, char path[300])
{
    char link[40];
    uint32_t n_fds;
    snprintf(link, sizeof link, "/proc/self/fd/%d", hs_objects_fds(b->e->opened.objects, &n_fds)[d->file]);
    ssize_t n = readlink(link, path, 299);
    assert_true(n > 0);
    path[n] = '\0';
}

typedef struct change {
    char path[300], kept[310];
    char *tail; /* what was cut off */
    size_t len;
    uint64_t at;
} change;

/* The file becomes another one, or ends where d begins. */
static change change_file(const bed *b, const damage *d)
{
    change c = {.at = d->from};
    char *data = NULL;
    size_t len = 0;
    path_of(b, d, c.path);
    snprintf(c.kept, sizeof c.kept, "%s.kept", c.path);
    if (b->at[FAULT] == REPLACED) {
        assert_int_equal(rename(c.path, c.kept), 0);
        assert_int_equal(hs_file_write_atomic(c.path, what, sizeof what, NULL), 0);
        return c;
    }
    assert_int_equal(hs_file_read(c.path, 1u << 30, &data, &len, NULL), 0);
    assert_true(len > d->from);
    c.len = len - d->from;
    c.tail = malloc(c.len);
    assert_non_null(c.tail);
    memcpy(c.tail, data + d->from, c.len);
    hs_free(data);
    assert_int_equal(chmod(c.path, 0600), 0);
    assert_int_equal(truncate(c.path, (off_t)d->from), 0);
    return c;
}

static void undo(change *c)
{
    if (!c->tail) {
        assert_int_equal(rename(c->kept, c->path), 0);
        return;
    }
    int fd = open(c->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, c->tail, c->len, (off_t)c->at), (ssize_t)c->len);
    close(fd);
    free(c->tail);
}

static fault_order order_of(const bed *b, const damage *d)
{
    fault_order o = {.file = d->file, .from = d->from, .to = d->to, .any_of = b->n_files, .error = EIO};
    switch (b->at[FAULT]) {
    case EIO_ONCE:
        return (fault_order){.kind = FAULT_ERRNO, .first = 1, .error = EIO};
    case SHORT_ONCE:
        return (fault_order){.kind = FAULT_SHORT, .first = 1, .short_bytes = 5000};
    case EIO_ALWAYS:
        o.kind = FAULT_ERRNO;
        return o;
    case CORRUPT:
        o.kind = FAULT_CORRUPT;
        return o;
    case STALL:
        o.kind = FAULT_NEVER;
        return o;
    default:
        return (fault_order){0};
    }
}

/* ---- what comes out ---- */

static void check_right(const hs_request_status *s, const hs_buf *text, const question *q)
{
    if (s->state != HS_REQUEST_DONE)
        fail_msg("%s: %s", what, s->error_text);
    if (strcmp(text->data, q->text[q->tokens]))
        fail_msg("%s: '%s' instead of '%s'", what, text->data, q->text[q->tokens]);
    n_right++;
}

/* Fails as one who needs a lost expert does, by the name of one that it needs. */
static void check_failed(const bed *b, const damage *d, const hs_request_status *s, const question *q)
{
    int code = b->at[FAULT] == EIO_ALWAYS ? -EIO : b->at[FAULT] == CORRUPT ? -EBADMSG : -ENODATA;
    char name[300] = "", path[300];
    bool is_named = false;
    path_of(b, d, path);
    for (uint32_t object = 0; needs_lost(b, d, q, &object); object++) {
        hs_range g[HS_OBJECT_MAX_RANGES];
        uint32_t n = hs_object_ranges(b->e->opened.objects, object, g);
        for (uint32_t i = 0; i < n; i++) {
            if (!overlaps(d, &g[i]))
                continue;
            hs_object_describe(b->e->opened.objects, object, i, name, sizeof name);
            assert_non_null(strstr(name, strrchr(path, '/') + 1));
            is_named = is_named || strstr(s->error_text, name);
        }
    }
    if (s->state != HS_REQUEST_FAILED || s->error != code || !is_named)
        fail_msg("%s: state %d, %d (%s) instead of %d with '%s'", what, s->state, s->error, s->error_text, code, name);
    n_failed++;
}

/* A mirror is not asked. */
static bool is_unnoticed(const bed *b)
{
    return b->at[FAULT] == CORRUPT && b->at[FORM] < ZSTD;
}

static bool needs_touched(const bed *b, const damage *d, const question *q)
{
    for (uint32_t object = 0; object < hs_objects_count(b->e->opened.objects); object++)
        if (q->needs[object] && touches(b, d, object))
            return true;
    return false;
}

static void check(const bed *b, const damage *d, const hs_request_status *s, const hs_buf *text, const question *q)
{
    static const bool loses[FAULTS] = {[EIO_ALWAYS] = true, [CORRUPT] = true, [TRUNCATED] = true};
    uint32_t object = 0;
    if (is_unnoticed(b) && needs_touched(b, d, q)) {
        assert_int_equal(s->state, HS_REQUEST_DONE);
        n_unnoticed++;
        n_wrong += strcmp(text->data, q->text[q->tokens]) != 0;
    } else if (loses[b->at[FAULT]] && needs_lost(b, d, q, &object)) {
        check_failed(b, d, s, q);
    } else {
        check_right(s, text, q);
    }
}

static void ask(bed *b, const damage *d, uint32_t first, uint32_t n)
{
    hs_request *r[MOST];
    hs_buf text;
    hs_buf_init(&text, 1 << 12);
    for (uint32_t i = 0; i < n; i++) {
        hs_request_options opt = question_ask(&b->q[first + i], b->q[first + i].tokens);
        opt.client = i;
        r[i] = tale_submit(b->e, &opt);
    }
    if (b->at[FAULT] == STALL && d) {
        if (!fault_engine_hits(b->drive, 120000))
            fail_msg("%s: nothing is read there", what);
        fault_engine_release(b->drive);
    }
    for (uint32_t i = 0; i < n; i++) {
        hs_buf_clear(&text);
        hs_buf_puts(&text, "");
        hs_request_status s = tale_wait(r[i], &text);
        if (d)
            check(b, d, &s, &text, &b->q[first + i]);
        else
            check_right(&s, &text, &b->q[first + i]);
        hs_request_destroy(&r[i]);
    }
    hs_buf_deinit(&text);
    tale_wait_idle(b->e);
    const char *wrong = hs__engine_check(b->e);
    if (wrong)
        fail_msg("%s: %s", what, wrong);
}

static void run(bed *b)
{
    uint32_t n = b->at[BATCH] ? MOST : 1, first = b->at[BATCH] ? 0 : turn % MOST;
    bool changes = b->at[FAULT] == REPLACED || b->at[FAULT] == TRUNCATED;
    damage d = choose(b, first, n);
    change c = {0};
    fault_order order = order_of(b, &d);
    fault_engine_arm(b->drive, &order);
    if (changes)
        c = change_file(b, &d);
    ask(b, &d, first, n);
    if (!changes && b->at[FAULT] != STALL && !fault_engine_hits(b->drive, 0))
        fail_msg("%s: nothing went wrong", what);
    fault_engine_release(b->drive);
    if (changes)
        undo(&c);
    ask(b, is_unnoticed(b) ? &d : NULL, turn % MOST, 1);
}

static bool is_possible(const uint32_t *at)
{
    return (at[FORM] >= ZSTD || (at[LAYOUT] != STRIPED && !at[WARM])) && (at[ENGINE] || can_uring);
}

static void matrix(void **state)
{
    (void)state;
    uint32_t total = 1, n = 0, at[AXES];
    for (uint32_t x = 0; x < AXES; x++)
        total *= lengths[x];
    bool *chosen = calloc(total, sizeof *chosen);
    assert_non_null(chosen);
    uint32_t possible = combine(lengths, AXES,
                                all                 ? 0
                                : SANITIZED_THREADS ? 1
                                : SANITIZED         ? 2
                                                    : 3,
                                is_possible, chosen);
    bed *b = NULL;
    for (uint32_t i = 0; i < total; i++) {
        if (!chosen[i])
            continue;
        combine_at(lengths, AXES, i, at);
        size_t len = 0;
        for (uint32_t x = 0; x < AXES; x++)
            len += (size_t)snprintf(what + len, sizeof what - len, "%s%s", x ? ", " : "", names[x][at[x]]);
        /* Where raw bytes have been given up they are not read again; what came unnoticed stays. */
        if (b && (memcmp(b->at, at, FAULT * sizeof *at) || b->two_ways != b->e->residency->ways.is_possible ||
                  is_unnoticed(b)))
            bed_end(&b);
        if (!b)
            b = bed_start(at);
        memcpy(b->at, at, sizeof at);
        turn++;
        n++;
        run(b);
    }
    bed_end(&b);
    free(chosen);
    print_message("%u of %u combinations: %u requests right, %u failed with their sentence, %u with damage that nobody "
                  "can notice, %u of them with other tokens\n",
                  n, possible, n_right, n_failed, n_unnoticed, n_wrong);
    assert_true(n_right > 0 && n_failed > 0);
    /* A few combinations may have no such damage; a few wrong experts may change nothing. */
    assert_true(n_unnoticed > 0 || SANITIZED_THREADS);
    assert_true(n_wrong > 0 || !all);
}

/* ---- what is asked ---- */

static void reference(const char *path, question *q)
{
    hs_engine *e = tale_create((hs_engine_options){
        .path = path, .activations = "f32", .context = 128, .cache_kind = HS_CACHE_PERCENT, .cache_percent = 100});
    const tale_prompt *prompts = path ? NULL : tale_prompts(e);
    for (uint32_t p = 0; p < MOST; p++) {
        q[p].n = path ? 1 : 2 + p / 2;
        q[p].tokens = path ? 2 : QUESTION_TOKENS;
        for (uint32_t i = 0; i < q[p].n; i++)
            q[p].ids[i] = path ? 17 + 101 * p : prompts[p].ids[i];
    }
    question_answer(e, q, MOST);
    hs_engine_destroy(&e);
}

static bool find_uring(void)
{
    hs_io *io = NULL;
    hs_io_config cfg = {.engine = HS_IO_URING};
    bool can = hs_io_create(&cfg, &io, NULL) == 0;
    hs_io_destroy(&io);
    return can;
}

static int setup(void **state)
{
    (void)state;
    can_uring = find_uring();
    if (!can_uring)
        print_message("the kernel denies io_uring here: only pread is tried\n");
    reference(NULL, questions[0]);
    reference(GGUF, questions[1]);
    for (uint32_t f = 0; f < FORMS; f++)
        make_model(f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t f = 0; f < FORMS; f++) {
        for (uint32_t l = 0; l < LAYOUTS; l++)
            tale_remove_folder(models[f].folder[l]);
        tale_remove_folder(models[f].stripe);
    }
    return 0;
}

int main(int argc, char **argv)
{
    all = argc > 1 && !strcmp(argv[1], "all");
    const struct CMUnitTest tests[] = {cmocka_unit_test(matrix)};
    return cmocka_run_group_tests(tests, setup, teardown);
}

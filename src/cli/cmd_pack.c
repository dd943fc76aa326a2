/* cmd_pack.c - pack, unpack, verify: front of src/pack. SIGINT stops at the next frame, cleanly. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/shapes.h"
#include "cli/verbs.h"
#include "pack/pack.h"

#define MAX_MANIFEST (64u << 20)

typedef struct follow {
    hs_progress progress;
    json_t *problems; /* array, or NULL when problems are printed */
    uint64_t bytes;   /* of the last phase */
    uint64_t start_ns;
} follow;

static void on_progress(void *ctx, hs_pack_phase phase, uint64_t done, uint64_t total)
{
    follow *f = ctx;
    f->bytes = total;
    hs_progress_update(&f->progress, hs_pack_phase_name(phase), HS_PROGRESS_BYTES, done, total, hs_now_ns());
}

static void on_note(void *ctx, const char *text)
{
    follow *f = ctx;
    hs_progress_clear(&f->progress);
    hs_say("note: %s", text);
}

static void on_problem(void *ctx, const hs_pack_problem *p)
{
    follow *f = ctx;
    hs_progress_clear(&f->progress);
    hs_say("%s", p->text);
    if (!f->problems)
        return;
    json_t *o = json_pack("{s:s, s:s}", "file", p->file, "text", p->text);
    if (o && p->record != HS_PACK_ANY_RECORD)
        json_object_set_new(o, "record", json_integer(p->record));
    json_array_append_new(f->problems, o);
}

static hs_pack_monitor monitor(follow *f)
{
    *f = (follow){.start_ns = hs_now_ns()};
    hs_progress_init(&f->progress, stderr);
    hs_signals_setup();
    return (hs_pack_monitor){
        .ctx = f, .progress = on_progress, .note = on_note, .problem = on_problem, .cancel = hs_stop_atomic()};
}

static double seconds(const follow *f)
{
    return (double)(hs_now_ns() - f->start_ns) * 1e-9;
}

/* ---- pack ---- */

/* raw and stored bytes of a finished pack, from its manifest. */
static int sizes(const char *dst, uint64_t *ret_raw, uint64_t *ret_stored, hs_err *err)
{
    char *path = hs_asprintf("%s/manifest.json", dst);
    json_t *m = NULL;
    int64_t raw = 0, stored = 0;
    int r = path ? hs_json_load_file(path, MAX_MANIFEST, &m, err) : hs_err_set(err, -ENOMEM, "out of memory");
    if (r == 0)
        r = hs_json_int(m, path, "raw_bytes", 0, INT64_MAX, &raw, err);
    if (r == 0)
        r = hs_json_int(m, path, "stored_bytes", 0, INT64_MAX, &stored, err);
    if (r == 0) {
        *ret_raw = (uint64_t)raw;
        *ret_stored = (uint64_t)stored;
    }
    json_decref(m);
    hs_free(path);
    return r;
}

static int report_pack(const hs_args *a, const follow *f)
{
    uint64_t raw = 0, stored = 0;
    hs_err err = {0};
    if (sizes(a->operands[1], &raw, &stored, &err) < 0)
        return hs_fail(&err);
    double ratio = raw ? (double)stored / (double)raw : 1;
    if (hs_args_has(a, "json"))
        return hs_print_json(json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:b}", "src", a->operands[0], "dst",
                                       a->operands[1], "raw_bytes", (json_int_t)raw, "stored_bytes", (json_int_t)stored,
                                       "ratio", ratio, "seconds", seconds(f), "checked", hs_args_has(a, "check")));
    char x[32], y[32];
    hs_say("%s: %s -> %s (%.3f) in %.1f s", a->operands[1], hs_format_size(raw, x, sizeof x),
           hs_format_size(stored, y, sizeof y), ratio, seconds(f));
    return 0;
}

typedef struct stripe {
    const char *folders[HS_PACK_MAX_STRIPE]; /* within text */
    uint32_t shares[HS_PACK_MAX_STRIPE + 1];
    char *text;
} stripe;

/* "DIR,DIR" of --stripe and "N,N,N" of --shares; false: not of that form. text is to be freed. */
static bool read_stripe(const hs_args *a, stripe *s, hs_pack_options *o)
{
    const char *shares = hs_args_text(a, "shares");
    s->text = hs_args_has(a, "stripe") ? hs_strdup(hs_args_text(a, "stripe")) : NULL;
    for (char *at = s->text, *end; at; at = end ? end + 1 : NULL) {
        end = strchr(at, ',');
        if (end)
            *end = '\0';
        if (!*at || o->n_stripe == HS_PACK_MAX_STRIPE)
            return false;
        s->folders[o->n_stripe++] = at;
    }
    o->stripe = s->folders;
    o->shares = shares ? s->shares : NULL;
    for (uint32_t i = 0; shares && i < o->n_stripe + 1; i++) {
        char *end;
        unsigned long n = *shares >= '0' && *shares <= '9' ? strtoul(shares, &end, 10) : HS_PACK_MAX_SHARE + 1ul;
        if (n > HS_PACK_MAX_SHARE || *end != (i < o->n_stripe ? ',' : '\0'))
            return false;
        s->shares[i] = (uint32_t)n;
        shares = end + 1;
    }
    o->split_bytes = hs_args_size(a, "split", 0);
    return o->n_stripe || (!shares && !o->split_bytes);
}

static int run_pack(const hs_args *a)
{
    static const char *const codecs[] = {"auto", "zstd", "exponent", "any", "raw"};
    const char *codec = hs_args_text(a, "codec");
    hs_pack_options o = {.src = a->operands[0],
                         .dst = a->operands[1],
                         .level = (int)hs_args_int(a, "level", 0),
                         .keep_raw = hs_args_has(a, "keep-raw"),
                         .shard_bytes = hs_args_size(a, "shard-size", 0),
                         .threads = (uint32_t)hs_args_int(a, "threads", 0),
                         .disk_bw = hs_args_size(a, "disk-bw", 0),
                         .cores = (uint32_t)hs_args_int(a, "cores", 0),
                         .check = hs_args_has(a, "check")};
    for (int i = 0; codec && i < 5; i++)
        if (!strcmp(codec, codecs[i]))
            o.codec = (hs_pack_codec)i;
    if (o.keep_raw && o.codec == HS_PACK_RAW)
        return hs_fail_usage(a->verb,
                             "--keep-raw keeps what is compressed raw as well: with --codec raw there is none");
    stripe over = {0};
    if (!read_stripe(a, &over, &o)) {
        hs_free(over.text);
        return hs_fail_usage(a->verb,
                             "--stripe is a list of at most %u folders, DIR[,DIR...], and --shares one of numbers to "
                             "%u, of DST and of each DIR; --shares and --split go with it",
                             HS_PACK_MAX_STRIPE, HS_PACK_MAX_SHARE);
    }
    o.measure = true;
    follow f;
    o.monitor = monitor(&f);
    hs_err err = {0};
    int r = hs_pack(&o, &err);
    hs_free(over.text);
    hs_progress_clear(&f.progress);
    if (r == -ECANCELED) {
        hs_say("stopped; the same command continues where it was");
        return 1;
    }
    return r < 0 ? hs_fail(&err) : report_pack(a, &f);
}

static const hs_flag pack_flags[] = {
    {"check", HS_FLAG_SWITCH, NULL, 0, 0, "write nothing: verify DST and compare it with SRC byte for byte"},
    {"codec", HS_FLAG_CHOICE, "auto|zstd|exponent|any|raw", 0, 0,
     "how; auto (default) takes what this machine reads fastest, measured, and says why: exponents (of FP8 and BF16) "
     "coded by rank, any (zstd where that is smaller), or raw"},
    {"keep-raw", HS_FLAG_SWITCH, NULL, 0, 0,
     "store what is compressed raw as well, in raw-NNNNN.hss: whoever serves the pack tries both and reads what is "
     "faster there, without the source"},
    {"level", HS_FLAG_INT, "N", 1, HS_PACK_LEVEL_MAX, "zstd level; default 1, weights gain next to nothing from more"},
    {"shard-size", HS_FLAG_SIZE, "SIZE", 1 << 20, 0, "weights per shard file; default 4G"},
    {"stripe", HS_FLAG_TEXT, "DIR[,DIR...]", 0, 0,
     "folders on further drives, made if need be: each drive, that of DST included, gets a share of every expert, and "
     "all are read at once; DST has links to the shards there"},
    {"shares", HS_FLAG_TEXT, "N[,N...]", 0, 0,
     "with --stripe: what DST and each DIR get, as 2,1; default: by how fast each reads, measured"},
    {"split", HS_FLAG_SIZE, "SIZE", 1, 0,
     "with --stripe: every expert is cut into pieces of at least that size, one for each drive, so that even one that "
     "is missing comes from all; smaller experts are dealt out whole; default 512k"},
    {"disk-bw", HS_FLAG_SIZE, "SIZE", 1, 0,
     "bytes per second of the drive that will serve, for auto; default: measured"},
    {"cores", HS_FLAG_INT, "N", 1, HS_PACK_THREADS_MAX,
     "processors of the machine that will serve, for auto; default all of this one"},
    {"threads", HS_FLAG_INT, "N", 1, HS_PACK_THREADS_MAX, "threads that compress; default all processors"},
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_pack = {
    .name = "pack",
    .synopsis = "SRC DST",
    .summary = "Writes a model as compressed shards that can be streamed.",
    .details = "SRC is a folder with config.json and safetensors files, or a GGUF file (of a split one the first "
               "part); DST is a new folder. Nothing is lost: hotset unpack gives every file back bit for bit.\n\nAn "
               "interrupted pack never leaves a folder that loads; the same command continues it. Packing onto a "
               "complete pack of the same source does nothing and succeeds.",
    .flags = pack_flags,
    .min_operands = 2,
    .max_operands = 2,
    .first = HS_NEEDED_MODEL,
    .run = run_pack};

/* ---- unpack ---- */

/* The pool of --threads; NULL stays NULL when the flag is absent. */
static int make_pool(const hs_args *a, hs_pool **ret_pool, hs_err *err)
{
    int64_t n = hs_args_int(a, "threads", 0);
    return n ? hs_pool_create((uint32_t)n, ret_pool, err) : 0;
}

static int run_unpack(const hs_args *a)
{
    follow f;
    hs_pack_monitor m = monitor(&f);
    hs_pool *pool = NULL;
    hs_err err = {0};
    int r = make_pool(a, &pool, &err);
    if (r == 0)
        r = hs_unpack(a->operands[0], a->operands[1], pool, &m, &err);
    hs_pool_destroy(&pool);
    hs_progress_clear(&f.progress);
    if (r == -ECANCELED) {
        hs_say("stopped; the same command continues where it was");
        return 1;
    }
    if (r < 0)
        return hs_fail(&err);
    if (hs_args_has(a, "json"))
        return hs_print_json(json_pack("{s:s, s:s, s:I, s:f}", "src", a->operands[0], "dst", a->operands[1], "bytes",
                                       (json_int_t)f.bytes, "seconds", seconds(&f)));
    char x[32];
    hs_say("%s: %s in %.1f s", a->operands[1], hs_format_size(f.bytes, x, sizeof x), seconds(&f));
    return 0;
}

static const hs_flag unpack_flags[] = {
    {"threads", HS_FLAG_INT, "N", 1, HS_PACK_THREADS_MAX, "threads that decompress; default all processors"},
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_unpack = {
    .name = "unpack",
    .synopsis = "SRC DST",
    .summary = "Gives the original files of a packed model back, bit for bit.",
    .details = "Files that DST has already are compared, not overwritten; a different one ends it with an error.",
    .flags = unpack_flags,
    .min_operands = 2,
    .max_operands = 2,
    .first = "the folder that hotset pack wrote",
    .run = run_unpack};

/* ---- verify ---- */

static int run_verify(const hs_args *a)
{
    follow f;
    hs_pack_monitor m = monitor(&f);
    hs_pool *pool = NULL;
    hs_err err = {0};
    uint64_t problems = 0, n_mended = 0;
    const char *mirror = hs_args_text(a, "mirror");
    if (mirror && !hs_args_has(a, "repair"))
        return hs_fail_usage(a->verb, "--mirror is for --repair");
    f.problems = hs_args_has(a, "json") ? json_array() : NULL;
    int r = make_pool(a, &pool, &err);
    if (r == 0 && hs_args_has(a, "repair"))
        r = hs_repair(a->operands[0], mirror, pool, &m, &n_mended, &problems, &err);
    else if (r == 0)
        r = hs_verify(a->operands[0], pool, &m, &problems, &err);
    hs_pool_destroy(&pool);
    hs_progress_clear(&f.progress);
    if (r < 0 && r != -EBADMSG) {
        json_decref(f.problems);
        return hs_fail(&err);
    }
    if (hs_args_has(a, "json")) {
        int status =
            hs_print_json(json_pack("{s:s, s:b, s:I, s:o, s:I, s:I, s:f}", "path", a->operands[0], "ok", r == 0,
                                    "n_problems", (json_int_t)problems, "problems", f.problems, "repaired",
                                    (json_int_t)n_mended, "bytes", (json_int_t)f.bytes, "seconds", seconds(&f)));
        return r < 0 ? 1 : status;
    }
    char x[32];
    if (r < 0) {
        if (problems > 1)
            hs_say("%s: %llu problems", a->operands[0], (unsigned long long)problems);
        return 1; /* each has been told */
    }
    hs_say("%s: sound, %s in %.1f s", a->operands[0], hs_format_size(f.bytes, x, sizeof x), seconds(&f));
    return 0;
}

static const hs_flag verify_flags[] = {
    {"repair", HS_FLAG_SWITCH, NULL, 0, 0,
     "mend what is damaged, from --mirror or from what was packed; sound bytes are never written"},
    {"mirror", HS_FLAG_TEXT, "PATH", 0, 0,
     "with --repair: a copy of the packed model, itself checked before it is used; default: the unchanged source, "
     "packed again record by record"},
    {"threads", HS_FLAG_INT, "N", 1, HS_PACK_THREADS_MAX, "threads that check; default all processors"},
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_verify = {
    .name = "verify",
    .synopsis = "PATH",
    .summary = "Looks for damage in a packed model: every byte of every file.",
    .details =
        "Each problem is printed with file and record; exit status 1 if there is any. A safetensors folder and a GGUF "
        "file have no checksums: of the one only the structure is checked, of the other every byte is read as well.\n\n"
        "With --repair damaged records are mended in place, while a daemon may serve the model.",
    .flags = verify_flags,
    .min_operands = 1,
    .max_operands = 1,
    .first = "the folder that hotset pack wrote",
    .run = run_verify};

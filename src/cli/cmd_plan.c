/*
 * cmd_plan.c - "will it run, and how fast": the memory plan and what can be expected of this machine, before any weight
 * is loaded, or before the model is here at all.
 */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/shapes.h"
#include "cli/verbs.h"
#include "server/server.h"
#include "store/disk.h"

#define MAX_CONFIG (1u << 20)

/* What is planned for: files at opt.path, or shape. */
typedef struct target {
    hs_shape shape;
    json_t *config; /* NULL: files */
    char *label;    /* what the report calls it */
} target;

static bool has_file(const char *folder, const char *pattern)
{
    glob_t g = {0};
    char *path = hs_asprintf("%s/%s", folder, pattern);
    bool found = path && glob(path, 0, NULL, &g) == 0;
    globfree(&g);
    hs_free(path);
    return found;
}

/* The file to take the configuration from, if path is one or a folder that has nothing else; hs_free. */
static char *config_alone(const char *path)
{
    struct stat st;
    size_t n = strlen(path);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return n > 5 && !strcmp(path + n - 5, ".json") ? hs_strdup(path) : NULL;
    char *file = hs_asprintf("%s/config.json", path);
    if (file && hs_file_exists(file) && !has_file(path, "*.safetensors") && !has_file(path, "manifest.json"))
        return file;
    hs_free(file);
    return NULL;
}

static int find_target(const hs_args *a, target *t, hs_err *err)
{
    const char *name = a->operands[0], *type = hs_args_text(a, "type");
    const hs_known_model *known = NULL;
    struct stat st;
    int r = 0;
    if (stat(name, &st) == 0) {
        char *file = config_alone(name);
        if (file)
            r = hs_json_load_file(file, MAX_CONFIG, &t->config, err);
        hs_free(file);
    } else if ((known = hs_known_model_find(name))) {
        r = hs_json_load(known->config, strlen(known->config), known->name, &t->config, err);
        name = known->name;
    } else if (!strchr(name, '/')) {
        const char *near = hs_known_model_near(name);
        return hs_err_set(err, -ENOENT, "%s: neither a file, nor a model that hotset plan --list names%s%s%s", name,
                          near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (r < 0)
        return r;
    if (!t->config && type)
        return hs_err_set(err, -EINVAL, "--type %s: %s has its tensors, they are stored as they are", type, name);
    t->shape = (hs_shape){name, t->config, type ? type : "published"};
    t->label = t->config && type                    ? hs_asprintf("%s as %s", name, type)
               : known && strcmp(name, "published") ? hs_asprintf("%s in %s", name, known->published)
                                                    : hs_strdup(name);
    return t->label ? 0 : hs_err_set(err, -ENOMEM, "out of memory");
}

static void end_target(target *t)
{
    json_decref(t->config);
    hs_free(t->label);
}

/* ---- what to expect ---- */

typedef struct expectation {
    hs_routing routing;
    double given_hits;       /* --hit-rate; negative: the routing says it */
    double disk_bytes_per_s; /* 0 = not known */
    bool is_computed;        /* speed is measured */
    hs_speed speed;
    hs_forecast now, twice_drive, twice_memory;
} expectation;

/* Half a second of reading as the engine would, as many bytes at a time as a layer lacks. 0 = cannot be measured. */
static double drive_rate(const char *path, const hs_engine_options *opt, const hs_plan *p, double misses)
{
    char *file = NULL;
    uint64_t size, most = 16 << 20;
    hs_err ignored;
    hs_disk_result result;
    double rate = 0, at_once = misses / p->moe_layers;
    if (hs_disk_pick(path, &file, &size, &ignored) < 0)
        return 0;
    hs_disk_run run = {.engine = opt->io_engine,
                       .buffered = opt->io_buffered,
                       .random = true,
                       .request_bytes = 1 << 20,
                       .in_flight = at_once < (1 << 20)      ? 1 << 20
                                    : at_once > (double)most ? most
                                                             : (uint64_t)at_once,
                       .max_bytes = 1ull << 30,
                       .max_seconds = 0.5,
                       .seed = 1,
                       .stop = hs_stop_asked};
    if (hs_disk_measure(file, &run, &result, &ignored) == 0)
        rate = hs_disk_rate(&result);
    hs_free(file);
    return rate;
}

/* Twice the memory goes to the cache. */
static hs_plan with_twice_memory(const hs_plan *p)
{
    hs_plan q = *p;
    uint64_t slots = p->n_slots + p->limit / p->slot_bytes;
    q.n_slots = slots < p->n_experts ? (uint32_t)slots : p->n_experts;
    return q;
}

static double hit_rate(const expectation *x, const hs_plan *p)
{
    double n = p->n_experts;
    return x->given_hits >= 0 ? x->given_hits : hs_forecast_hit_rate(p->n_slots / n, p->token_cycle / n, x->routing);
}

static void expect(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, expectation *x)
{
    const char *routing = hs_args_text(a, "routing"), *drive = hs_args_text(a, "disk");
    uint32_t n_prompt = (uint32_t)hs_args_int(a, "prompt", 0);
    hs_err err = {0};
    x->given_hits = hs_args_number(a, "hit-rate", -1);
    x->routing = routing && !strcmp(routing, "uniform") ? HS_ROUTING_UNIFORM : HS_ROUTING_REAL;
    x->is_computed = hs_speed_measure(opt, p, n_prompt, &x->speed, &err) == 0;
    if (!x->is_computed)
        hs_say("what this machine computes is left out: %s", err.text);
    x->now = hs_forecast_make(p, &x->speed, 0, hit_rate(x, p), n_prompt);
    x->disk_bytes_per_s = (double)hs_args_size(a, "disk-bw", 0);
    if (x->disk_bytes_per_s == 0 && p->n_slots < p->n_experts && (drive || !opt->shape))
        x->disk_bytes_per_s = drive_rate(drive ? drive : opt->path, opt, p, x->now.miss_bytes);
    hs_plan bigger = with_twice_memory(p);
    x->now = hs_forecast_make(p, &x->speed, x->disk_bytes_per_s, hit_rate(x, p), n_prompt);
    x->twice_drive = hs_forecast_make(p, &x->speed, 2 * x->disk_bytes_per_s, hit_rate(x, p), n_prompt);
    x->twice_memory = hs_forecast_make(&bigger, &x->speed, x->disk_bytes_per_s, hit_rate(x, &bigger), n_prompt);
}

/* Nothing can be said about a model that must be read from a drive of unknown speed. */
static bool is_known(const expectation *x)
{
    return x->disk_bytes_per_s > 0 || x->now.miss_bytes == 0;
}

static const char *limit_word(hs_limit l)
{
    return l == HS_LIMIT_DRIVE ? "drive" : l == HS_LIMIT_MEMORY ? "memory bandwidth" : "compute";
}

static json_t *number_or_null(bool known, double v)
{
    return known && v > 0 ? json_real(v) : json_null();
}

static json_t *expectation_json(const expectation *x)
{
    bool all = is_known(x) && x->is_computed;
    const hs_forecast *f = &x->now;
    return json_pack("{s:s, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:f, s:o, s:o, s:o}", "routing",
                     x->given_hits >= 0                 ? "given"
                     : x->routing == HS_ROUTING_UNIFORM ? "uniform"
                                                        : "real",
                     "hit_rate", f->hit_rate, "miss_bytes_per_token", f->miss_bytes, "disk_bytes_per_s",
                     number_or_null(true, x->disk_bytes_per_s), "memory_bytes_per_s",
                     number_or_null(x->is_computed, x->speed.memory_bytes_per_s), "decode_io_s",
                     number_or_null(true, f->decode_io_s), "decode_compute_s",
                     number_or_null(x->is_computed, x->speed.decode_s), "decode_tokens_per_s",
                     number_or_null(all, f->decode_tokens_per_s), "prefill_tokens_per_s",
                     number_or_null(all, f->prompt_tokens_per_s), "prefill_io_s", number_or_null(true, f->prompt_io_s),
                     "prefill_chunk", (int)f->prompt_tokens, "prefill_bytes", f->prompt_bytes, "decode_limit",
                     all ? json_string(limit_word(f->decode_limit)) : json_null(), "with_twice_the_drive",
                     number_or_null(all, x->twice_drive.decode_tokens_per_s), "with_twice_the_memory",
                     number_or_null(all && x->given_hits < 0, x->twice_memory.decode_tokens_per_s));
}

static void print_help_line(const expectation *x)
{
    double now = x->now.decode_tokens_per_s, drive = x->twice_drive.decode_tokens_per_s;
    double memory = x->twice_memory.decode_tokens_per_s;
    if (x->given_hits >= 0) /* what memory would do to it is not known */
        printf("  a drive twice as fast would give %.1f tokens/s\n", drive);
    else if (drive < 1.05 * now && memory < 1.05 * now)
        printf("  neither a faster drive nor more memory would help much\n");
    else if (drive > memory)
        printf("  a drive twice as fast would give %.1f tokens/s, twice the memory %.1f\n", drive, memory);
    else
        printf("  twice the memory would give %.1f tokens/s, a drive twice as fast %.1f\n", memory, drive);
}

static void print_expectation(const expectation *x)
{
    char read[32];
    const hs_forecast *f = &x->now;
    printf("  expected: hit rate %.2f (%s), %s read per token", f->hit_rate,
           x->given_hits >= 0                 ? "as given"
           : x->routing == HS_ROUTING_UNIFORM ? "uniform routing"
                                              : "routes as recorded ones",
           hs_format_size((uint64_t)f->miss_bytes, read, sizeof read));
    if (x->disk_bytes_per_s > 0)
        printf("; the drive gives %.0f MB/s", x->disk_bytes_per_s / 1e6);
    else if (f->miss_bytes == 0)
        printf("; every expert fits, the drive is not needed after warm-up");
    putchar('\n');
    if (!is_known(x)) {
        printf("  how fast depends on the drive: say --disk-bw SIZE, or --disk PATH on it\n");
        return;
    }
    if (!x->is_computed) {
        printf("  decode at most %.2f tokens/s, as the drive reads\n", f->decode_tokens_per_s);
        return;
    }
    printf("  decode  %7.2f tokens/s, limited by %s (per token: reading %.0f ms, computing %.0f ms)\n",
           f->decode_tokens_per_s, limit_word(f->decode_limit), f->decode_io_s * 1e3, x->speed.decode_s * 1e3);
    printf("  prefill %7.2f tokens/s for %u tokens, limited by %s\n", f->prompt_tokens_per_s, f->prompt_tokens,
           limit_word(f->prompt_limit));
    print_help_line(x);
}

/* ---- the verb ---- */

static int list_models(bool as_json)
{
    json_t *names = as_json ? json_array() : NULL;
    for (const hs_known_model *m = hs_known_models; m->name; m++) {
        if (as_json)
            json_array_append_new(names, json_string(m->name));
        else
            printf("%-22s published in %s\n", m->name, m->published);
    }
    return as_json ? hs_print_json(names) : 0;
}

static int report(const hs_args *a, const target *t, const hs_engine_options *opt, const hs_plan *p, bool fits)
{
    expectation x = {0};
    if (fits)
        expect(a, opt, p, &x);
    if (hs_args_has(a, "json")) {
        json_t *o = hs_plan_json(p, a->operands[0]);
        if (o) {
            json_object_set_new(o, "fits", json_boolean(fits));
            if (fits)
                json_object_set_new(o, "expected", expectation_json(&x));
        }
        return hs_print_json(o);
    }
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_plan_format(p, t->label, &b);
    fputs(b.len ? b.data : "", stdout);
    hs_buf_deinit(&b);
    if (fits)
        print_expectation(&x);
    return 0;
}

static int plan(const hs_args *a, const hs_config *config, target *t, hs_err *err)
{
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    opt.path = a->operands[0];
    opt.shape = t->config ? &t->shape : NULL;
    hs_server_options server;
    if (hs_server_options_from_config(config, &server, err) < 0)
        return hs_fail(err);
    opt.parallel = server.parallel;
    opt.memory_outside = hs_server_memory_bytes(&server);
    if (hs_args_has(a, "ram"))
        opt.memory_limit = hs_args_size(a, "ram", 0) + !hs_args_size(a, "ram", 0); /* 0 would be auto */
    opt.context = (uint32_t)hs_args_int(a, "context", opt.context);
    hs_plan p = {0};
    int status = 0, r = hs_plan_make(&opt, &p, err);
    if (r == 0 || (r == -ENOMEM && p.floor))
        status = report(a, t, &opt, &p, r == 0);
    return r < 0 ? hs_fail(err) : status;
}

static int run_plan(const hs_args *a)
{
    if (hs_args_has(a, "list") == (a->n_operands > 0))
        return hs_fail_usage(a->verb, "plan needs a MODEL, or --list");
    if (hs_args_has(a, "list"))
        return list_models(hs_args_has(a, "json"));
    if (hs_args_has(a, "hit-rate") && hs_args_has(a, "routing"))
        return hs_fail_usage(a->verb, "--hit-rate says what --routing would give: one of them");
    if (hs_args_has(a, "disk") && hs_args_has(a, "disk-bw"))
        return hs_fail_usage(a->verb, "--disk-bw says what --disk would measure: one of them");
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    target t = {0};
    hs_err err = {0};
    hs_signals_setup();
    status = find_target(a, &t, &err) < 0 ? hs_fail(&err) : plan(a, config, &t, &err);
    end_target(&t);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"ram", HS_FLAG_SIZE, "SIZE", 0, 0, "memory of the whole process, instead of memory.limit"},
    {"context", HS_FLAG_INT, "N", 1, 16777216, "tokens of one conversation, instead of kv.context"},
    {"type", HS_FLAG_CHOICE, "published|bf16|q8_0|q4_k_m|mxfp4", 0, 0,
     "how the tensors of a model are stored that is not here yet; default as published"},
    {"disk-bw", HS_FLAG_SIZE, "SIZE", 1, 0, "bytes per second of the drive, instead of measuring it"},
    {"disk", HS_FLAG_TEXT, "PATH", 0, 0, "measure the drive at PATH instead of the model's"},
    {"routing", HS_FLAG_CHOICE, "real|uniform", 0, 0,
     "how routes repeat themselves: as recorded ones do (default), or not at all, as those of random weights"},
    {"hit-rate", HS_FLAG_NUMBER, "H", 0, 1,
     "share of generated tokens' experts found in memory, as bench or metrics told it, instead of --routing's"},
    {"prompt", HS_FLAG_INT, "N", 1, 16777216, "tokens of the prompt for prefill's speed; default a whole chunk"},
    {"list", HS_FLAG_SWITCH, NULL, 0, 0, "the names of models that need not be here"},
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_plan = {
    .name = "plan",
    .synopsis = "MODEL",
    .summary = "Will it run here, and how fast: memory floor, what is recommended, what to expect.",
    .details =
        "MODEL is a model's folder or file, its config.json alone, or the name of a published model (--list), of which "
        "nothing need be here.\n\n"
        "Plans as hotset serve does, its server's memory included; the other verbs take less. Loads no weights and "
        "needs no tokenizer files. Computes some of the model's layers on zeros (a second or two, some more for the "
        "biggest models) and reads for half a second to see what processors and drive give. Exit status 1, with the "
        "figures, if the memory is under the "
        "floor.\n\n"
        "The hit rate is that of recorded routes of DeepSeek-V2-Lite, which repeat less than those of most models.",
    .flags = flags,
    .max_operands = 1,
    .run = run_plan};

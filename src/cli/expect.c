/* expect.c - see expect.h. */
#include "cli/expect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/option.h"
#include "base/pool.h"
#include "cli/out.h"
#include "store/calibrate.h"

/* ---- the drive ---- */

#define MAX_DRIVES 8u

/* Whether the model, or copy of it, at path lies on a drive that is not among the n seen, to which it is added. */
static bool is_elsewhere(const char *path, dev_t seen[MAX_DRIVES], size_t *n)
{
    char *file = NULL;
    uint64_t size;
    hs_err ignored;
    struct stat st;
    bool is = *n < MAX_DRIVES && hs_disk_pick(path, &file, &size, &ignored) == 0 && stat(file, &st) == 0;
    for (size_t i = 0; is && i < *n; i++)
        is = st.st_dev != seen[i];
    if (is)
        seen[(*n)++] = st.st_dev;
    hs_free(file);
    return is;
}

/* Copies on further drives are read at the same time: rates add up. */
static void add_mirrors(const hs_engine_options *opt, const hs_plan *p, const hs_speed *s, double hit_rate, hs_drive *d)
{
    const char *at = opt->mirror ? opt->mirror : "", *item;
    dev_t seen[MAX_DRIVES];
    size_t len, n = 0;
    if (d->bytes_per_s <= 0 || !is_elsewhere(opt->path, seen, &n))
        return;
    while (hs_next_item(&at, &item, &len)) {
        hs_drive more = {0};
        char *path = hs_strndup(item, len);
        if (path && is_elsewhere(path, seen, &n) &&
            hs_drive_find(path, opt, p, s, hit_rate, hs_stop_asked, &more) != HS_DRIVE_UNKNOWN &&
            more.bytes_per_s > 0) {
            d->bytes_per_s += more.bytes_per_s;
            d->first_s = fmax(d->first_s, more.first_s);
            d->each_s = d->each_s > 0 && more.each_s > 0 ? 1 / (1 / d->each_s + 1 / more.each_s) : 0;
        }
        hs_free(path);
    }
}

/* ---- what follows ---- */

/* Twice the memory goes to the cache. */
static hs_plan with_twice_memory(const hs_plan *p)
{
    hs_plan q = *p;
    uint64_t slots = p->n_slots + p->limit / (p->expert_bytes_all / p->n_experts);
    q.n_slots = slots < p->n_experts ? (uint32_t)slots : p->n_experts;
    return q;
}

static void measure_speed(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, hs_expectation *x)
{
    hs_plan here = *p;
    uint32_t cpus = hs_cpu_count();
    hs_err err = {0};
    here.threads = p->threads < cpus ? p->threads : cpus;
    x->cores = (uint32_t)hs_args_int(a, "cores", 0);
    x->is_computed = hs_speed_measure(opt, &here, x->use.prompt_tokens, &x->speed, &err) == 0;
    if (!x->is_computed)
        hs_say("what this machine computes is left out: %s", err.text);
    else if (x->cores || hs_args_has(a, "memory-bw"))
        hs_speed_scale(&x->speed, p->threads, here.threads, (double)hs_args_size(a, "memory-bw", 0));
}

static hs_use use_of(const hs_expectation *x, const hs_plan *p)
{
    double n = p->n_experts;
    hs_use use = x->use;
    if (!x->is_hit_rate_given)
        use.hit_rate = hs_forecast_hit_rate(p->n_slots / n, p->token_cycle / n, use.routing);
    return use;
}

void hs_expect(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, hs_expectation *x)
{
    const char *routing = hs_args_text(a, "routing"), *path = hs_args_text(a, "disk");
    *x = (hs_expectation){.is_hit_rate_given = hs_args_has(a, "hit-rate"), .reads_ahead = opt->prefetch};
    x->use = (hs_use){.hit_rate = hs_args_number(a, "hit-rate", 0),
                      .routing = routing && !strcmp(routing, "uniform") ? HS_ROUTING_UNIFORM : HS_ROUTING_REAL,
                      .prompt_tokens = (uint32_t)hs_args_int(a, "prompt", 0),
                      .prompt_experts = (double)hs_args_int(a, "prompt-experts", -1),
                      .prompt_reads = (double)hs_args_int(a, "prompt-reads", -1)};
    measure_speed(a, opt, p, x);
    hs_use use = use_of(x, p);
    if (hs_args_has(a, "disk-bw")) {
        x->drive = hs_drive_of_rate(p, (double)hs_args_size(a, "disk-bw", 0));
        x->source = HS_DRIVE_GIVEN;
    } else if (path || !opt->shape) {
        const hs_speed *speed = x->is_computed ? &x->speed : NULL;
        x->source = hs_drive_find(path ? path : opt->path, opt, p, speed, use.hit_rate, hs_stop_asked, &x->drive);
        if (!path)
            add_mirrors(opt, p, speed, use.hit_rate, &x->drive);
    }
    hs_plan bigger = with_twice_memory(p);
    hs_drive faster = {2 * x->drive.bytes_per_s, x->drive.first_s, x->drive.each_s / 2};
    hs_use more = use_of(x, &bigger);
    x->now = hs_forecast_make(p, &x->speed, &x->drive, &use);
    x->twice_drive = hs_forecast_make(p, &x->speed, &faster, &use);
    x->twice_memory = hs_forecast_make(&bigger, &x->speed, &x->drive, &more);
}

/* ---- telling it ---- */

/* Nothing can be said about a model that must be read from a drive of unknown speed. */
static bool is_known(const hs_expectation *x)
{
    return x->drive.bytes_per_s > 0 || x->now.miss_bytes == 0;
}

static const char *limit_word(hs_limit l)
{
    return l == HS_LIMIT_DRIVE ? "drive" : l == HS_LIMIT_MEMORY ? "memory bandwidth" : "compute";
}

static const char *source_word(hs_drive_source s)
{
    static const char *const words[] = {"unknown", "given", "kept", "measured"};
    return words[s];
}

static json_t *number_or_null(bool known, double v)
{
    return known && v > 0 ? json_real(v) : json_null();
}

json_t *hs_expectation_json(const hs_expectation *x)
{
    bool all = is_known(x) && x->is_computed;
    const hs_forecast *f = &x->now;
    const char *routing = x->is_hit_rate_given ? "given" : x->use.routing == HS_ROUTING_UNIFORM ? "uniform" : "real";
    json_t *o =
        json_pack("{s:s, s:f, s:f, s:s, s:o, s:f, s:f, s:o, s:o, s:o}", "routing", routing, "hit_rate", f->hit_rate,
                  "miss_bytes_per_token", f->miss_bytes, "disk", source_word(x->source), "disk_bytes_per_s",
                  number_or_null(true, x->drive.bytes_per_s), "disk_first_s", x->drive.first_s, "disk_expert_s",
                  x->drive.each_s, "memory_bytes_per_s", number_or_null(x->is_computed, x->speed.memory_bytes_per_s),
                  "fresh_bytes_per_s", number_or_null(x->is_computed, x->speed.fresh_bytes_per_s), "expand_expert_s",
                  number_or_null(x->is_computed, x->speed.expand_s));
    json_t *decode =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "decode_io_s", number_or_null(true, f->decode_io_s),
                  "decode_stall_s", number_or_null(true, f->decode_stall_s), "decode_compute_s",
                  number_or_null(x->is_computed, x->speed.decode_s), "decode_tokens_per_s",
                  number_or_null(all, f->decode_tokens_per_s), "decode_ahead_tokens_per_s",
                  number_or_null(all && x->reads_ahead, f->ahead_tokens_per_s), "decode_limit",
                  all ? json_string(limit_word(f->decode_limit)) : json_null(), "with_twice_the_drive",
                  number_or_null(all, x->twice_drive.decode_tokens_per_s), "with_twice_the_memory",
                  number_or_null(all && !x->is_hit_rate_given, x->twice_memory.decode_tokens_per_s));
    json_t *prompt = json_pack("{s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o}", "prefill_chunk", (int)f->prompt_tokens,
                               "prefill_experts", f->prompt_experts, "prefill_bytes", f->prompt_bytes, "prefill_io_s",
                               number_or_null(true, f->prompt_io_s), "prefill_compute_s",
                               number_or_null(x->is_computed, f->prompt_compute_s), "prefill_tokens_per_s",
                               number_or_null(all, f->prompt_tokens_per_s), "first_prefill_tokens_per_s",
                               number_or_null(x->drive.bytes_per_s > 0 && x->is_computed, f->first_prompt_tokens_per_s),
                               "prefill_limit", all ? json_string(limit_word(f->prompt_limit)) : json_null());
    if (o && decode && prompt) {
        json_object_update(o, decode);
        json_object_update(o, prompt);
    }
    json_decref(decode);
    json_decref(prompt);
    return o;
}

static void print_help_line(const hs_expectation *x)
{
    double now = x->now.decode_tokens_per_s, drive = x->twice_drive.decode_tokens_per_s;
    double memory = x->twice_memory.decode_tokens_per_s;
    if (x->is_hit_rate_given) /* what memory would do to it is not known */
        printf("  a drive twice as fast would give %.1f tokens/s\n", drive);
    else if (drive < 1.05 * now && memory < 1.05 * now)
        printf("  neither a faster drive nor more memory would help much\n");
    else if (drive > memory)
        printf("  a drive twice as fast would give %.1f tokens/s, twice the memory %.1f\n", drive, memory);
    else
        printf("  twice the memory would give %.1f tokens/s, a drive twice as fast %.1f\n", memory, drive);
}

static void print_drive(const hs_expectation *x)
{
    double rate = x->drive.bytes_per_s / 1e6;
    if (x->source == HS_DRIVE_GIVEN)
        printf("; a drive of %.0f MB/s", rate);
    else if (x->source == HS_DRIVE_KEPT)
        printf("; the drive gives %.0f MB/s (calibrated earlier)", rate);
    else if (x->source == HS_DRIVE_MEASURED)
        printf("; the drive gives %.0f MB/s", rate);
}

void hs_expectation_print(const hs_expectation *x)
{
    char read[32];
    const hs_forecast *f = &x->now;
    printf("  expected: hit rate %.2f (%s), %s read per token", f->hit_rate,
           x->is_hit_rate_given                   ? "as given"
           : x->use.routing == HS_ROUTING_UNIFORM ? "uniform routing"
                                                  : "routes as recorded ones",
           hs_format_size((uint64_t)f->miss_bytes, read, sizeof read));
    print_drive(x);
    puts(f->miss_bytes == 0 ? "; every expert fits, the drive is not needed after warm-up" : "");
    if (!is_known(x)) {
        printf("  how fast depends on the drive: say --disk-bw SIZE, or --disk PATH on it\n");
        return;
    }
    if (!x->is_computed) {
        printf("  decode at most %.2f tokens/s, as the drive reads\n", f->decode_tokens_per_s);
        return;
    }
    if (x->cores)
        printf("  computing as %u processors like this machine's\n", x->cores);
    printf("  decode  %7.2f tokens/s, limited by %s (per token: computing %.0f ms, reading %.0f ms, %.0f of it "
           "meanwhile)\n",
           f->decode_tokens_per_s, limit_word(f->decode_limit), x->speed.decode_s * 1e3, f->decode_io_s * 1e3,
           fmax(f->decode_io_s - f->decode_stall_s, 0) * 1e3);
    if (x->speed.expand_s > 0 && f->miss_bytes > 0)
        printf("          of a packed model: decoding takes %.1f ms of each expert that is read\n",
               x->speed.expand_s * 1e3);
    if (x->reads_ahead && f->ahead_tokens_per_s > 1.01 * f->decode_tokens_per_s)
        printf("          with reading ahead up to %.2f, where routes can be foretold as recorded ones can\n",
               f->ahead_tokens_per_s);
    printf("  prefill %7.2f tokens/s for %u tokens, limited by %s", f->prompt_tokens_per_s, f->prompt_tokens,
           limit_word(f->prompt_limit));
    if (x->drive.bytes_per_s > 0)
        printf("; the first prompt, with nothing in memory, %.2f", f->first_prompt_tokens_per_s);
    putchar('\n');
    print_help_line(x);
}

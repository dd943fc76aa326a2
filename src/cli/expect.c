/* expect.c - see expect.h. */
#include "cli/expect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/option.h"
#include "base/pool.h"
#include "cli/out.h"

/* ---- the drives ---- */

/* The figures of --disk-bw; -EINVAL: they are none. */
static int read_rates(const char *text, double ret[HS_MAX_DRIVES], uint32_t *ret_n, hs_err *err)
{
    char word[32];
    *ret_n = 0;
    for (size_t len; *text; text += len + (text[len] == ',')) {
        uint64_t rate;
        len = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), text);
        if (*ret_n == HS_MAX_DRIVES)
            return hs_err_set(err, -EINVAL, "--disk-bw: more than %u figures", HS_MAX_DRIVES);
        if (len >= sizeof word || hs_parse_size(word, &rate) < 0 || rate == 0)
            return hs_err_set(err, -EINVAL, "--disk-bw: '%s' is not a size like 3.5G, or one for each drive: 3.5G,7G",
                              word);
        ret[(*ret_n)++] = (double)rate;
    }
    return *ret_n ? 0 : hs_err_set(err, -EINVAL, "--disk-bw: the list is empty");
}

int hs_expect_check(const hs_args *a, hs_err *err)
{
    double rate[HS_MAX_DRIVES];
    uint32_t n;
    return hs_args_has(a, "disk-bw") ? read_rates(hs_args_text(a, "disk-bw"), rate, &n, err) : 0;
}

/* By --disk-bw. */
static int take_rates(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, hs_expectation *x, hs_err *err)
{
    double rate[HS_MAX_DRIVES], sum = 0;
    uint32_t n;
    int r = read_rates(hs_args_text(a, "disk-bw"), rate, &n, err);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < n; i++) {
        sum += rate[i];
        x->of[i] = hs_drive_of_rate(p, rate[i]);
        x->source_of[i] = HS_DRIVE_GIVEN;
    }
    x->source = HS_DRIVE_GIVEN;
    x->drive = hs_drive_of_rate(p, sum); /* striped by rate */
    if (n == 1)
        return 0;
    if (!opt->shape && n != x->drives.n)
        return hs_err_set(err, -EINVAL, "--disk-bw: %u figures, but the model's experts are on %u drive%s", n,
                          x->drives.n, x->drives.n == 1 ? "" : "s");
    x->n_of = n;
    if (!opt->shape)
        x->drive = hs_drives_join(p, &x->drives, opt->io_read_size, x->of);
    return 0;
}

/* Each by what is kept of it, or measured. One that nothing is known of leaves all unknown. */
static void find_rates(const hs_engine_options *opt, const hs_plan *p, double hit_rate, hs_expectation *x)
{
    const hs_speed *speed = x->is_computed ? &x->speed : NULL;
    x->n_of = x->drives.n;
    x->source = HS_DRIVE_KEPT;
    for (uint32_t i = 0; i < x->n_of; i++) {
        hs_drive_source s = hs_drive_find(x->drives.drive[i].file, opt, p, speed, hit_rate, hs_stop_asked, &x->of[i]);
        x->source_of[i] = x->of[i].bytes_per_s > 0 ? s : HS_DRIVE_UNKNOWN;
        if (x->source != HS_DRIVE_UNKNOWN)
            x->source = x->source_of[i] == HS_DRIVE_KEPT ? x->source : x->source_of[i];
    }
    if (x->source != HS_DRIVE_UNKNOWN)
        x->drive = hs_drives_join(p, &x->drives, opt->io_read_size, x->of);
}

static int find_drives(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, double hit_rate,
                       hs_expectation *x, hs_err *err)
{
    const char *path = hs_args_text(a, "disk");
    if (path) {
        x->source = hs_drive_find(path, opt, p, x->is_computed ? &x->speed : NULL, hit_rate, hs_stop_asked, &x->drive);
        return 0;
    }
    int r = opt->shape ? 0 : hs_drives_find(opt, &x->drives, err);
    if (r < 0 || hs_args_has(a, "disk-bw"))
        return r < 0 ? r : take_rates(a, opt, p, x, err);
    if (!opt->shape)
        find_rates(opt, p, hit_rate, x);
    return 0;
}

void hs_expectation_deinit(hs_expectation *x)
{
    hs_drives_deinit(&x->drives);
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

int hs_expect(const hs_args *a, const hs_engine_options *opt, const hs_plan *p, hs_expectation *x, hs_err *err)
{
    const char *routing = hs_args_text(a, "routing");
    *x = (hs_expectation){.is_hit_rate_given = hs_args_has(a, "hit-rate"), .reads_ahead = opt->prefetch};
    x->use = (hs_use){.hit_rate = hs_args_number(a, "hit-rate", 0),
                      .routing = routing && !strcmp(routing, "uniform") ? HS_ROUTING_UNIFORM : HS_ROUTING_REAL,
                      .prompt_tokens = (uint32_t)hs_args_int(a, "prompt", 0),
                      .prompt_experts = (double)hs_args_int(a, "prompt-experts", -1),
                      .prompt_reads = (double)hs_args_int(a, "prompt-reads", -1)};
    measure_speed(a, opt, p, x);
    hs_use use = use_of(x, p);
    int r = find_drives(a, opt, p, use.hit_rate, x, err);
    if (r < 0) {
        hs_expectation_deinit(x);
        return r;
    }
    hs_plan bigger = with_twice_memory(p);
    hs_drive faster = {2 * x->drive.bytes_per_s, x->drive.first_s, x->drive.each_s / 2};
    hs_use more = use_of(x, &bigger);
    x->now = hs_forecast_make(p, &x->speed, &x->drive, &use);
    x->twice_drive = hs_forecast_make(p, &x->speed, &faster, &use);
    x->twice_memory = hs_forecast_make(&bigger, &x->speed, &x->drive, &more);
    return 0;
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

static json_t *drives_json(const hs_expectation *x)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < x->drives.n; i++) {
        const hs_drive_place *at = &x->drives.drive[i];
        bool known = i < x->n_of && x->of[i].bytes_per_s > 0;
        json_array_append_new(list, json_pack("{s:s, s:i, s:f, s:s, s:o}", "file", at->file, "copy", (int)at->copy,
                                              "share", at->share, "source", source_word(x->source_of[i]), "bytes_per_s",
                                              number_or_null(known, x->of[i].bytes_per_s)));
    }
    return list;
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
        json_object_set_new(o, "drives", drives_json(x));
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

static const char *source_note(hs_drive_source s)
{
    static const char *const words[] = {"", "as given", "calibrated earlier", "measured now"};
    return words[s];
}

static bool has_copies(const hs_expectation *x)
{
    return x->drives.n > 0 && x->drives.drive[x->drives.n - 1].copy > 0;
}

static void print_drive(const hs_expectation *x)
{
    if (x->source != HS_DRIVE_UNKNOWN)
        printf("; the drive%s %.0f MB/s (%s)", x->drives.n > 1 || x->n_of > 1 ? "s together give" : " gives",
               x->drive.bytes_per_s / 1e6, source_note(x->source));
}

/* Where there are several. */
static void print_drives(const hs_expectation *x)
{
    const char *how = !x->drives.n       ? "striped over drives by their rates, all read at once"
                      : has_copies(x)    ? "copies on several drives, each read goes where it ends first"
                      : x->drives.is_cut ? "each expert cut over drives, all read at once"
                                         : "experts dealt out over drives, all read at once";
    if (x->n_of < 2 && x->drives.n < 2)
        return;
    printf("  %s (assumed: none slows another):\n", how);
    for (uint32_t i = 0; i < (x->n_of > 1 ? x->n_of : x->drives.n); i++) {
        const hs_drive_place *at = &x->drives.drive[i];
        int folder = at->file ? (int)(strrchr(at->file, '/') - at->file) : 0;
        double share = at->file ? at->share : x->of[i].bytes_per_s / x->drive.bytes_per_s;
        printf("    %3.0f %%%s", 100 * share, has_copies(x) ? " of a copy" : "");
        if (x->n_of > 1 && x->source_of[i] != HS_DRIVE_UNKNOWN)
            printf(" at %.0f MB/s (%s)", x->of[i].bytes_per_s / 1e6, source_note(x->source_of[i]));
        printf("%s%.*s\n", folder ? ", in " : "", folder, at->file ? at->file : "");
    }
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
    print_drives(x);
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

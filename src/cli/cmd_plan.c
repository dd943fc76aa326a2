/* cmd_plan.c - "will it run": the memory plan and what can be expected of this drive, before any weight is loaded. */
#include <stdio.h>

#include "base/mem.h"
#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/verbs.h"
#include "server/server.h"
#include "store/disk.h"

typedef struct expectation {
    double hit_rate;         /* without any locality of routing: the resident share */
    double disk_bytes_per_s; /* 0 = not measured */
    double tokens_per_s;     /* what the drive allows; 0 = it sets no bound */
} expectation;

/* Half a second of reading as the engine would. A drive that cannot be measured is left out. */
static expectation expect(const hs_plan *p, const char *path, const hs_engine_options *opt, bool measure)
{
    expectation x = {.hit_rate = p->n_experts ? (double)p->n_slots / p->n_experts : 1};
    double cold = (double)p->bytes_per_token_cold * (1 - x.hit_rate);
    char *file = NULL;
    uint64_t size;
    hs_err ignored;
    if (cold <= 0 || !measure || hs_disk_pick(path, &file, &size, &ignored) < 0)
        return x;
    hs_disk_run run = {.engine = opt->io_engine,
                       .buffered = opt->io_buffered,
                       .random = true,
                       .request_bytes = 1 << 20,
                       .in_flight = 16 << 20,
                       .max_bytes = 1ull << 30,
                       .max_seconds = 0.5,
                       .seed = 1,
                       .stop = hs_stop_asked};
    hs_disk_result result;
    if (hs_disk_measure(file, &run, &result, &ignored) == 0) {
        x.disk_bytes_per_s = hs_disk_rate(&result);
        x.tokens_per_s = x.disk_bytes_per_s / cold;
    }
    hs_free(file);
    return x;
}

static int print_json(const hs_plan *p, const char *path, bool fits, const expectation *x)
{
    json_t *o = hs_plan_json(p, path);
    json_t *e = json_pack("{s:f}", "hit_rate", x->hit_rate);
    if (o && e) {
        json_object_set_new(e, "disk_bytes_per_s",
                            x->disk_bytes_per_s > 0 ? json_real(x->disk_bytes_per_s) : json_null());
        json_object_set_new(e, "tokens_per_s", x->tokens_per_s > 0 ? json_real(x->tokens_per_s) : json_null());
        json_object_set_new(o, "fits", json_boolean(fits));
        json_object_set(o, "expected", e);
    }
    json_decref(e);
    return hs_print_json(o);
}

static void print_text(const hs_plan *p, const char *path, bool fits, const expectation *x)
{
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_plan_format(p, path, &b);
    fputs(b.len ? b.data : "", stdout);
    hs_buf_deinit(&b);
    if (!fits)
        return;
    printf("  expected: hit rate from %.2f on (more when routing repeats itself)", x->hit_rate);
    if (x->tokens_per_s > 0)
        printf("; the drive gives %.0f MB/s, enough for %.1f tokens/s", x->disk_bytes_per_s / 1e6, x->tokens_per_s);
    else if (p->n_slots == p->n_experts)
        printf("; every expert fits, the drive is not needed after warm-up");
    putchar('\n');
}

static int run_plan(const hs_args *a)
{
    const char *path = a->operands[0];
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    opt.path = path;
    hs_err err = {0};
    hs_server_options server;
    if (hs_server_options_from_config(config, &server, &err) < 0) {
        hs_config_destroy(&config);
        return hs_fail(&err);
    }
    opt.parallel = server.parallel;
    opt.memory_outside = hs_server_memory_bytes(&server);
    if (hs_args_has(a, "ram"))
        opt.memory_limit = hs_args_size(a, "ram", 0) + !hs_args_size(a, "ram", 0); /* 0 would be auto */
    opt.context = (uint32_t)hs_args_int(a, "context", opt.context);
    hs_plan plan = {0};
    hs_signals_setup();
    int r = hs_plan_make(&opt, &plan, &err);
    if (r == 0 || (r == -ENOMEM && plan.floor)) {
        expectation x = expect(&plan, path, &opt, r == 0);
        if (hs_args_has(a, "json"))
            status = print_json(&plan, path, r == 0, &x);
        else
            print_text(&plan, path, r == 0, &x);
    }
    if (r < 0)
        status = hs_fail(&err);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"ram", HS_FLAG_SIZE, "SIZE", 0, 0, "memory of the whole process, instead of memory.limit"},
    {"context", HS_FLAG_INT, "N", 1, 16777216, "tokens of one conversation, instead of kv.context"},
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_plan = {
    .name = "plan",
    .synopsis = "PATH",
    .summary = "Will it run here: memory floor, what is recommended, what to expect.",
    .details =
        "Plans as hotset serve does, its server's memory included; the other verbs take less. Loads no weights and "
        "needs no tokenizer files. Reads for half a second to see what the drive gives. Exit status 1, with the "
        "figures, if the memory is under the floor.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = 1,
    .run = run_plan};

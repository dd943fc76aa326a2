/*
 * bench_disk.c - bench --disk: a grid of patterns, sizes and depths; what hotset reaches beside what the bare engine
 * gets from the same drive with the same requests, as fio would measure it; and the calibration that serve makes at its
 * first start.
 */
#include "cli/bench_disk.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "store/calibrate.h"

#define TURNS 3

typedef struct bench {
    const hs_config *config;
    const char *file;
    uint64_t size;
    hs_disk_run run;
    bool as_json;
    json_t *rows, *trials;
    hs_disk_result last;
} bench;

static int measure_grid(bench *b, hs_err *err)
{
    static const uint32_t request[] = {64 << 10, 256 << 10, 1 << 20};
    static const uint64_t in_flight[] = {1 << 20, 4 << 20, 16 << 20};
    for (size_t i = 0; i < 18; i++) {
        hs_disk_run run = b->run;
        run.random = i >= 9;
        run.request_bytes = request[i % 9 / 3];
        run.in_flight = in_flight[i % 3];
        if (b->size < run.request_bytes)
            continue;
        int r = hs_disk_measure(b->file, &run, &b->last, err);
        if (r < 0)
            return r;
        const char *pattern = run.random ? "random" : "sequential";
        const hs_disk_result *l = &b->last;
        json_array_append_new(b->rows, json_pack("{s:s, s:i, s:I, s:f, s:f, s:I}", "pattern", pattern, "request_bytes",
                                                 (int)run.request_bytes, "in_flight", (json_int_t)run.in_flight,
                                                 "bytes_per_s", hs_disk_rate(l), "requests_per_s",
                                                 l->busy_s > 0 ? (double)l->reads / l->busy_s : 0.0, "bytes",
                                                 (json_int_t)l->bytes));
        char x[32], y[32], z[32];
        if (!b->as_json)
            printf("  %-10s %10s %10s %12s/s\n", pattern, hs_format_size(run.request_bytes, x, sizeof x),
                   hs_format_size(run.in_flight, y, sizeof y), hs_format_size((uint64_t)hs_disk_rate(l), z, sizeof z));
    }
    return 0;
}

static void sort(double v[TURNS])
{
    for (int i = 1; i < TURNS; i++)
        for (int k = i; k > 0 && v[k] < v[k - 1]; k--) {
            double x = v[k];
            v[k] = v[k - 1];
            v[k - 1] = x;
        }
}

/* Random megabytes, 16 in flight, by turns through hs_io and by the bare engine: medians. */
static int compare(bench *b, double *ret_hotset, double *ret_bare, hs_err *err)
{
    double v[2][TURNS] = {{0}};
    for (int i = 0; i < 2 * TURNS; i++) {
        hs_disk_run run = b->run;
        hs_disk_result result;
        run.random = true;
        run.bare = i % 2;
        run.request_bytes = 1 << 20;
        run.in_flight = 16 << 20;
        run.seed += (uint64_t)i * 7919;
        int r = hs_disk_measure(b->file, &run, &result, err);
        if (r < 0)
            return r;
        v[i % 2][i / 2] = hs_disk_rate(&result);
    }
    sort(v[0]);
    sort(v[1]);
    *ret_hotset = v[0][TURNS / 2];
    *ret_bare = v[1][TURNS / 2];
    return 0;
}

static json_t *choice_json(const hs_io_choice *c)
{
    return json_pack("{s:s, s:b, s:I, s:I, s:f}", "engine", c->engine == HS_IO_PREAD ? "pread" : "io_uring", "direct",
                     !c->buffered, "read_size", (json_int_t)c->read_size, "in_flight", (json_int_t)c->in_flight,
                     "bytes_per_s", c->bytes_per_s);
}

static void print_choice(const char *word, const hs_io_choice *c)
{
    char x[32], y[32], z[32];
    printf("  %-10s %-8s %-6s %10s %10s %12s/s\n", word, c->engine == HS_IO_PREAD ? "pread" : "io_uring",
           c->buffered ? "cached" : "direct", hs_format_size(c->read_size, x, sizeof x),
           hs_format_size(c->in_flight, y, sizeof y), hs_format_size((uint64_t)c->bytes_per_s, z, sizeof z));
}

static int on_trial(void *ctx, const hs_io_choice *how, double bytes_per_s)
{
    bench *b = ctx;
    hs_io_choice c = *how;
    c.bytes_per_s = bytes_per_s;
    json_array_append_new(b->trials, choice_json(&c));
    if (!b->as_json)
        print_choice("trial", &c);
    return 0;
}

/* *ret_choice stays NULL if calibration is off or the file is too small for it. */
static int calibrate(bench *b, json_t **ret_choice, hs_err *err)
{
    if (b->size < HS_CALIBRATE_MIN_BYTES || !strcmp(hs_config_str(b->config, "io", "calibrate"), "off"))
        return 0;
    hs_calibrate_config c = {.stop = hs_stop_asked, .on_trial = on_trial, .ctx = b};
    hs_io_choice choice;
    int r = hs_calibrate(b->file, &c, &choice, err);
    if (r < 0)
        return r;
    const char *dir = hs_config_str(b->config, "state", "dir");
    hs_err why = {0};
    bool kept = *dir && hs_calibration_save(dir, b->file, &choice, &why) == 0;
    if (!kept)
        hs_say("the choice is not kept: %s", *dir ? why.text : "there is no state directory");
    if (!b->as_json)
        print_choice("choice", &choice);
    *ret_choice = choice_json(&choice);
    json_object_set_new(*ret_choice, "default_bytes_per_s", json_real(choice.default_bytes_per_s));
    json_object_set_new(*ret_choice, "kept", json_boolean(kept));
    return 0;
}

static int measure_all(bench *b, json_t **ret, hs_err *err)
{
    double hotset = 0, bare = 0;
    json_t *choice = NULL;
    int r = measure_grid(b, err);
    if (r == 0)
        r = compare(b, &hotset, &bare, err);
    if (r < 0)
        return r;
    char x[32], y[32];
    if (!b->as_json)
        printf("  read through %s, %s\n  random 1.0 MiB, 16.0 MiB in flight: hotset %s/s, bare engine %s/s: %.3f\n",
               b->last.engine, b->last.direct ? "O_DIRECT" : "the page cache",
               hs_format_size((uint64_t)hotset, x, sizeof x), hs_format_size((uint64_t)bare, y, sizeof y),
               bare > 0 ? hotset / bare : 0);
    r = calibrate(b, &choice, err);
    if (r == 0 && b->as_json)
        *ret = json_pack("{s:s, s:s, s:b, s:O, s:f, s:f, s:O, s:o}", "file", b->file, "engine", b->last.engine,
                         "direct", b->last.direct, "results", b->rows, "hotset_bytes_per_s", hotset, "bare_bytes_per_s",
                         bare, "trials", b->trials, "choice", choice ? choice : json_null());
    else
        json_decref(choice);
    return r;
}

int hs_bench_disk(const hs_args *a)
{
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    char *file = NULL;
    hs_err err = {0};
    bench b = {.config = config,
               .run = {.engine = hs_config_str(config, "io", "engine"),
                       .buffered = !strcmp(hs_config_str(config, "io", "direct"), "no"),
                       .max_bytes = 4ull << 30,
                       .max_seconds = hs_args_number(a, "seconds", 1),
                       .seed = (uint64_t)hs_args_int(a, "seed", 1),
                       .stop = hs_stop_asked},
               .as_json = hs_args_has(a, "json"),
               .rows = json_array(),
               .trials = json_array()};
    json_t *o = NULL;
    int r = hs_disk_pick(hs_args_text(a, "disk"), &file, &b.size, &err);
    b.file = file;
    if (r == 0 && !b.as_json)
        printf("%s\n  %-10s %10s %10s\n", file, "pattern", "request", "in flight");
    if (r == 0)
        r = measure_all(&b, &o, &err);
    if (r < 0)
        status = hs_fail(&err);
    else if (b.as_json)
        status = hs_print_json(o);
    json_decref(b.rows);
    json_decref(b.trials);
    hs_free(file);
    hs_config_destroy(&config);
    return status;
}

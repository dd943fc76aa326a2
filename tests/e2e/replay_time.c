/*
 * replay_time.c - hotset sim foretells what a replay through the daemon hits, exactly, and how long it takes.
 *
 *   replay_time HOTSET MODEL ROUTES
 *
 * The drive is a throttled engine, slow enough for reads to be most of the time, so that a busy machine matters little,
 * and the file is in the page cache, so that the real drive does not.
 * First the simulation with the options that bench --replay prints, then of a bigger cache on another drive, by what
 * the first run has measured of computing and waking, and what is known of that drive. The time's bounds are wide on
 * purpose.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/bench_replay.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "engine/engine_int.h"
#include "unit/store/engines.h"

#define TOKENS   40
#define LAYERS   5
#define EXPERTS  64
#define PER_STEP 6
#define LEAST    0.4 /* simulated / replayed */
#define MOST     1.3

static throttle_engine drive;

static int load(hs_engine_options *opt, hs_engine **ret_engine, hs_err *err)
{
    const hs_io_config how = {.custom = &throttle_engine_ops, .custom_ctx = &drive};
    return hs__engine_create(opt, &how, ret_engine, err);
}

static int fail(const char *what)
{
    fprintf(stderr, "replay_time: %s\n", what);
    return 1;
}

/* The first tokens of the routes that the cache's tests replay, as a trace. */
static int write_trace(const char *routes, const char *path)
{
    char line[512];
    FILE *in = fopen(routes, "r"), *out = fopen(path, "w");
    int n = 0;
    if (!in || !out)
        return fail("no routes");
    fprintf(out, "# route_trace v1\n# model=tale arch=deepseek_v3 n_layer=6 n_expert=%d n_expert_used=%d\n", EXPERTS,
            PER_STEP);
    for (int l = 1; l <= LAYERS; l++)
        fprintf(out, "# layer=%d expert_bytes=98304 dense_bytes=0\n", l);
    fputs("turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n", out);
    while (n < TOKENS && fgets(line, sizeof line, in)) {
        char *at = line;
        for (int i = 0; *line != '#' && i < LAYERS * PER_STEP; i++)
            fprintf(out, "0,1,%d,%d,%d,%ld,0.16667,0,98304\n", n, i / PER_STEP + 1, i % PER_STEP, strtol(at, &at, 10));
        n += *line != '#';
    }
    fclose(in);
    return fclose(out) == 0 && n == TOKENS ? 0 : fail("cannot write the trace");
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* The replay's figures, a new reference; NULL: it failed, and said why. */
static json_t *replay(const char *model, const char *trace, const char *cache)
{
    char size[32], config_path[64];
    snprintf(size, sizeof size, "cache.size=%s", cache);
    snprintf(config_path, sizeof config_path, "%s.conf", trace);
    const char *argv[] = {model,
                          "--replay",
                          trace,
                          "--config",
                          config_path,
                          "--set",
                          size,
                          "--set",
                          "prefetch.mode=off",
                          "--set",
                          "cache.policy=ewma",
                          "--set",
                          "cache.preload_seconds=0",
                          "--set",
                          "io.direct=no"};
    hs_args a;
    hs_err err = {0};
    hs_config *config = NULL;
    json_t *o = NULL;
    if (hs_args_parse(&hs_verb_bench, (int)(sizeof argv / sizeof *argv), (char *const *)argv, &a, &err) < 0) {
        fail(err.text);
        return NULL;
    }
    a.env = environ;
    if (hs_load_config(&a, &config))
        return NULL;
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    opt.path = model;
    opt.without_text = true;
    if (hs_bench_replay(&a, &opt, load, &o, &err) < 0)
        fail(err.text);
    hs_config_destroy(&config);
    return o;
}

/* The last policy's results: accesses, hits, seconds. */
static int simulate(const char *hotset, const char *trace, const char *options, double ret[3])
{
    static const char *const name[3] = {"accesses", "hits", "seconds"};
    char text[4096];
    char *command = hs_asprintf("'%s' sim '%s' %s --json", hotset, trace, options);
    FILE *f = command ? popen(command, "r") : NULL;
    size_t n = f ? fread(text, 1, sizeof text, f) : 0;
    int status = f ? pclose(f) : -1;
    hs_free(command);
    json_t *o = json_loadb(text, n, 0, NULL), *results = json_object_get(o, "results");
    const json_t *last = json_array_get(results, json_array_size(results) ? json_array_size(results) - 1 : 0);
    for (int i = 0; i < 3; i++)
        ret[i] = number(last, name[i]);
    json_decref(o);
    return status == 0 && ret[0] > 0 ? 0 : fail("hotset sim failed");
}

static int compare(const char *what, const json_t *figures, const char *hotset, const char *trace, const char *options)
{
    double sim[3];
    if (simulate(hotset, trace, options, sim))
        return 1;
    double ratio = sim[2] / number(figures, "seconds");
    printf("%s: %.0f of %.0f hits, simulated %.0f of %.0f; %.2f s of which %.2f waiting, simulated %.2f: %.3f\n", what,
           number(figures, "hits"), number(figures, "accesses"), sim[1], sim[0], number(figures, "seconds"),
           number(figures, "disk_wait_s"), sim[2], ratio);
    if (sim[0] != number(figures, "accesses") || sim[1] != number(figures, "hits"))
        return fail("the hits differ");
    return ratio > LEAST && ratio < MOST ? 0 : fail("the times differ");
}

/* The value of an option in the list of them. */
static double option(const char *options, const char *name)
{
    const char *at = strstr(options, name);
    return at ? strtod(at + strlen(name), NULL) : NAN;
}

static int run(const char *hotset, const char *model, const char *trace)
{
    char options[1024];
    drive = (throttle_engine){.bytes_per_s = 8000000, .latency_ns = 1000000};
    json_t *a = replay(model, trace, "25%");
    const char *sim = json_string_value(json_object_get(a, "sim"));
    int bad = !sim || compare("as it was", a, hotset, trace, sim);

    drive = (throttle_engine){.bytes_per_s = 4000000, .latency_ns = 3000000};
    json_t *b = bad ? NULL : replay(model, trace, "50%");
    if (b) {
        double expert = number(b, "bytes_read") / (number(b, "accesses") - number(b, "hits"));
        snprintf(options, sizeof options,
                 "--sets --cache 50%% --policy ewma --expert-size %.0f --disk-bw 4000000 --disk-latency %g "
                 "--compute-ms %g --experts-ms %g --decode-ms %g",
                 expert, option(sim, "--disk-latency ") + 2, option(sim, "--compute-ms "), option(sim, "--experts-ms "),
                 option(sim, "--decode-ms "));
        bad = compare("elsewhere", b, hotset, trace, options);
    }
    bad |= !b;
    json_decref(a);
    json_decref(b);
    return bad;
}

int main(int argc, char **argv)
{
    char trace[] = "/tmp/hotset-replay-time-XXXXXX";
    int fd = argc == 4 ? mkstemp(trace) : -1;
    if (fd < 0)
        return fail("usage: replay_time HOTSET MODEL ROUTES");
    close(fd);
    char config[64];
    snprintf(config, sizeof config, "%s.conf", trace);
    FILE *empty = fopen(config, "w");
    int bad = !empty || fclose(empty) || write_trace(argv[3], trace) || run(argv[1], argv[2], trace);
    unlink(config);
    unlink(trace);
    return bad;
}

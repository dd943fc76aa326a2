/*
 * calibrate.c - see calibrate.h.
 *
 * One axis after the other (engine and page cache, read size, bytes in flight): each of its values is measured once,
 * shortly. The fastest has to prove itself only if it was 5 % faster than what stands: by turns, three times each,
 * longer, medians. So a drive that is busy with something else for a moment changes nothing, and the defaults cost
 * least. When the time is up, or a drive falls silent, what stands stays: nothing is begun that the drive, as slow as
 * it has been at its slowest, would not have done with in time.
 *
 * A stored result is a JSON file named by a hash of hs_device_describe's sentence, which stands inside as well.
 */
#include "store/calibrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/state_dir.h"
#include "store/device.h"

#define VERSION   1
#define COARSE_S  0.12
#define FINE_S    0.15
#define LONE_S    0.04
#define SETUP_S   0.02 /* memory and a thread, for each measurement */
#define TURNS     3
#define THRESHOLD 1.05
#define MAX_FILE  4096u
#define MAX_ID    400u
#define MAX_RATE  1e15

static const char *const engine_names[] = {"auto", "io_uring", "pread"};

hs_io_choice hs_io_choice_default(void)
{
    return (hs_io_choice){.engine = HS_IO_URING, .read_size = 1u << 20, .in_flight = 16u << 20};
}

typedef struct search {
    const hs_calibrate_config *cfg;
    const char *file;
    uint64_t (*now)(void);
    uint64_t end_ns, seed;
    double slowest;    /* bytes/s that have been seen; 0: none yet */
    hs_io_choice best; /* what stands; bytes_per_s as last measured */
} search;

/* -ETIME: there is no time left for it. */
static int try(search *s, const hs_io_choice *how, double seconds, double *ret, hs_err *err)
{
    double landing = s->slowest > 0 ? (double)how->in_flight / s->slowest : 0;
    if ((double)s->now() + (SETUP_S + seconds + landing) * 1e9 > (double)s->end_ns)
        return -ETIME;
    hs_disk_run run = {.engine = engine_names[how->engine],
                       .buffered = how->buffered,
                       .random = true,
                       .request_bytes = how->read_size,
                       .in_flight = how->in_flight,
                       .max_bytes = 4ull << 30,
                       .max_seconds = seconds,
                       .seed = s->seed++ * 7919,
                       .give_up_ns = s->end_ns,
                       .stop = s->cfg->stop};
    hs_disk_result result;
    int r = (s->cfg->measure ? s->cfg->measure : hs_disk_measure)(s->file, &run, &result, err);
    if (r < 0)
        return r;
    *ret = hs_disk_rate(&result);
    s->slowest = s->slowest > 0 && s->slowest < *ret ? s->slowest : *ret;
    if (s->cfg->on_trial && s->cfg->on_trial(s->cfg->ctx, how, *ret))
        return hs_err_set(err, -ECANCELED, "calibration was stopped");
    return 0;
}

static double median(double v[TURNS])
{
    double low = v[0] < v[1] ? v[0] : v[1], high = v[0] < v[1] ? v[1] : v[0];
    return v[2] < low ? low : v[2] > high ? high : v[2];
}

/* By turns with what stands; takes its place if it is better. */
static int prove(search *s, const hs_io_choice *candidate, hs_err *err)
{
    double a[TURNS], b[TURNS];
    int r = 0;
    for (int i = 0; r == 0 && i < TURNS; i++) {
        r = try(s, &s->best, FINE_S, &a[i], err);
        if (r == 0)
            r = try(s, candidate, FINE_S, &b[i], err);
    }
    if (r < 0)
        return r;
    double was = median(a), is = median(b);
    double first = s->best.default_bytes_per_s > 0 ? s->best.default_bytes_per_s : was;
    s->best.bytes_per_s = was;
    if (is < was * THRESHOLD)
        return 0;
    s->best = *candidate;
    s->best.bytes_per_s = is;
    s->best.default_bytes_per_s = first;
    return 0;
}

/* A measurement that there was no time for, or that the drive did not let end: what stands stays. */
static int end_search(int r)
{
    return r == -ETIME || r == -ETIMEDOUT ? 0 : r;
}

/* Measures each of the n ways once; the fastest is proved if it seems better than what stands. A way that cannot be
 * used here (io_uring is denied) drops out. */
static int search_axis(search *s, const hs_io_choice *ways, size_t n, hs_err *err)
{
    size_t at = n;
    double most = s->best.bytes_per_s * THRESHOLD, rate = 0;
    for (size_t i = 0; i < n; i++) {
        hs_err why = {0};
        int r = try(s, &ways[i], COARSE_S, &rate, &why);
        if (r == -ETIME || r == -ECANCELED)
            return r == -ETIME ? 0 : hs_err_set(err, r, "%s", why.text);
        if (r < 0)
            hs_debug("calibration: %s", why.text);
        if (r == 0 && rate >= most) {
            most = rate;
            at = i;
        }
    }
    return at < n ? end_search(prove(s, &ways[at], err)) : 0;
}

/* The first way that works; most likely the default. */
static int begin(search *s, hs_err *err)
{
    double rate;
    int r = try(s, &s->best, COARSE_S, &rate, err); /* wakes drive and clocks */
    if (r < 0 && r != -ECANCELED && r != -ETIMEDOUT) {
        s->best.engine = HS_IO_PREAD;
        r = try(s, &s->best, COARSE_S, &rate, err);
    }
    if (r == 0) {
        s->best.bytes_per_s = rate;
        r = end_search(try(s, &s->best, COARSE_S, &s->best.bytes_per_s, err));
    }
    return r == -ETIME ? hs_err_set(err, -ETIME, "%s: no time to measure anything", s->file) : r;
}

int hs_calibrate(const char *file, const hs_calibrate_config *cfg, hs_io_choice *ret, hs_err *err)
{
    static const hs_calibrate_config none;
    static const uint32_t read_sizes[] = {256u << 10, 512u << 10, 2u << 20};
    static const uint64_t in_flight[] = {4u << 20, 8u << 20};
    search s = {.cfg = cfg ? cfg : &none, .file = file, .seed = 1, .best = hs_io_choice_default()};
    s.now = s.cfg->now ? s.cfg->now : hs_now_ns;
    s.end_ns = s.now() + (uint64_t)((s.cfg->seconds > 0 ? s.cfg->seconds : HS_CALIBRATE_SECONDS) * 1e9);
    int r = begin(&s, err);
    hs_io_choice ways[3] = {s.best, s.best, s.best};
    ways[0].engine = HS_IO_PREAD;
    ways[1].buffered = true;
    if (r == 0 && s.best.engine == HS_IO_URING)
        r = search_axis(&s, ways, 2, err);
    else if (r == 0)
        r = search_axis(&s, ways + 1, 1, err);
    for (size_t i = 0; i < 3; i++) {
        ways[i] = s.best;
        ways[i].read_size = read_sizes[i];
    }
    if (r == 0)
        r = search_axis(&s, ways, 3, err);
    for (size_t i = 0; i < 2; i++) {
        ways[i] = s.best;
        ways[i].in_flight = in_flight[i];
    }
    if (r == 0)
        r = search_axis(&s, ways, 2, err);
    if (r < 0)
        return r;
    hs_io_choice lone = s.best;
    lone.in_flight = lone.read_size;
    r = end_search(try(&s, &lone, LONE_S, &s.best.lone_bytes_per_s, err));
    if (r < 0)
        return r;
    if (s.best.default_bytes_per_s <= 0)
        s.best.default_bytes_per_s = s.best.bytes_per_s;
    *ret = s.best;
    return 0;
}

/* ---- kept results ---- */

/* The drive's sentence, and the result's file name. */
static int name_drive(const char *file, char id[MAX_ID], char name[40], hs_err *err)
{
    int r = hs_device_describe(file, id, MAX_ID, err);
    if (r == 0)
        snprintf(name, 40, "drive-%016" PRIx64 ".json", (uint64_t)XXH3_64bits(id, strlen(id)));
    return r;
}

static int parse_rate(const json_t *o, const char *path, const char *key, double *ret, hs_err *err)
{
    double rate;
    int r = hs_json_num_or(o, path, key, 0, &rate, err);
    if (r == 0 && !(rate >= 0 && rate <= MAX_RATE))
        r = hs_err_set(err, -ERANGE, "%s: %s is no number of bytes per second", path, key);
    if (r == 0)
        *ret = rate;
    return r;
}

static int parse(const json_t *o, const char *path, const char *id, hs_io_choice *ret, hs_err *err)
{
    hs_io_choice c = {0};
    int64_t version, read_size, in_flight;
    const char *drive, *engine;
    bool direct;
    int r = hs_json_int(o, path, "version", VERSION, VERSION, &version, err);
    if (r == 0)
        r = hs_json_str_or(o, path, "drive", "", &drive, err);
    if (r == 0)
        r = hs_json_str_or(o, path, "engine", "", &engine, err);
    if (r == 0)
        r = hs_json_bool_or(o, path, "direct", true, &direct, err);
    if (r == 0)
        r = hs_json_int(o, path, "read_size", 64 << 10, 16 << 20, &read_size, err);
    if (r == 0)
        r = hs_json_int(o, path, "in_flight", 1 << 20, 16 << 20, &in_flight, err);
    if (r == 0)
        r = parse_rate(o, path, "bytes_per_s", &c.bytes_per_s, err);
    if (r == 0)
        r = parse_rate(o, path, "default_bytes_per_s", &c.default_bytes_per_s, err);
    if (r == 0)
        r = parse_rate(o, path, "lone_bytes_per_s", &c.lone_bytes_per_s, err);
    if (r < 0)
        return r;
    bool pread = !strcmp(engine, engine_names[HS_IO_PREAD]);
    if (strcmp(drive, id) || read_size % 4096 || (!pread && strcmp(engine, engine_names[HS_IO_URING])))
        return hs_err_set(err, -EINVAL, "%s: drive, engine or read_size is not what was written", path);
    c.engine = pread ? HS_IO_PREAD : HS_IO_URING;
    c.buffered = !direct;
    c.read_size = (uint32_t)read_size;
    c.in_flight = (uint64_t)in_flight;
    *ret = c;
    return 0;
}

int hs_calibration_load(const char *state_dir, const char *file, hs_io_choice *ret, hs_err *err)
{
    char id[MAX_ID], name[40];
    json_t *o = NULL;
    int r = name_drive(file, id, name, err);
    if (r < 0)
        return r;
    char *path = hs_asprintf("%s/%s", state_dir, name);
    if (!path)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", state_dir);
    r = hs_json_load_file(path, MAX_FILE, &o, err);
    if (r == 0)
        r = parse(o, path, id, ret, err);
    json_decref(o);
    hs_free(path);
    return r;
}

int hs_calibration_save(const char *state_dir, const char *file, const hs_io_choice *c, hs_err *err)
{
    char id[MAX_ID], name[40];
    int r = name_drive(file, id, name, err);
    if (r < 0)
        return r;
    json_t *o = json_pack("{s:i, s:s, s:s, s:b, s:I, s:I, s:f, s:f, s:f}", "version", VERSION, "drive", id, "engine",
                          engine_names[c->engine], "direct", !c->buffered, "read_size", (json_int_t)c->read_size,
                          "in_flight", (json_int_t)c->in_flight, "bytes_per_s", c->bytes_per_s, "default_bytes_per_s",
                          c->default_bytes_per_s, "lone_bytes_per_s", c->lone_bytes_per_s);
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    r = text ? hs_state_write(state_dir, name, text, strlen(text), err)
             : hs_err_set(err, -ENOMEM, "%s: out of memory", state_dir);
    hs_free(text);
    json_decref(o);
    return r;
}

/* tune_io.c - how the drive is read best: what calibration has found, or finds now, beside what is configured. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/tune.h"

#define PAIRS  7
#define PAIR_S 0.2

/* What is configured, where that is open the defaults. */
static hs_io_choice configured(const hs_config *c)
{
    hs_io_choice o = hs_io_choice_default();
    uint64_t read_size = hs_config_size(c, "io", "read_size"), in_flight = hs_config_size(c, "io", "in_flight");
    if (!strcmp(hs_config_str(c, "io", "engine"), "pread"))
        o.engine = HS_IO_PREAD;
    o.buffered = !strcmp(hs_config_str(c, "io", "direct"), "no");
    o.read_size = read_size ? (uint32_t)read_size : o.read_size;
    o.in_flight = in_flight ? in_flight : o.in_flight;
    return o;
}

static bool is_same(const hs_io_choice *a, const hs_io_choice *b)
{
    return a->engine == b->engine && a->buffered == b->buffered && a->read_size == b->read_size &&
           a->in_flight == b->in_flight;
}

static int rate(const char *file, const hs_io_choice *how, uint64_t seed, double *ret, hs_err *err)
{
    hs_disk_run run = {.engine = how->engine == HS_IO_PREAD ? "pread" : "io_uring",
                       .buffered = how->buffered,
                       .random = true,
                       .request_bytes = how->read_size & ~4095u,
                       .in_flight = how->in_flight,
                       .max_bytes = 4ull << 30,
                       .max_seconds = PAIR_S,
                       .seed = seed * 7919,
                       .stop = hs_stop_asked};
    hs_disk_result result;
    int r = hs_disk_measure(file, &run, &result, err);
    if (r == 0)
        *ret = hs_disk_rate(&result);
    return r;
}

static int compare(const char *file, const hs_io_choice *with, const hs_io_choice *now, double seconds,
                   hs_comparison *ret, hs_err *err)
{
    double a[PAIRS], b[PAIRS];
    uint32_t n = 0;
    hs_progress progress;
    hs_progress_init(&progress, stderr);
    uint64_t end_ns = hs_now_ns() + (uint64_t)(seconds * 1e9);
    int r = 0;
    while (r == 0 && n < PAIRS && hs_now_ns() < end_ns) {
        hs_progress_update(&progress, "comparing ways to read", HS_PROGRESS_PERCENT, n, PAIRS, hs_now_ns());
        for (int turn = 0; r == 0 && turn < 2; turn++)
            r = (n + (uint32_t)turn) % 2 ? rate(file, with, 2 * n + 1, &a[n], err)
                                         : rate(file, now, 2 * n + 2, &b[n], err);
        n += r == 0;
    }
    hs_progress_clear(&progress);
    *ret = hs_compare(a, b, n, HS_TUNE_LEAST, 1);
    return r;
}

/* Makes a calibration and keeps it where serve will find it. */
static int calibrate(const hs_config *c, const char *file, double seconds, hs_io_choice *ret, hs_err *err)
{
    const char *dir = hs_config_str(c, "state", "dir");
    hs_calibrate_config cfg = {.seconds = seconds < HS_CALIBRATE_SECONDS ? seconds : HS_CALIBRATE_SECONDS,
                               .stop = hs_stop_asked};
    hs_err why = {0};
    hs_say("measuring the drive, %.1f s at most", cfg.seconds);
    int r = hs_calibrate(file, &cfg, ret, err);
    if (r == 0 && (!*dir || hs_calibration_save(dir, file, ret, &why) < 0))
        hs_say("the calibration is not kept: %s", *dir ? why.text : "there is no state directory");
    return r;
}

static int measure(const hs_config *c, const char *file, double seconds, hs_tune_drive *d, hs_err *err)
{
    const char *mode = hs_config_str(c, "io", "calibrate"), *dir = hs_config_str(c, "state", "dir");
    d->was_kept = strcmp(mode, "always") != 0 && *dir && hs_calibration_load(dir, file, &d->choice, NULL) == 0;
    int r = d->was_kept ? 0 : calibrate(c, file, seconds, &d->choice, err);
    hs_io_choice now = configured(c);
    d->is_other = r == 0 && !is_same(&d->choice, &now);
    return d->is_other ? compare(file, &d->choice, &now, seconds, &d->against, err) : r;
}

int hs_tune_drive_measure(const hs_config *c, const char *path, double seconds, hs_tune_drive *ret, hs_err *err)
{
    char *file = NULL;
    uint64_t bytes = 0;
    hs_err why = {0};
    *ret = (hs_tune_drive){0};
    int r = strcmp(hs_config_str(c, "io", "calibrate"), "off") == 0 ? hs_err_set(&why, -ENODATA, "io.calibrate is off")
                                                                    : hs_disk_pick(path, &file, &bytes, &why);
    if (r == 0 && bytes < HS_CALIBRATE_MIN_BYTES)
        r = hs_err_set(&why, -ENODATA, "the model's biggest file has less than 256 MiB");
    if (r == 0)
        r = measure(c, file, seconds, ret, &why);
    hs_free(file);
    if (r == -ECANCELED)
        return hs_err_set(err, r, "stopped as asked");
    ret->is_known = r == 0;
    snprintf(ret->why, sizeof ret->why, "%s", why.text);
    return 0;
}

static void line(hs_tune *t, const char *key, const char *value, const char *why, const hs_tune_line *first)
{
    hs_tune_line *l = hs_tune_add(t, "io", key, value, "%s", why);
    if (!first)
        return;
    l->is_measured = true;
    l->gain = first->gain;
    l->low = first->low;
    l->high = first->high;
}

/* The choice, which is faster than what is configured; what agrees with that stays as it is written there. */
static void choose(hs_tune *t, const hs_tune_drive *d, double wait_share)
{
    const hs_io_choice *c = &d->choice, now = configured(t->config);
    const hs_comparison *x = &d->against;
    char read_size[32], in_flight[32], drive[64], tokens[64];
    const char *as_above = "As above, all four together.";
    hs_tune_line e = {.gain = hs_tune_gain(wait_share, 1 / (1 + x->gain)),
                      .low = hs_tune_gain(wait_share, 1 / (1 + x->low)),
                      .high = hs_tune_gain(wait_share, 1 / (1 + x->high))};
    snprintf(read_size, sizeof read_size, "%uk", c->read_size >> 10);
    snprintf(in_flight, sizeof in_flight, "%lluk", (unsigned long long)(c->in_flight >> 10));
    hs_tune_percent(x->gain, x->low, x->high, drive, sizeof drive);
    hs_tune_percent(e.gain, e.low, e.high, tokens, sizeof tokens);
    snprintf(e.why, sizeof e.why,
             "Expected: %s tokens/s. With these four the drive brings %s bytes/s over what is configured, in %u pairs "
             "of turns.",
             tokens, drive, x->n);
#define VALUE(key, is_same, text) (is_same) ? hs_config_str(t->config, "io", key) : (text)
    line(t, "engine", VALUE("engine", c->engine == now.engine, c->engine == HS_IO_PREAD ? "pread" : "auto"), e.why, &e);
    line(t, "direct", VALUE("direct", c->buffered == now.buffered, c->buffered ? "no" : "yes"),
         c->buffered ? "Through the page cache, for which memory must be left." : as_above, &e);
    line(t, "read_size", VALUE("read_size", c->read_size == now.read_size, read_size), as_above, &e);
    line(t, "in_flight", VALUE("in_flight", c->in_flight == now.in_flight, in_flight), as_above, &e);
#undef VALUE
}

void hs_tune_drive_lines(hs_tune *t, const hs_tune_drive *d, double wait_share)
{
    char why[600], drive[64], size[32];
    const hs_comparison *x = &d->against;
    if (d->is_known && d->is_other && x->verdict == HS_VERDICT_BETTER) {
        choose(t, d, wait_share);
        return;
    }
    if (!d->is_known)
        snprintf(why, sizeof why, "Kept, not measured: %s.", d->why);
    else if (!d->is_other)
        snprintf(why, sizeof why, "Kept: %s says that nothing reads this drive faster; %s/s at random.",
                 d->was_kept ? "the calibration made before (--set io.calibrate=always makes another)"
                             : "the calibration made now",
                 hs_format_size((uint64_t)d->choice.bytes_per_s, size, sizeof size));
    else
        snprintf(why, sizeof why,
                 "Kept: reads of %u KiB, %llu MiB in flight%s%s read this drive %s faster in %u pairs of turns: %s.",
                 d->choice.read_size >> 10, (unsigned long long)(d->choice.in_flight >> 20),
                 d->choice.engine == HS_IO_PREAD ? ", by threads," : "",
                 d->choice.buffered ? ", through the page cache," : "",
                 hs_tune_percent(x->gain, x->low, x->high, drive, sizeof drive), x->n,
                 x->verdict == HS_VERDICT_OPEN ? "not told apart" : "not enough to count");
    line(t, "engine", hs_config_str(t->config, "io", "engine"), why, NULL);
    line(t, "direct", hs_config_str(t->config, "io", "direct"), "Kept, likewise.", NULL);
    line(t, "read_size", hs_config_str(t->config, "io", "read_size"), "Kept, likewise.", NULL);
    line(t, "in_flight", hs_config_str(t->config, "io", "in_flight"), "Kept, likewise.", NULL);
}

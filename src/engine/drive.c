/*
 * drive.c - how a model's files are read: what the options say, where they leave it open what calibration found, else
 * the defaults. While a model is brought up, on that thread; before its weights, so that both may use the same memory.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/option.h"
#include "engine/engine_int.h"
#include "store/calibrate.h"

static int io_kind(const char *name, hs_io_engine_kind *ret, hs_err *err)
{
    static const char *const names[] = {"auto", "io_uring", "pread"};
    for (int i = 0; i < 3; i++) {
        if (!strcmp(name, names[i])) {
            *ret = (hs_io_engine_kind)i;
            return 0;
        }
    }
    return hs_err_set(err, -EINVAL, "io.engine: '%s' is not one of auto|io_uring|pread", name);
}

typedef struct trials {
    const hs_engine_options *opt;
    uint64_t start_ns;
} trials;

static int on_trial(void *ctx, const hs_io_choice *how, double bytes_per_s)
{
    const trials *t = ctx;
    (void)how;
    (void)bytes_per_s;
    uint64_t most = (uint64_t)(HS_CALIBRATE_SECONDS * 1e9), done = hs_now_ns() - t->start_ns;
    return t->opt->progress ? t->opt->progress(t->opt->progress_ctx, "calibrating", done < most ? done : most, most)
                            : 0;
}

static bool has_state(const hs_engine_options *opt)
{
    return opt->state_dir && *opt->state_dir;
}

/* Measures the drive and keeps the result; what cannot be measured or kept is said in the note. */
static int measure(hs_engine *e, const hs_engine_options *opt, const char *file, hs_io_choice *ret, hs_err *err)
{
    hs_err why = {0};
    trials t = {opt, hs_now_ns()};
    hs_calibrate_config c = {.on_trial = on_trial, .ctx = &t};
    int r = hs_calibrate(file, &c, ret, &why);
    if (r == 0 && has_state(opt) && hs_calibration_save(opt->state_dir, file, ret, &why) < 0)
        snprintf(e->io_note, sizeof e->io_note, "the result is not kept (%.200s); ", why.text);
    if (r == -ECANCELED)
        return hs_err_set(err, r, "loading was cancelled");
    if (r < 0)
        snprintf(e->io_note, sizeof e->io_note, "the drive could not be measured (%.200s); ", why.text);
    return r < 0 ? -ENOENT : 0;
}

/* 0, or -ENOENT: nothing has been measured, or is to be. */
static int calibrated(hs_engine *e, const hs_engine_options *opt, hs_io_choice *ret, hs_err *err)
{
    bool open = (e->how.engine == HS_IO_AUTO) || !(opt->io_buffered || opt->io_direct) || !opt->io_read_size ||
                !opt->io_in_flight;
    if (opt->io_calibrate == HS_CALIBRATE_OFF || e->how.custom || !open)
        return -ENOENT;
    char *file = NULL;
    uint64_t bytes = 0;
    if (hs_disk_pick(opt->path, &file, &bytes, NULL) < 0)
        return -ENOENT;
    int r = -ENOENT;
    if (opt->io_calibrate != HS_CALIBRATE_ALWAYS && has_state(opt))
        r = hs_calibration_load(opt->state_dir, file, ret, NULL) < 0 ? -ENOENT : 0;
    if (r < 0 && opt->io_calibrate != HS_CALIBRATE_KEPT && bytes >= HS_CALIBRATE_MIN_BYTES)
        r = measure(e, opt, file, ret, err);
    hs_free(file);
    return r;
}

int hs__choose_io(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    hs_io_choice c = hs_io_choice_default();
    int r = io_kind(opt->io_engine ? opt->io_engine : "auto", &e->how.engine, err);
    if (r < 0)
        return r;
    r = calibrated(e, opt, &c, err);
    if (r < 0 && r != -ENOENT)
        return r;
    e->drive_bytes_per_s = r == 0 ? c.bytes_per_s : 0;
    e->drive_lone_bytes_per_s = r == 0 ? c.lone_bytes_per_s : 0;
    bool pread = r == 0 && c.engine == HS_IO_PREAD && e->how.engine == HS_IO_AUTO;
    e->how.engine = pread ? HS_IO_PREAD : e->how.engine; /* auto stays: a container may deny io_uring today */
    e->how.buffered = opt->io_buffered || (c.buffered && !opt->io_direct);
    e->how.read_size = opt->io_read_size ? (uint32_t)opt->io_read_size : c.read_size;
    e->how.in_flight = opt->io_in_flight ? opt->io_in_flight : c.in_flight;
    char a[32], b[32], rate[32];
    size_t n = strlen(e->io_note);
    snprintf(e->io_note + n, sizeof e->io_note - n, "pieces of %s, %s in flight, %s%s%s%s",
             hs_format_size(e->how.read_size, a, sizeof a), hs_format_size(e->how.in_flight, b, sizeof b),
             e->how.buffered ? "through the page cache" : "past the page cache", r == 0 ? "; calibrated: " : "",
             r == 0 ? hs_format_size((uint64_t)c.bytes_per_s, rate, sizeof rate) : "", r == 0 ? "/s" : "");
    return 0;
}

/* tune_io.c - how the drive is read best: what calibration has found, or finds now. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/out.h"
#include "cli/tune.h"
#include "store/calibrate.h"

static void keep(hs_tune *t, const char *why)
{
    hs_tune_keep(t, "io", "engine", "Not measured: %s.", why);
    hs_tune_keep(t, "io", "direct", "As it was.");
    hs_tune_keep(t, "io", "read_size", "As it was.");
    hs_tune_keep(t, "io", "in_flight", "As it was.");
}

static void choose(hs_tune *t, const hs_io_choice *c, bool was_kept)
{
    char rate[32], before[32], read_size[32], in_flight[32];
    bool pread = c->engine == HS_IO_PREAD;
    snprintf(read_size, sizeof read_size, "%uk", c->read_size >> 10);
    snprintf(in_flight, sizeof in_flight, "%lluk", (unsigned long long)(c->in_flight >> 10));
    hs_tune_add(t, "io", "engine", pread ? "pread" : "auto",
                "Random reads as below give %s/s, with hotset's defaults %s/s (%s). %s",
                hs_format_size((uint64_t)c->bytes_per_s, rate, sizeof rate),
                hs_format_size((uint64_t)c->default_bytes_per_s, before, sizeof before),
                was_kept ? "as the kept calibration found" : "measured now",
                pread ? "Reading threads were the faster engine." : "auto takes io_uring where the kernel allows it.");
    hs_tune_add(t, "io", "direct", c->buffered ? "no" : "yes",
                c->buffered ? "Faster through the page cache, for which memory must be left."
                            : "Past the page cache: memory use stays what the plan says.");
    hs_tune_add(t, "io", "read_size", read_size, "Part of the same measurement.");
    hs_tune_add(t, "io", "in_flight", in_flight, "Part of the same measurement.");
}

/* Makes a calibration and keeps it where serve will find it. */
static int calibrate(const hs_tune *t, const char *file, hs_io_choice *ret, hs_err *err)
{
    const char *dir = hs_config_str(t->config, "state", "dir");
    uint64_t now = hs_now_ns();
    double left = t->end_ns > now ? (double)(t->end_ns - now) * 1e-9 / 4 : 0.1;
    hs_calibrate_config cfg = {.seconds = left < HS_CALIBRATE_SECONDS ? left : HS_CALIBRATE_SECONDS,
                               .stop = hs_stop_asked};
    hs_err why = {0};
    hs_say("measuring the drive, %.0f s at most", cfg.seconds);
    int r = hs_calibrate(file, &cfg, ret, err);
    if (r == 0 && (!*dir || hs_calibration_save(dir, file, ret, &why) < 0))
        hs_say("the calibration is not kept: %s", *dir ? why.text : "there is no state directory");
    return r;
}

static json_t *choice_json(const hs_io_choice *c, bool was_kept)
{
    return json_pack("{s:f, s:f, s:b}", "bytes_per_s", c->bytes_per_s, "default_bytes_per_s", c->default_bytes_per_s,
                     "was_kept", was_kept);
}

int hs_tune_io(hs_tune *t, const char *path, double *ret_bytes_per_s, hs_err *err)
{
    const char *mode = hs_config_str(t->config, "io", "calibrate"), *dir = hs_config_str(t->config, "state", "dir");
    char *file = NULL;
    uint64_t bytes = 0;
    hs_io_choice choice;
    hs_err why = {0};
    bool was_kept = false;
    *ret_bytes_per_s = 0;
    if (!strcmp(mode, "off")) {
        keep(t, "io.calibrate is off");
        return 0;
    }
    int r = hs_disk_pick(path, &file, &bytes, &why);
    if (r == 0 && bytes < HS_CALIBRATE_MIN_BYTES)
        r = hs_err_set(&why, -ENODATA, "the model's biggest file has less than 256 MiB");
    if (r == 0) {
        was_kept = strcmp(mode, "always") != 0 && *dir && hs_calibration_load(dir, file, &choice, NULL) == 0;
        r = was_kept ? 0 : calibrate(t, file, &choice, &why);
    }
    hs_free(file);
    if (r == -ECANCELED)
        return hs_err_set(err, r, "stopped as asked");
    if (r < 0) {
        keep(t, why.text);
        return 0;
    }
    choose(t, &choice, was_kept);
    *ret_bytes_per_s = choice.bytes_per_s;
    return hs_tune_figure(t, "drive", choice_json(&choice, was_kept), err);
}

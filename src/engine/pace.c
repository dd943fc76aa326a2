/*
 * pace.c - how a drive reads a model's experts.
 *
 * A drive is measured in two ways: with as much in the air as the engine keeps there, as a prompt reads; and in waves,
 * as decoding does, with the pauses that computing makes between them, since drives (and limits of control groups)
 * answer otherwise after a pause. The first is done before and after the second, and the better counts: others may use
 * the drive, too. Any thread.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine_int.h"
#include "store/calibrate.h"

#define STREAM_S 0.25
#define SKIP_S   0.1
#define WAVES_S  0.4

static double object_bytes(const hs_plan *p)
{
    return (double)p->bytes_per_token_cold / p->token_cycle;
}

/* In waves of one expert and of as many as makes the mean that of layers with a miss. */
bool hs__measure_waves(const char *file, const hs__reading *how, const hs_plan *p, const hs_speed *s, double hit_rate,
                       hs_drive *ret)
{
    double layers = p->moe_layers, k = p->token_cycle / layers, some = 1 - pow(hit_rate, k);
    double mean = some > 0 ? k * (1 - hit_rate) / some : 1, most = fmax(fmin(k, HS_DISK_WAVE_MAX), 1);
    double beside = s ? (s->decode_shared_s + s->decode_experts_s * (k - 1) / k) / layers : 0;
    double token = s ? s->decode_s : 0, pause = token / (layers * fmax(some, 1e-3)) - beside;
    hs_disk_waves run = {.engine = how->engine,
                         .buffered = how->buffered,
                         .read_size = how->read_size,
                         .in_flight = how->in_flight,
                         .object_bytes = hs_align_up((uint64_t)object_bytes(p), 4096),
                         .few = 1,
                         .many = (uint32_t)fmin(most, fmax(2, ceil(2 * mean - 1))),
                         .beside_s = beside,
                         .pause_s = fmin(fmax(pause, 0), 0.05),
                         .max_seconds = WAVES_S,
                         .seed = 1,
                         .stop = how->stop};
    hs_err ignored;
    hs_disk_wave_times t;
    int r = hs_disk_measure_waves(file, &run, &t, &ignored);
    if (r == 0) {
        ret->first_s = t.first_s;
        ret->each_s = t.each_s;
    }
    return r == 0;
}

static int measure_stream(const char *file, const hs__reading *how, hs_drive *ret)
{
    hs_disk_run run = {.engine = how->engine,
                       .buffered = how->buffered,
                       .random = true,
                       .request_bytes = how->read_size,
                       .in_flight = how->in_flight,
                       .max_bytes = 4ull << 30,
                       .max_seconds = STREAM_S,
                       .skip_seconds = SKIP_S,
                       .seed = 1,
                       .stop = how->stop};
    hs_err ignored;
    hs_disk_result result;
    int r = hs_disk_measure(file, &run, &result, &ignored);
    ret->bytes_per_s = r == 0 ? hs_disk_rate(&result) : 0;
    return r;
}

/* What options and calibration say. */
static hs__reading reading_of(const hs_engine_options *opt, const hs_io_choice *c, bool (*stop)(void))
{
    return (hs__reading){.engine = opt->io_engine,
                         .buffered = opt->io_buffered || (c->buffered && !opt->io_direct),
                         .read_size = opt->io_read_size ? (uint32_t)opt->io_read_size : c->read_size,
                         .in_flight = opt->io_in_flight ? opt->io_in_flight : c->in_flight,
                         .stop = stop};
}

hs_drive_source hs_drive_find(const char *path, const hs_engine_options *opt, const hs_plan *p, const hs_speed *s,
                              double hit_rate, bool (*stop)(void), hs_drive *ret)
{
    char *file = NULL;
    uint64_t size;
    hs_err ignored;
    hs_io_choice c = hs_io_choice_default(), kept;
    if (hs_disk_pick(path, &file, &size, &ignored) < 0)
        return HS_DRIVE_UNKNOWN;
    bool use_kept = opt->io_calibrate == HS_CALIBRATE_KEPT || opt->io_calibrate == HS_CALIBRATE_ONCE;
    if (use_kept && opt->state_dir && *opt->state_dir &&
        hs_calibration_load(opt->state_dir, file, &kept, &ignored) == 0)
        c = kept;
    hs__reading how = reading_of(opt, &c, stop);
    hs_drive_source source = HS_DRIVE_MEASURED;
    if (c.lone_bytes_per_s > 0 && c.bytes_per_s > 0) {
        *ret = hs_drive_of_rate(p, c.bytes_per_s);
        ret->first_s = fmax(how.read_size / c.lone_bytes_per_s - how.read_size / c.bytes_per_s, 0);
        source = HS_DRIVE_KEPT;
    } else if (measure_stream(file, &how, ret) < 0) {
        source = HS_DRIVE_UNKNOWN;
    } else {
        hs_drive again = {0};
        *ret = hs_drive_of_rate(p, ret->bytes_per_s);
        hs__measure_waves(file, &how, p, s, hit_rate, ret); /* a file that has no whole expert: by the rate */
        if (measure_stream(file, &how, &again) == 0)
            ret->bytes_per_s = fmax(ret->bytes_per_s, again.bytes_per_s);
    }
    hs_free(file);
    return source;
}

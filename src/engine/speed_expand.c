/*
 * speed_expand.c - what decoding an expert of a packed model takes: SAMPLES of the model's own, from all layers, are
 * read and decoded as residency does it, frame by frame on the pool. One thread and the pool.
 */
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_int.h"

#define SAMPLES 8u

typedef struct expansion {
    const hs_objects *objects;
    uint32_t object;
    hs_frame *frames;
    hs_decoder **decoders; /* [threads] */
    char *stored, *slot;
    int *results; /* [frames] */
} expansion;

static void expand_frame(void *ctx, uint32_t index, uint32_t thread)
{
    const expansion *x = ctx;
    x->results[index] =
        hs_object_decode_frame(x->objects, x->object, &x->frames[index], x->decoders[thread], x->stored, x->slot, NULL);
}

static int read_object(const expansion *x, hs_err *err)
{
    hs_range ranges[HS_OBJECT_MAX_RANGES];
    uint32_t n_fds, n = hs_object_ranges(x->objects, x->object, ranges);
    const int *fds = hs_objects_fds(x->objects, &n_fds);
    for (uint32_t i = 0; i < n; i++)
        for (uint64_t at = 0; at < ranges[i].len;) {
            ssize_t got = pread(fds[ranges[i].file], x->stored + ranges[i].dst_offset + at, ranges[i].len - at,
                                (off_t)(ranges[i].offset + at));
            if (got < 0)
                return hs_err_set(err, -errno, "an expert cannot be read: %s", hs_strerror(errno));
            if (got == 0)
                break; /* a range may end behind its file */
            at += (uint64_t)got;
        }
    return 0;
}

/* Seconds that all threads take for the object; the faster of two times. */
static int time_object(expansion *x, hs_pool *pool, double *ret_s, hs_err *err)
{
    hs_frame_iter it = {0};
    uint32_t n = 0;
    int r = read_object(x, err);
    while (r == 0 && hs_object_next_frame(x->objects, x->object, &it, &x->frames[n]))
        n++;
    double best = 1e9;
    for (uint32_t k = 0; r == 0 && k < 2; k++) {
        uint64_t t0 = hs_now_ns();
        hs_pool_run(pool, n, expand_frame, x);
        best = fmin(best, (double)(hs_now_ns() - t0) * 1e-9);
        for (uint32_t i = 0; r == 0 && i < n; i++)
            r = x->results[i] < 0 ? hs_err_set(err, x->results[i], "an expert is damaged; hotset verify says which")
                                  : 0;
    }
    *ret_s = best;
    return r;
}

static int time_objects(expansion *x, hs_pool *pool, double *ret_s, hs_err *err)
{
    uint32_t n = hs_objects_count(x->objects);
    int r = 0;
    *ret_s = 0;
    for (uint32_t i = 0; r == 0 && i < SAMPLES; i++) {
        double s = 0;
        x->object = (uint32_t)((2ull * i + 1) * n / (2 * SAMPLES));
        if (hs_object_is_staged(x->objects, x->object))
            r = time_object(x, pool, &s, err);
        *ret_s += s / SAMPLES;
    }
    return r;
}

int hs__measure_expanding(const hs_objects *objects, hs_pool *pool, double *ret_s, hs_err *err)
{
    expansion x = {.objects = objects};
    uint64_t staging = hs_objects_staging_bytes(x.objects), slot = hs_objects_slot_bytes(x.objects);
    uint32_t threads = hs_pool_threads(pool), n = 0;
    *ret_s = 0;
    if (!staging)
        return 0;
    for (uint32_t i = 0; i < hs_objects_count(x.objects); i++)
        n = hs_object_frames(x.objects, i) > n ? hs_object_frames(x.objects, i) : n;
    x.frames = hs_calloc(n + 1, sizeof *x.frames);
    x.results = hs_calloc(n + 1, sizeof *x.results);
    x.decoders = hs_calloc(threads, sizeof *x.decoders);
    x.stored = hs_map_alloc(staging);
    x.slot = hs_map_alloc(slot);
    int r = x.frames && x.results && x.decoders && x.stored && x.slot
                ? 0
                : hs_err_set(err, -ENOMEM, "no memory for a measurement");
    for (uint32_t i = 0; r == 0 && i < threads; i++)
        r = hs_decoder_create(&x.decoders[i], err);
    if (r == 0)
        r = time_objects(&x, pool, ret_s, err);
    for (uint32_t i = 0; x.decoders && i < threads; i++)
        hs_decoder_destroy(&x.decoders[i]);
    hs_map_free(x.slot, slot);
    hs_map_free(x.stored, staging);
    hs_free(x.decoders);
    hs_free(x.results);
    hs_free(x.frames);
    return r;
}

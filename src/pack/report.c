/*
 * report.c - one piece of work (a pack, an unpack, a verify): its pool, how far it is, what it found.
 * Everything here runs in the calling thread.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pack/pack_int.h"

const char *hs_pack_phase_name(hs_pack_phase phase)
{
    static const char *const names[] = {"measure", "pack", "unpack", "verify", "check"};
    return (unsigned)phase < sizeof names / sizeof *names ? names[phase] : "invalid";
}

int hs__pk_work_init(hs__pk_work *w, const hs_pack_monitor *monitor, hs_pool *pool, uint32_t threads, hs_err *err)
{
    static const hs_pack_monitor deaf;
    *w = (hs__pk_work){.monitor = monitor ? monitor : &deaf, .pool = pool};
    if (pool)
        return 0;
    int r = hs_pool_create(threads ? threads : hs_cpu_count(), &w->own_pool, err);
    w->pool = w->own_pool;
    return r;
}

void hs__pk_work_deinit(hs__pk_work *w)
{
    hs_pool_destroy(&w->own_pool);
    w->pool = NULL;
}

void hs__pk_phase(hs__pk_work *w, hs_pack_phase phase, uint64_t total)
{
    w->phase = phase;
    w->done = w->told = 0;
    w->total = total;
    if (w->monitor->progress)
        w->monitor->progress(w->monitor->ctx, phase, 0, total);
}

int hs__pk_cancelled(const hs__pk_work *w, hs_err *err)
{
    if (w->monitor->cancel && atomic_load(w->monitor->cancel))
        return hs_err_set(err, -ECANCELED, "stopped as asked");
    return 0;
}

int hs__pk_advance(hs__pk_work *w, uint64_t bytes, hs_err *err)
{
    w->done += bytes;
    if (w->done > w->told) {
        w->told = w->done;
        if (w->monitor->progress)
            w->monitor->progress(w->monitor->ctx, w->phase, w->done, w->total);
    }
    return hs__pk_cancelled(w, err);
}

void hs__pk_note(const hs__pk_work *w, const char *fmt, ...)
{
    if (!w->monitor->note)
        return;
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->monitor->note(w->monitor->ctx, text);
}

void hs__pk_problem(hs__pk_work *w, const char *file, int64_t record, const char *fmt, ...)
{
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (w->problems++ == 0)
        memcpy(w->first, text, sizeof text);
    if (w->monitor->problem && w->problems <= HS_PACK_MAX_PROBLEMS)
        w->monitor->problem(w->monitor->ctx, &(hs_pack_problem){.file = file, .record = record, .text = text});
}

int hs__pk_verdict(const hs__pk_work *w, const char *path, hs_err *err)
{
    if (!w->problems)
        return 0;
    if (w->problems == 1)
        return hs_err_set(err, -EBADMSG, "%s: %s", path, w->first);
    return hs_err_set(err, -EBADMSG, "%s: %llu problems; the first: %s", path, (unsigned long long)w->problems,
                      w->first);
}

/*
 * saver.c - see saver.h. The thread sleeps, or saves; `lock` is held while neither saving nor sleeping, and is held
 * alone. Who stops it waits for is_over, not for the thread, which may never come back.
 */
#include "cli/saver.h"

#include <errno.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"

struct hs_saver {
    hs_saver_fn *save;
    void *ctx;
    const char *what;
    uint64_t every_ms;
    pthread_t thread;
    hs_mutex lock;
    pthread_cond_t changed;
    bool stop, is_over;
    bool has_failed; /* and that was said; of the thread */
};

static struct timespec in(uint64_t ms)
{
    return hs_timespec(hs_now_ns() + ms * 1000000u);
}

static void save(hs_saver *s)
{
    hs_err err = {0};
    if (s->save(s->ctx, &err) == 0 || s->has_failed)
        return;
    s->has_failed = true;
    hs_warn("%s is not remembered: %s", s->what, err.text);
}

static void *run(void *arg)
{
    hs_saver *s = arg;
    pthread_setname_np(pthread_self(), "hs-saver");
    for (bool is_last = false; !is_last;) {
        struct timespec until = in(s->every_ms);
        hs_mutex_lock(&s->lock);
        for (int r = 0; !s->stop && r == 0;)
            r = hs_cond_timedwait(&s->changed, &s->lock, &until);
        is_last = s->stop;
        hs_mutex_unlock(&s->lock);
        save(s);
    }
    hs_mutex_lock(&s->lock);
    s->is_over = true;
    pthread_cond_broadcast(&s->changed);
    hs_mutex_unlock(&s->lock);
    return NULL;
}

static void destroy(hs_saver *s)
{
    pthread_cond_destroy(&s->changed);
    hs_mutex_destroy(&s->lock);
    hs_free(s);
}

int hs_saver_start(hs_saver_fn *save_fn, void *ctx, const char *what, uint64_t every_ms, hs_saver **ret_saver,
                   hs_err *err)
{
    hs_saver *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", what);
    *s = (hs_saver){.save = save_fn, .ctx = ctx, .what = what, .every_ms = every_ms};
    hs_mutex_init(&s->lock, HS_RANK_SAVER);
    hs_cond_init(&s->changed);
    int r = -pthread_create(&s->thread, NULL, run, s);
    if (r < 0) {
        destroy(s);
        return hs_err_set(err, r, "%s: cannot start a thread: %s", what, hs_strerror(r));
    }
    *ret_saver = s;
    return 0;
}

bool hs_saver_stop(hs_saver **saver, uint64_t patience_ms)
{
    hs_saver *s = *saver;
    if (!s)
        return true;
    struct timespec until = in(patience_ms);
    hs_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    for (int r = 0; !s->is_over && r == 0;)
        r = hs_cond_timedwait(&s->changed, &s->lock, &until);
    bool is_over = s->is_over;
    hs_mutex_unlock(&s->lock);
    if (!is_over)
        return false;
    *saver = NULL;
    pthread_join(s->thread, NULL);
    destroy(s);
    return true;
}

/*
 * service.c - this process as the service manager sees it: start-up progress, readiness, watchdog; and taking over what
 * loader threads have left.
 *
 * The watchdog is fed only while something advances: a model that has requests and whose counters stand still for a
 * whole interval keeps the beat away, so that a hung drive or a dead engine thread ends in a restart.
 */
#include <string.h>

#include "base/log.h"
#include "server/generation.h"
#include "server/prompt.h"

#define EXTEND_SECONDS 120
#define STATUS_MS      2000 /* between two reports of the same line */

void hs__service_status(hs_server *s)
{
    if (s->draining)
        return;
    s->status_ms = hs__now_ms(s);
    if (s->ready)
        hs__notify_send(&s->notify, "STATUS=serving %zu model%s\n", s->n_models, s->n_models == 1 ? "" : "s");
    else
        hs__notify_send(&s->notify, "STATUS=%s\nEXTEND_TIMEOUT_USEC=%llu\n", *s->progress ? s->progress : "loading",
                        EXTEND_SECONDS * 1000000ull);
}

/* Everything that grows while a model works. Requests that leave the queue are no work: clients that give up and ask
 * again would feed the watchdog of an engine that hangs. */
static uint64_t progress_of(const hs_server *s, const hs__model *m, const hs_engine_stats *st)
{
    uint64_t n =
        st->steps + st->io_reads + st->expert_hits + st->expert_misses + st->requests_done + st->requests_failed;
    for (const hs__conn *c = s->conns; c; c = c->next)
        if (c->generation && hs__generation_model(c->generation) == m)
            n += hs__generation_advance(c->generation);
    return n;
}

static bool advances(hs_server *s)
{
    bool ok = true;
    for (size_t i = 0; i < s->n_models; i++) {
        hs__model *m = &s->models[i];
        if (!m->engine)
            continue;
        hs_engine_stats st = hs_engine_get_stats(m->engine);
        uint64_t n = progress_of(s, m, &st);
        if (n == m->seen && st.active + st.queued > 0 && !hs__server_waits_for_clients(s, m))
            ok = false;
        m->seen = n;
    }
    return ok;
}

bool hs__server_waits_for_clients(const hs_server *s, const hs__model *m)
{
    for (const hs__conn *c = s->conns; c; c = c->next)
        if (c->generation && hs__generation_model(c->generation) == m && hs__conn_unsent(c))
            return true;
    return false;
}

static void on_watchdog(uv_timer_t *handle)
{
    hs_server *s = handle->data;
    if (advances(s))
        hs__notify_send(&s->notify, "WATCHDOG=1\n");
    else
        hs_warn("requests run, but nothing advances: the service manager's watchdog is not fed");
}

void hs__service_start(hs_server *s)
{
    if (s->notify.watchdog_ms && uv_timer_init(&s->loop, &s->watchdog) == 0) {
        uint64_t beat = s->notify.watchdog_ms / 2;
        uv_timer_start(&s->watchdog, on_watchdog, beat, beat);
    }
    hs__service_status(s);
}

static void take_engines(hs_server *s)
{
    for (size_t i = 0; i < s->n_models; i++) {
        hs__model *m = &s->models[i];
        hs_engine *e = atomic_exchange(&m->pending, NULL);
        if (!e)
            continue;
        m->engine = e;
        m->bos = hs__prompt_find_bos(e);
        hs_info("model %s is loaded", m->name);
        if (s->draining)
            hs_engine_drain(e);
    }
}

void hs__server_take_shared(hs_server *s)
{
    hs__shared *sh = &s->shared;
    take_engines(s);
    hs_mutex_lock(&sh->lock);
    bool is_new = sh->progress_new, failed = sh->failure.code != 0;
    sh->progress_new = false;
    if (is_new) {
        bool is_same = !strcmp(s->progress, sh->progress);
        memcpy(s->progress, sh->progress, sizeof s->progress);
        is_new = !is_same || hs__now_ms(s) - s->status_ms >= STATUS_MS;
    }
    hs_mutex_unlock(&sh->lock);
    if (atomic_load(&sh->ready) && !s->ready) {
        s->ready = true;
        hs_info("ready");
        hs__notify_send(&s->notify, "READY=1\n");
        is_new = true;
    }
    if (is_new)
        hs__service_status(s);
    for (unsigned n = atomic_exchange(&sh->stop_asked, 0); n; n--)
        hs__server_drain(s);
    if (failed && !s->ended) {
        s->ended = true;
        atomic_store(&sh->stopping, true);
        uv_stop(&s->loop);
    }
}

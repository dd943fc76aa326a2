/*
 * loop.c - the loop thread: signals, the tick, what other threads leave, draining, the end.
 *
 * Draining: listeners made here go on accepting, so that newcomers get a 503 and not a broken connection; inherited
 * ones are left alone, their clients wait for the next instance. It ends when nothing runs any more, after HS__DRAIN_S,
 * or at the second signal.
 */
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/generation.h"

static const int signal_numbers[] = {SIGTERM, SIGINT, SIGHUP};
#define N_SIGNALS (sizeof signal_numbers / sizeof signal_numbers[0])
_Static_assert(N_SIGNALS == sizeof((hs_server *)0)->signals / sizeof((hs_server *)0)->signals[0], "one handle each");

static void mask_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < N_SIGNALS; i++)
        sigaddset(&set, signal_numbers[i]);
    pthread_sigmask(how, &set, NULL);
}

void hs_server_hold_signals(void)
{
    mask_signals(SIG_BLOCK);
}

uint64_t hs__now_ms(const hs_server *s)
{
    return uv_now(&s->loop);
}

static void end(hs_server *s)
{
    s->ended = true;
    atomic_store(&s->shared.stopping, true);
    uv_stop(&s->loop);
}

static bool is_busy(const hs_server *s)
{
    for (const hs__conn *c = s->conns; c; c = c->next)
        if (c->state == HS__BUSY)
            return true;
    return false;
}

void hs__server_check_drained(hs_server *s)
{
    if (s->draining && !s->ended && !is_busy(s))
        end(s);
}

void hs__server_drain(hs_server *s)
{
    if (s->draining) {
        end(s);
        return;
    }
    s->draining = true;
    s->drain_until_ms = hs__now_ms(s) + HS__DRAIN_S * 1000ull;
    atomic_store(&s->shared.stopping, true);
    hs_info("ending: no new requests; what runs has %d seconds", HS__DRAIN_S);
    hs__notify_send(&s->notify, "STOPPING=1\nSTATUS=ending: waiting for running requests\n");
    for (size_t i = 0; i < s->n_models; i++)
        if (s->models[i].engine)
            hs_engine_drain(s->models[i].engine);
    for (size_t i = 0; i < s->n_listeners; i++)
        if (s->listeners[i].inherited)
            hs__listener_close(&s->listeners[i]);
    for (hs__conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->state == HS__READING && !c->http.begun)
            hs__conn_close(c);
    }
    hs__server_check_drained(s);
}

static void drain_deadline(hs_server *s)
{
    if (!s->draining || s->ended || hs__now_ms(s) < s->drain_until_ms)
        return;
    for (hs__conn *c = s->conns; c; c = c->next)
        if (c->generation)
            hs__generation_abort(c->generation, 503, "shutting_down", "the server is shutting down");
    end(s);
}

static void reload(hs_server *s)
{
    hs_err err = {0};
    if (!s->options.reload || s->draining)
        return;
    hs__notify_send(&s->notify, "RELOADING=1\nSTATUS=reading the configuration again\n");
    if (s->options.reload(s->options.reload_ctx, &err) < 0)
        hs_error("the configuration stays as it was: %s", err.text);
    else
        hs_info("the configuration has been read again");
    if (s->ready)
        hs__notify_send(&s->notify, "READY=1\n");
    hs__service_status(s);
}

static void on_signal(uv_signal_t *handle, int number)
{
    hs_server *s = handle->data;
    if (number == SIGHUP)
        reload(s);
    else
        hs__server_drain(s);
}

static void on_async(uv_async_t *handle)
{
    hs_server *s = handle->data;
    hs__server_take_shared(s);
    for (hs__conn *c = s->conns; c; c = c->next)
        if (c->generation && hs__generation_take_wake(c->generation))
            hs__generation_pump(c->generation);
}

static void on_tick(uv_timer_t *handle)
{
    hs_server *s = handle->data;
    for (hs__conn *c = s->conns; c; c = c->next)
        hs__conn_tick(c);
    for (size_t i = 0; i < s->n_listeners; i++)
        if (s->listeners[i].open && s->listeners[i].is_waiting)
            hs__conn_accept(s, &s->listeners[i]);
    drain_deadline(s);
}

int hs__loop_open(hs_server *s, hs_err *err)
{
    int r = uv_loop_init(&s->loop);
    if (r < 0)
        return hs_err_set(err, r, "event loop: %s", uv_strerror(r));
    s->loop_open = true;
    s->async.data = s->tick.data = s->watchdog.data = s;
    r = uv_async_init(&s->loop, &s->async, on_async);
    if (r < 0)
        return hs_err_set(err, r, "event loop: %s", uv_strerror(r));
    return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(hs_server *s)
{
    for (hs__conn *c = s->conns; c; c = c->next)
        hs__conn_close(c);
    for (size_t i = 0; i < s->n_listeners; i++)
        hs__listener_close(&s->listeners[i]);
    uv_walk(&s->loop, close_handle, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

void hs__loop_close(hs_server *s)
{
    if (!s->loop_open)
        return;
    s->ended = true;
    close_all(s);
    uv_loop_close(&s->loop);
    s->loop_open = false;
}

static int start(hs_server *s, hs_err *err)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    for (size_t i = 0; i < N_SIGNALS; i++) {
        int r = uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        if (r == 0)
            r = uv_signal_start(&s->signals[i], on_signal, signal_numbers[i]);
        if (r < 0)
            return hs_err_set(err, r, "signal %d: %s", signal_numbers[i], uv_strerror(r));
    }
    mask_signals(SIG_UNBLOCK);
    int r = uv_timer_init(&s->loop, &s->tick);
    if (r == 0)
        r = uv_timer_start(&s->tick, on_tick, HS__TICK_MS, HS__TICK_MS);
    if (r < 0)
        return hs_err_set(err, r, "event loop: %s", uv_strerror(r));
    hs__service_start(s);
    return hs__listeners_start(s, err);
}

int hs_server_run(hs_server *s, hs_err *err)
{
    if (s->ran)
        return hs_err_set(err, -EINVAL, "a server runs once");
    s->ran = true;
    int r = start(s, err);
    if (r == 0) {
        hs__server_take_shared(s);
        if (!s->ended)
            uv_run(&s->loop, UV_RUN_DEFAULT);
        hs_mutex_lock(&s->shared.lock);
        if (s->shared.failure.code)
            r = hs_err_set(err, s->shared.failure.code, "%s", s->shared.failure.text);
        hs_mutex_unlock(&s->shared.lock);
    }
    hs_server_hold_signals(); /* one that comes while things are taken down must not kill the process */
    /* Answers that are still on their way get one more turn; then no request is left in any engine. */
    s->ended = true;
    uv_run(&s->loop, UV_RUN_NOWAIT);
    for (hs__conn *c = s->conns; c; c = c->next)
        hs__conn_close(c);
    for (size_t i = 0; i < s->n_listeners; i++)
        hs__listener_close(&s->listeners[i]);
    uv_run(&s->loop, UV_RUN_NOWAIT);
    return r;
}

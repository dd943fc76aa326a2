/*
 * generation.c - one generation on its way to one client.
 * Owns: the engine's request, what is made of its text (reasoning, answer, calls), the answer while it is collected.
 * Leaves to others: sockets (conn.c), the objects' text (answer.c).
 *
 * Backpressure: while more than HS__OUTPUT_HIGH bytes wait to be sent nothing is read from the engine, which then
 * pauses this request alone. The engine's notify only sets a mark and wakes the loop.
 */
#include "server/generation.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/answer.h"
#include "text/output.h"

#define TELL_MS     1000 /* from one failed request that is logged to the next */
#define PIECE_BYTES 2048
#define EVENT_MAX   (HS__OUTPUT_HIGH)
/* What understanding the text takes without calls; what it takes beyond that counts like a collected answer. */
#define OUTPUT_BYTES (32u << 10)
_Static_assert(HS_OUTPUT_MAX_SHOWN <= HS_MAX_SHOWN, "the engine shows as many tokens as the output asks for");
/* What the engine holds of a request that it has paused: the 64 KiB that hotset.h names, and one token more. */
#define ENGINE_TEXT_MAX (128u << 10)

struct hs__generation {
    hs__conn *conn;
    const hs__model *model;
    hs_request *request;
    hs__meta meta;
    bool stream, include_usage;
    hs_output *output;
    size_t output_counted;                      /* bytes of it that the budget of all connections knows */
    bool has_ended;                             /* the engine's text is read, output has been told */
    uint32_t n_calls;                           /* begun */
    hs_buf all_thought, all_content, all_calls; /* JSON-escaped, when not streaming */
    atomic_bool woken;
    uint64_t t_submit_ns, t_last_ns;
    uint32_t tokens_seen;
    uint64_t progress_ms;    /* of the last progress comment */
    uint64_t progress_value; /* what it said */
    uint64_t prefill_ms;     /* when the prompt was first seen under way, 0 = not yet; and how far it was */
    uint64_t prefill_first;
};

uint64_t hs__generation_max_bytes(void)
{
    return sizeof(hs__generation) + OUTPUT_BYTES + ENGINE_TEXT_MAX;
}

static void on_notify(void *user)
{
    hs__generation *g = user;
    atomic_store(&g->woken, true);
    uv_async_send(&g->conn->server->async);
}

bool hs__generation_take_wake(hs__generation *g)
{
    return atomic_exchange(&g->woken, false);
}

void hs__generation_destroy(hs__generation **generation)
{
    hs__generation *g = *generation;
    if (!g)
        return;
    *generation = NULL;
    hs_request_destroy(&g->request);
    hs_output_destroy(&g->output);
    hs_buf_deinit(&g->all_thought);
    hs_buf_deinit(&g->all_content);
    hs_buf_deinit(&g->all_calls);
    hs_free(g);
}

static void make_id(char id[48], const char *prefix)
{
    unsigned char r[12] = {0};
    if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
        memcpy(r, &(uint64_t){hs_now_ns()}, 8);
    size_t n = (size_t)snprintf(id, 20, "%s", prefix);
    for (size_t i = 0; i < sizeof r; i++)
        n += (size_t)snprintf(id + n, 3, "%02x", r[i]);
}

static hs__generation *generation_new(hs__conn *c, const hs__generation_input *in)
{
    hs__generation *g = hs_calloc(1, sizeof *g);
    if (!g)
        return NULL;
    size_t whole = (size_t)c->server->options.buffer_memory;
    g->conn = c;
    g->model = in->model;
    g->stream = in->params->stream;
    g->include_usage = in->params->include_usage;
    g->meta = (hs__meta){.chat = in->chat, .model = in->model->name, .created = (int64_t)time(NULL)};
    make_id(g->meta.id, in->chat ? "chatcmpl-" : "cmpl-");
    hs_buf_init(&g->all_thought, whole);
    hs_buf_init(&g->all_content, whole);
    hs_buf_init(&g->all_calls, whole);
    g->t_submit_ns = g->t_last_ns = hs_now_ns();
    g->progress_ms = hs__now_ms(c->server);
    return g;
}

/* The field to blame where prompt and answer do not fit: the prompt's, unless max_tokens alone is too much. */
static const char *too_long(const hs__generation_input *in, uint32_t context)
{
    if (in->n_tokens < context && in->params->max_tokens >= context)
        return "max_tokens";
    return in->chat ? "messages" : "prompt";
}

/* limits.max_context and limits.max_tokens; *ret_max 0 = what the context leaves. */
static int check_limits(const hs__conn *c, const hs__generation_input *in, uint32_t *ret_max, hs__api_error *e)
{
    const hs_server_options *o = &c->server->options;
    uint32_t max = in->params->max_tokens;
    if (in->n_tokens > UINT32_MAX)
        return hs__api_fail(e, 400, "messages", "context_length_exceeded", "the prompt is too long");
    if (o->max_tokens && max > o->max_tokens)
        return hs__api_fail(e, 400, "max_tokens", "invalid_value", "max_tokens is %u; limits.max_tokens is %u", max,
                            o->max_tokens);
    if (!max)
        max = o->max_tokens;
    if (o->max_context) {
        if (in->n_tokens >= o->max_context || in->params->max_tokens >= o->max_context)
            return hs__api_fail(e, 400, too_long(in, o->max_context), "context_length_exceeded",
                                "the prompt has %zu tokens and max_tokens is %u; limits.max_context is %u",
                                in->n_tokens, in->params->max_tokens, o->max_context);
        uint32_t left = o->max_context - (uint32_t)in->n_tokens;
        max = max && max < left ? max : left;
    }
    *ret_max = max;
    return 0;
}

static const char *code_word(int code)
{
    return code == -E2BIG       ? "context_length_exceeded"
           : code == -EAGAIN    ? "queue_full"
           : code == -ESHUTDOWN ? "shutting_down"
           : code == -ETIMEDOUT ? "timeout"
           : code == -EINVAL    ? "invalid_value"
                                : NULL;
}

static int submit(hs__generation *g, const hs__generation_input *in, hs__api_error *e)
{
    const hs__params *p = in->params;
    hs_err err = {0};
    hs_request_options opt = {
        .tokens = in->tokens,
        .n_tokens = (uint32_t)in->n_tokens,
        .stop = p->stop,
        .n_stop = p->n_stop,
        .ignore_eos = p->ignore_eos,
        .client = g->conn->client,
        .profile = p->expert_profile,
        .timeout_s = g->conn->server->options.request_timeout_s,
        .notify = on_notify,
        .notify_user = g,
    };
    uint32_t shown[HS_OUTPUT_MAX_SHOWN];
    const hs_template *t = in->prompt ? hs_engine_template(in->model->engine) : NULL;
    int r = check_limits(g->conn, in, &opt.max_tokens, e);
    if (r < 0)
        return r;
    r = hs_output_create(t, in->prompt, in->prompt_len, p->tools, &g->output, &err);
    if (r < 0)
        return hs__api_fail(e, hs__error_status(r), "tools", code_word(r), "%s", err.text);
    if (t && hs_engine_tokenizer(in->model->engine))
        hs_output_shown(t, hs_engine_tokenizer(in->model->engine), shown, &opt.n_shown);
    opt.shown = shown;
    /* A limit of ours larger than the context must not read as the client's mistake. */
    if (!p->max_tokens && opt.max_tokens >= hs_engine_max_context(in->model->engine))
        opt.max_tokens = 0;
    if (p->expert_profile) {
        r = hs_engine_add_profile(in->model->engine, p->expert_profile, &err);
        if (r < 0)
            return hs__api_fail(e, hs__error_status(r), "expert_profile", code_word(r), "%s", err.text);
    }
    hs__params_sampling(p, &in->model->defaults, hs_engine_generation_config(in->model->engine), &opt.sampling);
    r = hs_request_submit(in->model->engine, &opt, &g->request, &err);
    if (r < 0)
        return hs__api_fail(e, hs__error_status(r),
                            r == -E2BIG ? too_long(in, hs_engine_max_context(in->model->engine)) : NULL, code_word(r),
                            "%s", err.text);
    return 0;
}

/* An event stream's next bytes, or the end of the connection if they could not be made. */
static void send_events(hs__conn *c, hs_buf *b)
{
    if (b->failed)
        hs__conn_close(c);
    else
        hs__stream_write(c, b->data, b->len);
    hs_buf_deinit(b);
}

static void stream_begin(hs__generation *g)
{
    hs__conn *c = g->conn;
    hs__stream_begin(c, "text/event-stream; charset=utf-8");
    if (c->generation != g || !g->meta.chat)
        return;
    hs_buf b;
    hs_buf_init(&b, EVENT_MAX);
    hs__sse_role(&b, &g->meta);
    send_events(c, &b);
}

int hs__generation_start(hs__conn *c, const hs__generation_input *in, hs__api_error *e)
{
    hs__generation *g = generation_new(c, in);
    if (!g)
        return hs__api_fail(e, 503, NULL, NULL, "out of memory");
    int r = submit(g, in, e);
    if (r < 0) {
        hs__generation_destroy(&g);
        return r;
    }
    c->generation = g;
    if (g->stream)
        stream_begin(g);
    return 0;
}

void hs__generation_abort(hs__generation *g, int status, const char *code, const char *sentence)
{
    hs__conn *c = g->conn;
    bool stream = g->stream;
    hs__generation_destroy(&c->generation);
    if (!stream) {
        hs__reply_error(c, status, NULL, code, "%s", sentence);
        return;
    }
    hs_buf b;
    hs_buf_init(&b, EVENT_MAX);
    hs__sse_error(&b, status, code, sentence);
    send_events(c, &b);
    hs__stream_end(c, false);
}

/* Counts n more bytes against the budget that all connections share. */
static int take(hs__generation *g, uint64_t n)
{
    hs__conn *c = g->conn;
    if (n && !hs__budget_take(&c->server->budget, n))
        return -E2BIG;
    c->collected += n;
    return 0;
}

static const char *call_id(const hs_output_event *ev, char made[48])
{
    if (*ev->id)
        return ev->id;
    make_id(made, "call_");
    return made;
}

static void send_part(hs__generation *g, const hs_output_event *ev)
{
    hs_buf b;
    char id[48];
    hs_buf_init(&b, EVENT_MAX);
    switch (ev->kind) {
    case HS_OUTPUT_ANSWER:
    case HS_OUTPUT_REASONING:
        hs__sse_text(&b, &g->meta, ev->kind == HS_OUTPUT_ANSWER ? HS__CONTENT : HS__REASONING, ev->text, ev->len);
        break;
    case HS_OUTPUT_CALL:
        hs__sse_call(&b, &g->meta, g->n_calls++, call_id(ev, id), ev->text, ev->len);
        break;
    case HS_OUTPUT_ARGUMENTS:
        hs__sse_arguments(&b, &g->meta, g->n_calls - 1, ev->text, ev->len);
        break;
    }
    send_events(g->conn, &b);
}

static int collect(hs__generation *g, const hs_output_event *ev)
{
    hs_buf *all = ev->kind == HS_OUTPUT_ANSWER      ? &g->all_content
                  : ev->kind == HS_OUTPUT_REASONING ? &g->all_thought
                                                    : &g->all_calls;
    size_t before = all->cap;
    char id[48];
    if (ev->kind == HS_OUTPUT_CALL) {
        if (g->n_calls++) {
            hs__call_end(all);
            hs_buf_puts(all, ",");
        }
        hs_buf_puts(all, "{");
        hs__call_begin(all, call_id(ev, id), ev->text, ev->len);
    } else {
        hs_json_escape(all, ev->text, ev->len);
    }
    return all->failed ? all->failed : take(g, all->cap - before);
}

/* What the text turned out to be goes to the client, or to the collected answer. The generation may be gone afterwards:
 * the caller compares conn->generation. */
static void deliver(hs__generation *g, const hs_output_event *ev)
{
    if (g->stream)
        send_part(g, ev);
    else if (collect(g, ev) < 0)
        hs__generation_abort(g, 500, "answer_too_long",
                             "the answer does not fit into server.buffer_memory; ask for it with \"stream\": true");
}

/* Text of the engine's, or its end (text NULL). */
static void understand(hs__generation *g, const char *text, size_t len)
{
    int r = text ? hs_output_push(g->output, text, len) : hs_output_end(g->output);
    size_t bytes = hs_output_bytes(g->output), more = bytes > OUTPUT_BYTES ? bytes - OUTPUT_BYTES : 0;
    if (r == 0 && more > g->output_counted) {
        r = take(g, more - g->output_counted);
        g->output_counted = more;
    }
    if (r == -E2BIG)
        hs__generation_abort(g, 500, "answer_too_long", "a tool call does not fit into server.buffer_memory");
    else if (r < 0)
        hs__generation_abort(g, 500, NULL, "out of memory");
}

static void finish_stream(hs__generation *g, const hs_request_status *st)
{
    hs__conn *c = g->conn;
    hs_buf b;
    hs_buf_init(&b, EVENT_MAX);
    hs__sse_finish(&b, &g->meta, hs__finish_word(st->finish, g->n_calls), g->include_usage ? NULL : &st->receipt);
    if (g->include_usage)
        hs__sse_usage(&b, &g->meta, &st->receipt);
    hs__sse_done(&b);
    hs__generation_destroy(&c->generation);
    send_events(c, &b);
    hs__stream_end(c, true);
}

static void finish_whole(hs__generation *g, const hs_request_status *st)
{
    hs__conn *c = g->conn;
    hs_buf b;
    if (g->n_calls)
        hs__call_end(&g->all_calls);
    hs_buf_init(&b, g->all_content.len + g->all_thought.len + g->all_calls.len + EVENT_MAX);
    hs__answer_object(&b, &g->meta, &g->all_content, &g->all_thought, &g->all_calls,
                      hs__finish_word(st->finish, g->n_calls), &st->receipt);
    hs__generation_destroy(&c->generation);
    hs__reply_buf(c, 200, "application/json", &b);
}

/* Whose drive or memory fails hears of it without asking a client; a dead drive fails many requests at once. */
static void tell(hs__generation *g, const hs_request_status *st)
{
    hs_server *s = g->conn->server;
    uint64_t now = hs__now_ms(s);
    if (hs__error_status(st->error) < 500 || st->error == -ESHUTDOWN || st->error == -ECANCELED ||
        (s->told_ms && now < s->told_ms + TELL_MS))
        return;
    s->told_ms = now;
    hs_warn("model %s: a request has failed: %s", hs__generation_model(g)->name, st->error_text);
}

static void fail(hs__generation *g, const hs_request_status *st)
{
    if (st->state == HS_REQUEST_FAILED) {
        tell(g, st);
        hs__generation_abort(g, hs__error_status(st->error), code_word(st->error), st->error_text);
    } else {
        hs__generation_abort(g, 503, "cancelled", "the request was cancelled by the server");
    }
}

/* Token times as they are seen here: the pieces of one wake-up share its time. */
static void measure(hs__generation *g, const hs_request_status *st)
{
    hs__metrics *m = &g->conn->server->metrics;
    uint32_t n = st->receipt.generated_tokens;
    if (n <= g->tokens_seen)
        return;
    uint64_t now = hs_now_ns();
    uint32_t fresh = n - g->tokens_seen;
    if (!g->tokens_seen) {
        hs__histogram_add(&m->first_token, (double)(now - g->t_submit_ns) * 1e-9, 1);
        fresh--;
    }
    if (fresh)
        hs__histogram_add(&m->inter_token, (double)(now - g->t_last_ns) * 1e-9 / fresh, fresh);
    g->tokens_seen = n;
    g->t_last_ns = now;
}

void hs__generation_pump(hs__generation *g)
{
    hs__conn *c = g->conn;
    hs_request_status st;
    char piece[PIECE_BYTES];
    hs_request_get_status(g->request, &st);
    measure(g, &st);
    bool done = st.state == HS_REQUEST_DONE, failed = st.state == HS_REQUEST_FAILED || st.finish == HS_FINISH_CANCELLED;
    while (c->generation == g && hs__conn_unsent(c) < HS__OUTPUT_HIGH) {
        hs_output_event ev;
        size_t n;
        if (hs_output_next(g->output, &ev)) {
            deliver(g, &ev);
        } else if (!g->has_ended && (n = hs_request_read(g->request, piece, sizeof piece)) > 0) {
            understand(g, piece, n);
        } else if (failed || (done && g->has_ended)) {
            (failed ? fail : g->stream ? finish_stream : finish_whole)(g, &st);
            return;
        } else if (done) {
            g->has_ended = true;
            understand(g, NULL, 0);
        } else {
            return;
        }
    }
}

const hs__model *hs__generation_model(const hs__generation *g)
{
    return g->model;
}

uint64_t hs__generation_advance(hs__generation *g)
{
    hs_request_status st;
    hs_request_get_status(g->request, &st);
    return st.prefill_done + st.receipt.generated_tokens;
}

/* "prefill 512/2048 tokens, 34 s left": the rest goes as fast as what has been seen of it. */
static void prefill_comment(const hs__generation *g, const hs_request_status *st, uint64_t now, hs_buf *out)
{
    char left[40] = "";
    if (st->prefill_done > g->prefill_first) {
        double ms_each = (double)(now - g->prefill_ms) / (double)(st->prefill_done - g->prefill_first);
        snprintf(left, sizeof left, ", %.0f s left",
                 ceil((double)(st->prefill_total - st->prefill_done) * ms_each * 1e-3));
    }
    hs__sse_comment(out, "prefill %u/%u tokens%s", st->prefill_tokens, st->receipt.prompt_tokens, left);
}

void hs__generation_tick(hs__generation *g)
{
    hs__conn *c = g->conn;
    hs_request_status st;
    uint64_t now = hs__now_ms(c->server);
    if (!g->stream || hs__conn_unsent(c))
        return;
    hs_request_get_status(g->request, &st);
    if (st.state == HS_REQUEST_PREFILL && !g->prefill_ms) {
        g->prefill_ms = now;
        g->prefill_first = st.prefill_done;
    }
    hs_buf b;
    hs_buf_init(&b, 1024);
    uint64_t value = st.state == HS_REQUEST_QUEUED ? 1ull << 63 | st.queue_position : st.prefill_done;
    bool waits = st.state == HS_REQUEST_QUEUED || (st.state == HS_REQUEST_PREFILL && st.prefill_done);
    if (waits && value != g->progress_value && now - g->progress_ms >= 1000) {
        if (st.state == HS_REQUEST_QUEUED)
            hs__sse_comment(&b, "queued %u", st.queue_position);
        else
            prefill_comment(g, &st, now, &b);
        g->progress_value = value;
        g->progress_ms = now;
    } else if (now - c->last_write_ms >= c->server->options.ping_interval_s * 1000ull) {
        hs__sse_comment(&b, "ping");
    }
    send_events(c, &b);
}

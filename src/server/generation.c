/*
 * generation.c - one generation on its way to one client.
 * Owns: the engine's request, the splitting of reasoning, the answer while it is collected. Leaves to others: sockets
 * (conn.c), the objects' text (answer.c).
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
#include "base/mem.h"
#include "server/answer.h"
#include "text/reasoning.h"

#define PIECE_BYTES 2048
#define EVENT_MAX   (HS__OUTPUT_HIGH)
/* What the engine holds of a request that it has paused: the 64 KiB that hotset.h names, and one token more. */
#define ENGINE_TEXT_MAX (128u << 10)

struct hs__generation {
    hs__conn *conn;
    const hs__model *model;
    hs_request *request;
    hs__meta meta;
    bool stream, include_usage;
    hs_reasoning reasoning;
    hs_buf thought, content;         /* a split piece */
    hs_buf all_thought, all_content; /* JSON-escaped, when not streaming */
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
    return sizeof(hs__generation) + 2 * 4 * PIECE_BYTES + ENGINE_TEXT_MAX;
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
    hs_buf_deinit(&g->thought);
    hs_buf_deinit(&g->content);
    hs_buf_deinit(&g->all_thought);
    hs_buf_deinit(&g->all_content);
    hs_free(g);
}

static void make_id(hs__meta *m)
{
    unsigned char r[12] = {0};
    if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
        memcpy(r, &(uint64_t){hs_now_ns()}, 8);
    size_t n = (size_t)snprintf(m->id, sizeof m->id, "%s", m->chat ? "chatcmpl-" : "cmpl-");
    for (size_t i = 0; i < sizeof r; i++)
        n += (size_t)snprintf(m->id + n, sizeof m->id - n, "%02x", r[i]);
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
    make_id(&g->meta);
    const hs_template *t = in->prompt ? hs_engine_template(in->model->engine) : NULL;
    hs_reasoning_init(&g->reasoning, t ? hs_template_reasoning(t) : NULL, in->prompt, in->prompt_len);
    hs_buf_init(&g->thought, 4 * PIECE_BYTES);
    hs_buf_init(&g->content, 4 * PIECE_BYTES);
    hs_buf_init(&g->all_thought, whole);
    hs_buf_init(&g->all_content, whole);
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
    int r = check_limits(g->conn, in, &opt.max_tokens, e);
    if (r < 0)
        return r;
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

/* Counts an answer's bytes against the budget that all connections share. */
static int collect(hs__generation *g, hs_buf *all, const hs_buf *piece)
{
    hs__conn *c = g->conn;
    size_t before = all->cap;
    int r = hs__json_escape(all, piece->data ? piece->data : "", piece->len);
    uint64_t more = all->cap - before;
    if (r == 0 && more && !hs__budget_take(&c->server->budget, more))
        return -E2BIG;
    if (r == 0)
        c->collected += more;
    return r;
}

static void send_piece(hs__generation *g, hs__channel ch, const hs_buf *piece)
{
    hs__conn *c = g->conn;
    if (!piece->len || c->generation != g)
        return;
    hs_buf b;
    hs_buf_init(&b, EVENT_MAX + 6 * piece->len);
    hs__sse_text(&b, &g->meta, ch, piece->data, piece->len);
    send_events(c, &b);
}

/* What the splitter has put into thought and content goes to the client, or to the collected answer. The generation may
 * be gone afterwards: the caller compares conn->generation. */
static void deliver(hs__generation *g)
{
    hs__conn *c = g->conn;
    if (g->thought.failed || g->content.failed) {
        hs__generation_abort(g, 500, NULL, "out of memory");
        return;
    }
    if (g->stream) {
        send_piece(g, HS__REASONING, &g->thought);
        if (c->generation == g)
            send_piece(g, HS__CONTENT, &g->content);
    } else if (collect(g, &g->all_thought, &g->thought) < 0 || collect(g, &g->all_content, &g->content) < 0) {
        hs__generation_abort(g, 500, "answer_too_long",
                             "the answer does not fit into server.buffer_memory; ask for it with \"stream\": true");
        return;
    }
    if (c->generation == g) {
        hs_buf_clear(&g->thought);
        hs_buf_clear(&g->content);
    }
}

static void finish_stream(hs__generation *g, const hs_request_status *st)
{
    hs__conn *c = g->conn;
    hs_buf b;
    hs_buf_init(&b, EVENT_MAX);
    hs__sse_finish(&b, &g->meta, st->finish, g->include_usage ? NULL : &st->receipt);
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
    hs_buf_init(&b, g->all_content.len + g->all_thought.len + EVENT_MAX);
    hs__answer_object(&b, &g->meta, &g->all_content, &g->all_thought, st->finish, &st->receipt);
    hs__generation_destroy(&c->generation);
    hs__reply_buf(c, 200, "application/json", &b);
}

static void finish(hs__generation *g, const hs_request_status *st)
{
    hs__conn *c = g->conn;
    if (st->state == HS_REQUEST_FAILED) {
        int status = hs__error_status(st->error);
        hs__generation_abort(g, status, code_word(st->error), st->error_text);
        return;
    }
    if (st->finish == HS_FINISH_CANCELLED) {
        hs__generation_abort(g, 503, "cancelled", "the request was cancelled by the server");
        return;
    }
    hs_reasoning_flush(&g->reasoning, &g->thought, &g->content);
    deliver(g);
    if (c->generation != g)
        return;
    if (g->stream)
        finish_stream(g, st);
    else
        finish_whole(g, st);
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
    while (c->generation == g && hs__conn_unsent(c) < HS__OUTPUT_HIGH) {
        size_t n = hs_request_read(g->request, piece, sizeof piece);
        if (n) {
            hs_reasoning_push(&g->reasoning, piece, n, &g->thought, &g->content);
            deliver(g);
            continue;
        }
        if (st.state == HS_REQUEST_DONE || st.state == HS_REQUEST_FAILED)
            finish(g, &st);
        return;
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

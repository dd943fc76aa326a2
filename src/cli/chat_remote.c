/* chat_remote.c - asks a running daemon through its socket: /v1/chat/completions as an event stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/chat.h"
#include "cli/out.h"
#include "server/client.h"

#define ASK_AGAIN_MS 200

typedef struct remote_chat {
    hs_chat base;
    char *model, *address, *api_key;
} remote_chat;

static int request_body(const remote_chat *c, const json_t *messages, char **ret_text, hs_err *err)
{
    const hs_chat_wishes *w = &c->base.wishes;
    json_t *o = json_pack("{s:s, s:O, s:b, s:{s:b}}", "model", c->model, "messages", messages, "stream", 1,
                          "stream_options", "include_usage", 1);
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"temperature", w->temperature}, {"top_p", w->top_p}, {"min_p", w->min_p}};
    const struct {
        const char *key;
        int64_t value;
    } integers[] = {{"top_k", w->top_k}, {"max_tokens", w->max_tokens}, {"seed", w->seed}};
    for (size_t i = 0; o && i < 3; i++) {
        if (numbers[i].value >= 0)
            json_object_set_new(o, numbers[i].key, json_real(numbers[i].value));
        if (integers[i].value >= 0)
            json_object_set_new(o, integers[i].key, json_integer(integers[i].value));
    }
    if (o && w->expert_profile)
        json_object_set_new(o, "expert_profile", json_string(w->expert_profile));
    *ret_text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return *ret_text ? 0 : hs_err_set(err, -ENOMEM, "out of memory for the request");
}

/* "error": {"message": …} of an event becomes the error. */
static int event_error(const json_t *event, hs_err *err)
{
    const json_t *e = json_object_get(event, "error");
    if (!e)
        return 0;
    const char *text = json_string_value(json_object_get(e, "message"));
    return hs_err_set(err, -EIO, "%s", text ? text : "the daemon reported an error without saying which");
}

static void pass_text(const json_t *delta, const char *key, bool is_reasoning, const hs_chat_sink *sink)
{
    const json_t *v = json_object_get(delta, key);
    if (json_string_length(v))
        sink->text(sink->ctx, is_reasoning, json_string_value(v), json_string_length(v));
}

static int on_event(const char *text, size_t len, const hs_chat_sink *sink, hs_chat_cost *cost, hs_err *err)
{
    json_t *event = NULL;
    int r = hs_json_load(text, len, "the daemon's answer", &event, err);
    if (r == 0)
        r = event_error(event, err);
    if (r == 0) {
        const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
        const json_t *delta = json_object_get(choice, "delta");
        const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
        pass_text(delta, "reasoning_content", true, sink);
        pass_text(delta, "content", false, sink);
        if (finish)
            cost->hit_length = !strcmp(finish, "length");
        const json_t *usage = json_object_get(event, "usage");
        if (json_is_object(usage)) {
            cost->prompt_tokens = json_integer_value(json_object_get(usage, "prompt_tokens"));
            cost->generated_tokens = json_integer_value(json_object_get(usage, "completion_tokens"));
            json_decref(cost->hotset);
            cost->hotset = json_incref(json_object_get(usage, "hotset"));
        }
    }
    json_decref(event);
    return r;
}

/* "queued N", "prefill DONE/TOTAL tokens", "ping" */
static void on_comment(const char *text, const hs_chat_sink *sink)
{
    unsigned long long done, total;
    text += strspn(text, " ");
    if (sscanf(text, "prefill %llu/%llu", &done, &total) == 2 && done <= total)
        sink->status(sink->ctx, "prefill", done, total);
    else if (!strncmp(text, "queued", 6))
        sink->status(sink->ctx, "queued", 0, 0);
}

/* "Loading model: loading NAME: 42 %" */
static void report_loading(const char *text, const hs_chat_sink *sink)
{
    const char *colon = strrchr(text, ':');
    unsigned percent;
    if (colon && sscanf(colon, ": %u %%", &percent) == 1 && percent <= 100)
        sink->status(sink->ctx, "loading", percent, 100);
    else
        sink->status(sink->ctx, "loading", 0, 0);
}

/* A model that loads, perhaps because this very request has started the daemon, is waited for. */
static int open_stream(const hs_client_options *o, const char *body, const hs_chat_sink *sink,
                       hs_client_stream **ret_stream, hs_err *err)
{
    for (;;) {
        hs_err e = {0};
        int r = hs_client_open(o, "/v1/chat/completions", body, strlen(body), ret_stream, &e);
        if (r != -EINPROGRESS)
            return r < 0 ? hs_err_set(err, r, "%s", e.text) : 0;
        if (hs_stop_asked())
            return hs_err_set(err, -ECANCELED, "stopped as asked");
        report_loading(e.text, sink);
        struct timespec pause = {0, ASK_AGAIN_MS * 1000000l};
        nanosleep(&pause, NULL);
    }
}

static int ask(hs_chat *chat, const json_t *messages, const hs_chat_sink *sink, hs_chat_cost *ret_cost, hs_err *err)
{
    remote_chat *c = (remote_chat *)chat;
    hs_client_options o = {.address = c->address, .api_key = c->api_key, .stop = hs_stop_sig()};
    hs_client_stream *stream = NULL;
    hs_chat_cost cost = {0};
    char *body = NULL;
    int r = request_body(c, messages, &body, err);
    if (r == 0)
        r = open_stream(&o, body, sink, &stream, err);
    while (r == 0) {
        const char *text;
        size_t len;
        int event = hs_client_next(stream, &text, &len, err);
        if (event < 0)
            r = event;
        else if (event == HS_CLIENT_END)
            break;
        else if (event == HS_CLIENT_DATA)
            r = on_event(text, len, sink, &cost, err);
        else
            on_comment(text, sink);
    }
    hs_client_close(&stream);
    free(body);
    *ret_cost = cost;
    return r;
}

static void close_chat(hs_chat *chat)
{
    remote_chat *c = (remote_chat *)chat;
    hs_free(c->model);
    hs_free(c->address);
    hs_free(c->api_key);
    hs_free(c);
}

static const hs_chat_ops remote_ops = {ask, close_chat};

int hs_chat_open_remote(const char *model, const char *address, const char *api_key, const hs_chat_wishes *wishes,
                        hs_chat **ret_chat, hs_err *err)
{
    remote_chat *c = hs_calloc(1, sizeof *c);
    if (!c)
        return hs_err_set(err, -ENOMEM, "out of memory");
    c->base.ops = &remote_ops;
    c->base.wishes = *wishes;
    c->model = hs_strdup(model);
    c->address = hs_strdup(address);
    c->api_key = api_key ? hs_strdup(api_key) : NULL;
    if (!c->model || !c->address || (api_key && !c->api_key)) {
        close_chat(&c->base);
        return hs_err_set(err, -ENOMEM, "out of memory");
    }
    *ret_chat = &c->base;
    return 0;
}

/*
 * chat_local.c - answers in this process: template, tokenizer, and the engine's request door.
 * Threads: the caller waits on a condition that the engine thread's notify signals.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/chat.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/text.h"
#include "text/output.h"

#define DEFAULT_ANSWER 2048u /* tokens that the context of a single turn leaves for the answer */
#define PIECE_BYTES    4096u

typedef struct local_chat {
    hs_chat base;
    hs_engine *engine;
    pthread_mutex_t lock;
    pthread_cond_t news;
    bool has_news;
} local_chat;

/* The prompt's text, and which of its bytes are input; without a template the last message as it is. */
static int render(const hs_template *t, const json_t *messages, char **ret_text, size_t *ret_len,
                  uint8_t **ret_is_input, hs_err *err)
{
    if (!t) {
        const json_t *content = json_object_get(json_array_get(messages, json_array_size(messages) - 1), "content");
        *ret_len = json_string_length(content);
        *ret_text = hs_strndup(json_string_value(content), *ret_len);
        return *ret_text ? 0 : hs_err_set(err, -ENOMEM, "out of memory for the prompt");
    }
    json_t *shaped = NULL;
    int r = hs_template_normalise(t, messages, &shaped, err);
    if (r < 0)
        return r;
    hs_template_input in = {.messages = shaped, .add_generation_prompt = true, .now = hs_local_now()};
    r = hs_template_render(t, &in, ret_text, ret_len, ret_is_input, err);
    json_decref(shaped);
    return r;
}

/* Tokens that the single turn needs, prompt and answer. */
static int size_context(const char *path, const json_t *messages, const hs_chat_wishes *w, uint32_t *ret_context,
                        hs_err *err)
{
    hs_tokenizer *tokenizer = NULL;
    hs_template *template = NULL;
    hs_facts facts = {0};
    char *text = NULL;
    uint8_t *is_input = NULL;
    uint32_t *ids = NULL;
    size_t len, n = 0;
    int r = hs_facts_read(path, &facts, err);
    if (r == 0)
        r = hs_load_tokenizer(path, &tokenizer, err);
    if (r == 0)
        r = hs_load_template(path, NULL, &template, err);
    if (r == -ENOENT && tokenizer)
        r = 0;
    if (r == 0)
        r = render(template, messages, &text, &len, &is_input, err);
    if (r == 0)
        r = hs_tokenizer_encode_rendered(tokenizer, text, is_input, len, &ids, &n, err);
    if (r == 0) {
        uint64_t need = n + (w->max_tokens > 0 ? (uint64_t)w->max_tokens : DEFAULT_ANSWER);
        *ret_context = need < facts.max_context ? (uint32_t)need : facts.max_context;
    }
    hs_free(ids);
    hs_free(text);
    hs_free(is_input);
    hs_template_destroy(&template);
    hs_tokenizer_destroy(&tokenizer);
    hs_facts_deinit(&facts);
    return r;
}

/* A wish, else generation_config.json, else def. */
static double choose(double wish, const json_t *generation, const char *key, double def)
{
    if (wish >= 0)
        return wish;
    const json_t *v = json_object_get(generation, key);
    return json_is_number(v) && json_number_value(v) >= 0 ? json_number_value(v) : def;
}

static hs_sampling sampling(const local_chat *c)
{
    const hs_chat_wishes *w = &c->base.wishes;
    const json_t *g = hs_engine_generation_config(c->engine);
    uint64_t seed = (uint64_t)w->seed;
    if (w->seed < 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)time(NULL);
    return (hs_sampling){.temperature = (float)choose(w->temperature, g, "temperature", 1),
                         .top_p = (float)choose(w->top_p, g, "top_p", 1),
                         .min_p = (float)choose(w->min_p, g, "min_p", 0),
                         .top_k = (uint32_t)choose((double)w->top_k, g, "top_k", 0),
                         .seed = seed};
}

static void on_notify(void *user)
{
    local_chat *c = user;
    pthread_mutex_lock(&c->lock);
    c->has_news = true;
    pthread_cond_signal(&c->news);
    pthread_mutex_unlock(&c->lock);
}

/* Waits for a notify, a tenth of a second at most, so that SIGINT is seen. */
static void wait_news(local_chat *c)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 100000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&c->lock);
    if (!c->has_news)
        pthread_cond_timedwait(&c->news, &c->lock, &until);
    c->has_news = false;
    pthread_mutex_unlock(&c->lock);
}

/* What the text turned out to be. Without tools there are no calls. */
static void emit(const hs_chat_sink *sink, hs_output *output)
{
    hs_output_event ev;
    while (hs_output_next(output, &ev))
        sink->text(sink->ctx, ev.kind == HS_OUTPUT_REASONING, ev.text, ev.len);
}

/* Passes text on until the request has ended and everything is read. */
static int follow(local_chat *c, hs_request *q, hs_output *output, const hs_chat_sink *sink,
                  hs_request_status *ret_status, hs_err *err)
{
    char piece[PIECE_BYTES];
    int r = 0;
    while (r == 0) {
        hs_request_get_status(q, ret_status);
        bool is_over = ret_status->state == HS_REQUEST_DONE || ret_status->state == HS_REQUEST_FAILED;
        size_t n = hs_request_read(q, piece, sizeof piece);
        if (n) {
            r = hs_output_push(output, piece, n);
            if (r < 0)
                hs_err_set(err, r, "out of memory for the answer");
            emit(sink, output);
            continue;
        }
        if (is_over)
            break;
        if (hs_stop_asked()) {
            r = hs_err_set(err, -ECANCELED, "stopped as asked");
            break;
        }
        if (ret_status->state == HS_REQUEST_PREFILL)
            sink->status(sink->ctx, "prefill", ret_status->prefill_tokens, ret_status->receipt.prompt_tokens);
        wait_news(c);
    }
    int ended = hs_output_end(output);
    emit(sink, output);
    if (r == 0 && ended < 0)
        r = hs_err_set(err, ended, "out of memory for the answer");
    if (r == 0 && ret_status->state == HS_REQUEST_FAILED)
        r = hs_err_set(err, ret_status->error, "%s", ret_status->error_text);
    return r;
}

static int ask(hs_chat *chat, const json_t *messages, const hs_chat_sink *sink, hs_chat_cost *ret_cost, hs_err *err)
{
    local_chat *c = (local_chat *)chat;
    const hs_template *t = hs_engine_template(c->engine);
    char *text = NULL;
    uint8_t *is_input = NULL;
    size_t len = 0, n = 0;
    uint32_t *ids = NULL;
    hs_request *q = NULL;
    hs_request_status status;
    hs_output *output = NULL;
    uint32_t shown[HS_OUTPUT_MAX_SHOWN], n_shown = 0;
    int r = render(t, messages, &text, &len, &is_input, err);
    if (r == 0)
        r = hs_tokenizer_encode_rendered(hs_engine_tokenizer(c->engine), text, is_input, len, &ids, &n, err);
    if (r == 0 && n > UINT32_MAX)
        r = hs_err_set(err, -E2BIG, "the prompt has too many tokens");
    if (r < 0)
        goto out;
    r = hs_output_create(t, text, len, NULL, &output, err);
    if (r < 0)
        goto out;
    if (t)
        hs_output_shown(t, hs_engine_tokenizer(c->engine), shown, &n_shown);
    hs_request_options o = {.tokens = ids,
                            .n_tokens = (uint32_t)n,
                            .max_tokens = c->base.wishes.max_tokens > 0 ? (uint32_t)c->base.wishes.max_tokens : 0,
                            .sampling = sampling(c),
                            .shown = shown,
                            .n_shown = n_shown,
                            .notify = on_notify,
                            .notify_user = c};
    r = hs_request_submit(c->engine, &o, &q, err);
    if (r < 0)
        goto out;
    r = follow(c, q, output, sink, &status, err);
    *ret_cost = (hs_chat_cost){.hotset = hs_receipt_json(&status.receipt),
                               .prompt_tokens = status.receipt.prompt_tokens,
                               .generated_tokens = status.receipt.generated_tokens,
                               .hit_length = status.finish == HS_FINISH_LENGTH};
out:
    hs_request_destroy(&q);
    hs_output_destroy(&output);
    hs_free(is_input);
    hs_free(ids);
    hs_free(text);
    return r;
}

static void close_chat(hs_chat *chat)
{
    local_chat *c = (local_chat *)chat;
    hs_err err = {0};
    if (c->engine && hs_engine_save_learnt(c->engine, &err) < 0)
        hs_warn("which experts are used is not remembered: %s", err.text);
    hs_engine_destroy(&c->engine);
    pthread_cond_destroy(&c->news);
    pthread_mutex_destroy(&c->lock);
    hs_free(c);
}

static const hs_chat_ops local_ops = {ask, close_chat};

int hs_chat_open_local(const char *path, const char *mirror, const hs_config *config, const hs_chat_wishes *wishes,
                       const json_t *messages, hs_chat **ret_chat, hs_err *err)
{
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    opt.path = path;
    opt.mirror = mirror;
    opt.profile = wishes->expert_profile;
    opt.preload_s = (uint32_t)hs_config_seconds(config, "cache", "preload_seconds");
    int r = 0;
    if (messages && !opt.context)
        r = size_context(path, messages, wishes, &opt.context, err);
    if (r < 0)
        return r;
    local_chat *c = hs_calloc(1, sizeof *c);
    if (!c)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    c->base.ops = &local_ops;
    c->base.wishes = *wishes;
    hs_cond_init(&c->news);
    pthread_mutex_init(&c->lock, NULL);
    r = hs_load_engine(&opt, &c->engine, err);
    if (r == 0)
        r = hs_engine_start(c->engine, err);
    if (r < 0) {
        close_chat(&c->base);
        return r;
    }
    *ret_chat = &c->base;
    return 0;
}

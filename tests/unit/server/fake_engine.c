/* fake_engine.c - see fake_engine.h. One thread steps all active requests; one lock guards everything. */
#include "fake_engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/output_int.h"
#include "text/template.h"
#include "text/tokenizer.h"

#define MAX_REQUESTS 512
#define TEXT_HIGH    (64u << 10)
#define FAKE_LAYERS  (1ull << 32) /* a prompt that hangs is never done */

struct hs_request {
    hs_engine *engine;
    hs_request_options opt;
    char *prompt;
    hs_buf text;
    hs_request_status status;
    bool active;
    uint32_t max;
};

struct hs_engine {
    fake_options options;
    hs_plan plan;
    pthread_mutex_t lock;
    pthread_t thread;
    bool stop, draining;
    hs_request *requests[MAX_REQUESTS];
    hs_engine_stats stats;
    hs_request_options last;
    char *last_prompt;
    char last_profile[HS_PROFILE_NAME + 1];
    json_t *generation_config;
};

static void finish(hs_request *r, hs_finish finish)
{
    r->status.state = HS_REQUEST_DONE;
    r->status.finish = finish;
    r->active = false;
    r->engine->stats.active--;
    r->engine->stats.requests_done++;
}

static void step(hs_request *r)
{
    static const char call[] = "<think>deep</think>look:\n\xff<tool_call>\n{\"name\": \"look\", \"arguments\": "
                               "{\"at\": \"a\\\"b\"}}\n</tool_call>\n<tool_call>{\"name\": \"f\"}</tool_call>\n";
    static const char think[] = "<think>deep</think>plain", quote[] = "a\"b\\c\n\t\x01 \xc3\xa9";
    hs_engine *e = r->engine;
    r->status.state = HS_REQUEST_PREFILL;
    if (strstr(r->prompt, "HANG")) {
        r->status.prefill_done += r->status.prefill_done < r->status.prefill_total;
        return;
    }
    r->status.state = HS_REQUEST_DECODE;
    if (strstr(r->prompt, "THINK") || strstr(r->prompt, "QUOTE") || strstr(r->prompt, "CALL")) {
        hs_buf_puts(&r->text, strstr(r->prompt, "THINK") ? think : strstr(r->prompt, "CALL") ? call : quote);
        r->status.receipt.generated_tokens = 1;
        finish(r, HS_FINISH_STOP);
        return;
    }
    if (r->text.len >= TEXT_HIGH)
        return;
    if (strstr(r->prompt, "BEGIN") && !r->status.receipt.generated_tokens)
        hs_buf_puts(&r->text, "<tool_call>");
    uint32_t n = strstr(r->prompt, "FLOOD") ? 15000 : 1, quotes = r->status.receipt.generated_tokens * 389 % n;
    for (uint32_t i = 0; i < n; i++)
        hs_buf_puts(&r->text, i < quotes ? "\"\"\"\"" : "tok ");
    r->status.receipt.generated_tokens++;
    r->status.receipt.expert_hits += 3;
    r->status.receipt.expert_misses += 1;
    r->status.receipt.bytes_read += 1000;
    e->stats.generated_tokens++;
    if (strstr(r->prompt, "FAIL") && r->status.receipt.generated_tokens == 2) {
        r->status.state = HS_REQUEST_FAILED;
        r->status.error = -EBADMSG;
        strcpy(r->status.error_text, "record 7: its bytes are damaged");
        r->active = false;
        e->stats.active--;
        e->stats.requests_failed++;
    } else if (!strstr(r->prompt, "ENDLESS") && !strstr(r->prompt, "FLOOD") &&
               r->status.receipt.generated_tokens >= r->max) {
        finish(r, HS_FINISH_LENGTH);
    }
}

static void *run(void *arg)
{
    hs_engine *e = arg;
    pthread_mutex_lock(&e->lock);
    while (!e->stop) {
        uint32_t position = 0;
        for (int i = 0; i < MAX_REQUESTS; i++) {
            hs_request *r = e->requests[i];
            if (!r)
                continue;
            if (!r->active && r->status.state == HS_REQUEST_QUEUED && e->stats.active < e->options.parallel) {
                r->active = true;
                e->stats.active++;
                e->stats.queued--;
            }
            if (r->active) {
                size_t before = r->text.len;
                step(r);
                if (r->opt.notify && (r->text.len != before || !r->active))
                    r->opt.notify(r->opt.notify_user);
            } else if (r->status.state == HS_REQUEST_QUEUED) {
                r->status.queue_position = position++;
            }
        }
        e->stats.steps++;
        pthread_mutex_unlock(&e->lock);
        usleep(e->options.step_us);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

hs_engine *fake_engine_create(const fake_options *o)
{
    hs_engine *e = calloc(1, sizeof *e);
    e->options = *o;
    e->plan.context = o->context;
    e->plan.parallel = o->parallel;
    e->plan.n_experts = 64;
    e->plan.n_slots = 16;
    e->plan.cache = 4096;
    strcpy(e->plan.arch, "fake");
    e->generation_config = json_pack("{s:f,s:i}", "temperature", 0.5, "top_k", 7);
    pthread_mutex_init(&e->lock, NULL);
    pthread_create(&e->thread, NULL, run, e);
    return e;
}

void hs_engine_destroy(hs_engine **engine)
{
    hs_engine *e = *engine;
    if (!e)
        return;
    *engine = NULL;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    json_decref(e->generation_config);
    free(e->last_prompt);
    free(e);
}

hs_request_options fake_engine_last(hs_engine *e)
{
    pthread_mutex_lock(&e->lock);
    hs_request_options o = e->last;
    pthread_mutex_unlock(&e->lock);
    return o;
}

char *fake_engine_last_prompt(hs_engine *e)
{
    pthread_mutex_lock(&e->lock);
    char *s = strdup(e->last_prompt ? e->last_prompt : "");
    pthread_mutex_unlock(&e->lock);
    return s;
}

const hs_plan *hs_engine_plan(const hs_engine *e)
{
    return &e->plan;
}

uint32_t hs_engine_max_context(const hs_engine *e)
{
    return e->options.context;
}

const struct hs_tokenizer *hs_engine_tokenizer(const hs_engine *e)
{
    return e->options.without_text ? NULL : (const struct hs_tokenizer *)(const void *)e;
}

const struct hs_template *hs_engine_template(const hs_engine *e)
{
    return e->options.without_text ? NULL : (const struct hs_template *)(const void *)e;
}

const struct json_t *hs_engine_generation_config(const hs_engine *e)
{
    return e->generation_config;
}

uint32_t hs_engine_moe_layers(const hs_engine *e, const uint32_t **ret_numbers)
{
    static const uint32_t numbers[] = {1, 2};
    (void)e;
    *ret_numbers = numbers;
    return 2;
}

hs_engine_layer hs_engine_get_layer(const hs_engine *e, uint32_t moe_layer)
{
    (void)e;
    return (hs_engine_layer){
        .resident = 7 + moe_layer, .absent = 50, .issued = 40, .useful = 20, .late = 10, .wasted = 9};
}

int hs_engine_add_profile(hs_engine *e, const char *name, hs_err *err)
{
    (void)e;
    return strcmp(name, "bad name") ? 0 : hs_err_set(err, -EINVAL, "expert_profile: '%s' is no name", name);
}

bool hs_engine_get_profile(const hs_engine *e, uint32_t i, hs_profile *ret_profile)
{
    (void)e;
    if (i < 2)
        *ret_profile = (hs_profile){.name = i ? "code" : "default", .requests = 3, .expert_misses = 40 + i};
    return i < 2;
}

bool hs_engine_get_drive(const hs_engine *e, uint32_t i, hs_engine_drive *ret_drive)
{
    (void)e;
    if (i < 2)
        *ret_drive =
            (hs_engine_drive){.folder = "/odd \"\\\n", .bytes = 500 + i, .busy_ns = 2500000000 + i, .is_behind = i > 0};
    return i < 2;
}

hs_engine_stats hs_engine_get_stats(const hs_engine *engine)
{
    hs_engine *e = (hs_engine *)(uintptr_t)engine;
    pthread_mutex_lock(&e->lock);
    hs_engine_stats s = e->stats;
    pthread_mutex_unlock(&e->lock);
    return s;
}

void hs_engine_get_slot(const hs_engine *engine, uint32_t n, hs_slot *ret_slot)
{
    hs_engine *e = (hs_engine *)(uintptr_t)engine;
    *ret_slot = (hs_slot){0};
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < MAX_REQUESTS; i++) {
        const hs_request *r = e->requests[i];
        if (!r || !r->active || n--)
            continue;
        *ret_slot = (hs_slot){.is_busy = true,
                              .is_decoding = r->status.state == HS_REQUEST_DECODE,
                              .is_paused = r->text.len >= TEXT_HIGH,
                              .client = r->opt.client,
                              .prompt_tokens = r->opt.n_tokens,
                              .generated_tokens = r->status.receipt.generated_tokens,
                              .max_tokens = r->max,
                              .position = r->opt.n_tokens};
    }
    pthread_mutex_unlock(&e->lock);
}

void hs_engine_drain(hs_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->draining = true;
    pthread_mutex_unlock(&e->lock);
}

static int admit(hs_engine *e, hs_request *r, hs_err *err)
{
    if (e->draining)
        return hs_err_set(err, -ESHUTDOWN, "the server is shutting down");
    if (r->opt.n_tokens >= e->options.context || r->opt.max_tokens >= e->options.context)
        return hs_err_set(err, -E2BIG, "the prompt has %u tokens; the context has %u", r->opt.n_tokens,
                          e->options.context);
    if (e->stats.queued >= e->options.max_queue + e->options.parallel - e->stats.active)
        return hs_err_set(err, -EAGAIN, "%u requests are waiting already", e->stats.queued);
    for (int i = 0; i < MAX_REQUESTS; i++)
        if (!e->requests[i]) {
            e->requests[i] = r;
            e->stats.queued++;
            return 0;
        }
    return hs_err_set(err, -EAGAIN, "no room");
}

int hs_request_submit(hs_engine *e, const hs_request_options *opt, hs_request **ret_request, hs_err *err)
{
    hs_request *r = calloc(1, sizeof *r);
    r->engine = e;
    r->opt = *opt;
    r->max = opt->max_tokens ? opt->max_tokens : 5;
    r->prompt = calloc(1, opt->n_tokens + 1);
    for (uint32_t i = 0; i < opt->n_tokens; i++)
        r->prompt[i] = (char)opt->tokens[i];
    r->status.receipt.prompt_tokens = opt->n_tokens;
    r->status.prefill_total = opt->n_tokens * FAKE_LAYERS;
    hs_buf_init(&r->text, 2 * TEXT_HIGH);
    pthread_mutex_lock(&e->lock);
    int code = admit(e, r, err);
    e->last = *opt;
    snprintf(e->last_profile, sizeof e->last_profile, "%s", opt->profile ? opt->profile : "");
    e->last.profile = e->last_profile;
    free(e->last_prompt);
    e->last_prompt = strdup(r->prompt);
    pthread_mutex_unlock(&e->lock);
    if (code < 0) {
        hs_buf_deinit(&r->text);
        free(r->prompt);
        free(r);
        return code;
    }
    *ret_request = r;
    return 0;
}

size_t hs_request_read(hs_request *r, char *buf, size_t cap)
{
    pthread_mutex_lock(&r->engine->lock);
    size_t n = r->text.len < cap ? r->text.len : cap;
    if (n) {
        memcpy(buf, r->text.data, n);
        hs_buf_consume(&r->text, n);
    }
    pthread_mutex_unlock(&r->engine->lock);
    return n;
}

void hs_request_get_status(hs_request *r, hs_request_status *ret_status)
{
    pthread_mutex_lock(&r->engine->lock);
    *ret_status = r->status;
    ret_status->prefill_tokens = (uint32_t)(r->status.prefill_done / FAKE_LAYERS);
    pthread_mutex_unlock(&r->engine->lock);
}

void hs_request_destroy(hs_request **request)
{
    hs_request *r = *request;
    if (!r)
        return;
    *request = NULL;
    hs_engine *e = r->engine;
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < MAX_REQUESTS; i++)
        if (e->requests[i] == r)
            e->requests[i] = NULL;
    if (r->active) {
        e->stats.active--;
        e->stats.requests_cancelled++;
    } else if (r->status.state == HS_REQUEST_QUEUED) {
        e->stats.queued--;
        e->stats.requests_cancelled++;
    }
    pthread_mutex_unlock(&e->lock);
    hs_buf_deinit(&r->text);
    free(r->prompt);
    free(r);
}

/* ---- text ---- */

int hs_tokenizer_encode(const hs_tokenizer *t, const char *text, size_t len, bool specials, uint32_t **ret_ids,
                        size_t *ret_n, hs_err *err)
{
    (void)t, (void)specials;
    uint32_t *ids = hs_malloc((len + 1) * sizeof *ids);
    if (!ids)
        return hs_err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < len; i++)
        ids[i] = (unsigned char)text[i];
    *ret_ids = ids;
    *ret_n = len;
    return 0;
}

int hs_tokenizer_encode_rendered(const hs_tokenizer *t, const char *text, const uint8_t *is_input, size_t len,
                                 uint32_t **ret_ids, size_t *ret_n, hs_err *err)
{
    (void)is_input;
    return hs_tokenizer_encode(t, text, len, true, ret_ids, ret_n, err);
}

uint64_t hs_tokenizer_encode_bytes(size_t len)
{
    return (uint64_t)len * 28;
}

uint32_t hs_tokenizer_bos(const hs_tokenizer *t)
{
    (void)t;
    return HS_NO_TOKEN;
}

int hs_tokenizer_decode(const hs_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special, hs_buf *out,
                        hs_err *err)
{
    (void)t, (void)skip_special;
    for (size_t i = 0; i < n; i++)
        hs_buf_append(out, &(char){(char)(ids[i] & 0x7f)}, 1);
    return out->failed ? hs_err_set(err, out->failed, "the text does not fit") : 0;
}

int hs_template_normalise(const hs_template *t, const json_t *messages, json_t **ret_messages, hs_err *err)
{
    (void)t, (void)err;
    *ret_messages = json_deep_copy(messages);
    return 0;
}

int hs_template_render(const hs_template *t, const hs_template_input *in, char **ret_text, size_t *ret_len,
                       uint8_t **ret_is_input, hs_err *err)
{
    const hs_engine *e = (const void *)t;
    hs_buf b;
    hs_buf_init(&b, 1 << 24);
    for (size_t i = 0; i < json_array_size(in->messages); i++) {
        const json_t *m = json_array_get(in->messages, i);
        const char *content = json_string_value(json_object_get(m, "content"));
        if (content && !strcmp(content, "RAISE")) {
            hs_buf_deinit(&b);
            return hs_err_set(err, -EINVAL, "template: line 3: conversation roles must alternate");
        }
        hs_buf_printf(&b, "%s:%s\n", json_string_value(json_object_get(m, "role")), content ? content : "");
    }
    if (in->tools && !e->options.without_tools)
        hs_buf_printf(&b, "tools:%zu\n", json_array_size(in->tools));
    if (json_is_true(json_object_get(in->kwargs, "enable_thinking")))
        hs_buf_puts(&b, "thinking\n");
    if (in->add_generation_prompt)
        hs_buf_puts(&b, "assistant:");
    if (b.failed) {
        hs_buf_deinit(&b);
        return hs_err_set(err, -ENOMEM, "out of memory");
    }
    if (ret_is_input && !(*ret_is_input = hs_calloc(b.len + 1, 1))) {
        hs_buf_deinit(&b);
        return hs_err_set(err, -ENOMEM, "out of memory");
    }
    *ret_len = b.len;
    *ret_text = hs_buf_take(&b);
    return 0;
}

const hs_reasoning_marks *hs_template_reasoning(const hs_template *t)
{
    static const hs_reasoning_marks marks = {"<think>", "</think>"};
    (void)t;
    return &marks;
}

const hs__call_format *hs__template_calls(const hs_template *t)
{
    (void)t;
    return hs__call_format_find("<tool_call>");
}

uint32_t hs_tokenizer_find_added(const hs_tokenizer *t, const char *text)
{
    (void)t;
    return strcmp(text, "<tool_call>") ? HS_NO_TOKEN : 300;
}

bool hs_tokenizer_is_special(const hs_tokenizer *t, uint32_t id)
{
    (void)t;
    return id == 300;
}

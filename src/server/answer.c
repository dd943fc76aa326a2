/* answer.c - OpenAI's answer objects and event-stream chunks. */
#include "server/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/server_int.h"

const char *hs__finish_word(hs_finish finish, uint32_t n_calls)
{
    return finish == HS_FINISH_LENGTH ? "length" : n_calls ? "tool_calls" : "stop";
}

void hs__usage_object(hs_buf *b, const hs_receipt *r)
{
    uint64_t lookups = r->expert_hits + r->expert_misses;
    hs_buf_printf(b,
                  "{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%llu,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":0},\"hotset\":{",
                  r->prompt_tokens, r->generated_tokens, (unsigned long long)r->prompt_tokens + r->generated_tokens);
    hs_buf_printf(b, "\"bytes_read\":%llu,\"hit_rate\":%.6g,\"hits\":%llu,\"misses\":%llu,",
                  (unsigned long long)r->bytes_read, lookups ? (double)r->expert_hits / (double)lookups : 1.0,
                  (unsigned long long)r->expert_hits, (unsigned long long)r->expert_misses);
    hs_buf_printf(b, "\"prefetch_issued\":%llu,\"prefetch_useful\":%llu,\"unpacked\":%llu,",
                  (unsigned long long)r->prefetch_issued, (unsigned long long)r->prefetch_useful,
                  (unsigned long long)r->unpacked);
    hs_buf_printf(b, "\"queue_s\":%.6f,\"prefill_s\":%.6f,\"decode_s\":%.6f,\"disk_wait_s\":%.6f,\"expand_s\":%.6f}}",
                  r->queue_s, r->prefill_s, r->decode_s, r->disk_wait_s, r->expand_s);
}

static void put_model(hs_buf *b, const hs__meta *m)
{
    hs_buf_printf(b, "\"created\":%lld,\"model\":", (long long)m->created);
    hs_json_string(b, m->model, strlen(m->model));
}

/* Up to the opening bracket of choices. */
static void chunk_begin(hs_buf *b, const hs__meta *m)
{
    hs_buf_printf(b, "data: {\"id\":\"%s\",\"object\":\"%s\",", m->id,
                  m->chat ? "chat.completion.chunk" : "text_completion");
    put_model(b, m);
    hs_buf_puts(b, ",\"choices\":[");
}

void hs__sse_role(hs_buf *b, const hs__meta *m)
{
    chunk_begin(b, m);
    hs_buf_puts(b, "{\"index\":0,\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n");
}

void hs__sse_text(hs_buf *b, const hs__meta *m, hs__channel ch, const char *text, size_t n)
{
    chunk_begin(b, m);
    if (m->chat)
        hs_buf_printf(b, "{\"index\":0,\"delta\":{\"%s\":", ch == HS__REASONING ? "reasoning_content" : "content");
    else
        hs_buf_puts(b, "{\"index\":0,\"text\":");
    hs_json_string(b, text, n);
    hs_buf_puts(b, m->chat ? "},\"finish_reason\":null}]}\n\n" : ",\"logprobs\":null,\"finish_reason\":null}]}\n\n");
}

void hs__call_begin(hs_buf *b, const char *id, const char *name, size_t n)
{
    hs_buf_puts(b, "\"id\":");
    hs_json_string(b, id, strlen(id));
    hs_buf_puts(b, ",\"type\":\"function\",\"function\":{\"name\":");
    hs_json_string(b, name, n);
    hs_buf_puts(b, ",\"arguments\":\"");
}

void hs__call_end(hs_buf *b)
{
    hs_buf_puts(b, "\"}}");
}

void hs__sse_call(hs_buf *b, const hs__meta *m, uint32_t i, const char *id, const char *name, size_t n)
{
    chunk_begin(b, m);
    hs_buf_printf(b, "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%u,", i);
    hs__call_begin(b, id, name, n);
    hs__call_end(b);
    hs_buf_puts(b, "]},\"finish_reason\":null}]}\n\n");
}

void hs__sse_arguments(hs_buf *b, const hs__meta *m, uint32_t i, const char *text, size_t n)
{
    chunk_begin(b, m);
    hs_buf_printf(b, "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", i);
    hs_json_string(b, text, n);
    hs_buf_puts(b, "}}]},\"finish_reason\":null}]}\n\n");
}

void hs__sse_finish(hs_buf *b, const hs__meta *m, const char *finish, const hs_receipt *receipt)
{
    chunk_begin(b, m);
    hs_buf_puts(b, m->chat ? "{\"index\":0,\"delta\":{}" : "{\"index\":0,\"text\":\"\",\"logprobs\":null");
    hs_buf_printf(b, ",\"finish_reason\":\"%s\"}]", finish);
    if (receipt) {
        hs_buf_puts(b, ",\"usage\":");
        hs__usage_object(b, receipt);
    }
    hs_buf_puts(b, "}\n\n");
}

void hs__sse_usage(hs_buf *b, const hs__meta *m, const hs_receipt *receipt)
{
    chunk_begin(b, m);
    hs_buf_puts(b, "],\"usage\":");
    hs__usage_object(b, receipt);
    hs_buf_puts(b, "}\n\n");
}

void hs__sse_done(hs_buf *b)
{
    hs_buf_puts(b, "data: [DONE]\n\n");
}

void hs__sse_comment(hs_buf *b, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    hs_buf_printf(b, ": %s\n\n", text);
}

void hs__sse_error(hs_buf *b, int status, const char *code, const char *sentence)
{
    hs_buf_puts(b, "data: ");
    hs__error_object(b, status, NULL, code, sentence);
    hs_buf_puts(b, "\n\n");
}

static void put_choice(hs_buf *b, const hs__meta *m, const hs_buf *content, const hs_buf *reasoning,
                       const hs_buf *calls)
{
    if (!m->chat) {
        hs_buf_puts(b, "{\"index\":0,\"text\":\"");
        hs_buf_append(b, content->data ? content->data : "", content->len);
        hs_buf_puts(b, "\",\"logprobs\":null");
        return;
    }
    hs_buf_puts(b, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (calls->len && !content->len) {
        hs_buf_puts(b, "null");
    } else {
        hs_buf_puts(b, "\"");
        hs_buf_append(b, content->data ? content->data : "", content->len);
        hs_buf_puts(b, "\"");
    }
    if (reasoning->len) {
        hs_buf_puts(b, ",\"reasoning_content\":\"");
        hs_buf_append(b, reasoning->data, reasoning->len);
        hs_buf_puts(b, "\"");
    }
    if (calls->len) {
        hs_buf_puts(b, ",\"tool_calls\":[");
        hs_buf_append(b, calls->data, calls->len);
        hs_buf_puts(b, "]");
    }
    hs_buf_puts(b, "},\"logprobs\":null");
}

void hs__answer_object(hs_buf *b, const hs__meta *m, const hs_buf *content, const hs_buf *reasoning,
                       const hs_buf *calls, const char *finish, const hs_receipt *receipt)
{
    hs_buf_printf(b, "{\"id\":\"%s\",\"object\":\"%s\",", m->id, m->chat ? "chat.completion" : "text_completion");
    put_model(b, m);
    hs_buf_puts(b, ",\"choices\":[");
    put_choice(b, m, content, reasoning, calls);
    hs_buf_printf(b, ",\"finish_reason\":\"%s\"}],\"usage\":", finish);
    hs__usage_object(b, receipt);
    hs_buf_puts(b, "}\n");
}

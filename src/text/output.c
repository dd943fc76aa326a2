/*
 * output.c - the way of a model's text to events, and the queue of these.
 * Invariant: out[read, out.len) are whole records, of the first of which read_part bytes have been read; `last` is
 * where the last record begins, which grows as long as text of its kind comes.
 */
#include <string.h>

#include "base/mem.h"
#include "text/detok.h"
#include "text/output_int.h"

#define HEAD (2 * sizeof(uint32_t))

/* Parameters that the tools declare as strings: what a model writes there between tags is no JSON. */
static int note_strings(hs_output *o, const json_t *tools)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        const char *tool = json_string_value(json_object_get(function, "name")), *name;
        json_t *param;
        json_object_foreach(json_object_get(json_object_get(function, "parameters"), "properties"), name, param)
        {
            const char *type = json_string_value(json_object_get(param, "type"));
            if (!tool || !type || strcmp(type, "string"))
                continue;
            hs_buf_append(&o->strings, tool, strlen(tool) + 1);
            hs_buf_append(&o->strings, name, strlen(name) + 1);
        }
    }
    return o->strings.failed;
}

int hs_output_create(const hs_template *t, const char *prompt, size_t len, const json_t *tools, hs_output **ret_output,
                     hs_err *err)
{
    hs_output *o = hs_calloc(1, sizeof *o);
    if (!o)
        return hs_err_set(err, -ENOMEM, "out of memory");
    const hs__call_format *f = t ? hs__template_calls(t) : NULL;
    o->wants_calls = tools != NULL;
    o->last = SIZE_MAX;
    hs_buf_init(&o->thought, HS_OUTPUT_MAX_CALL);
    hs_buf_init(&o->answer, HS_OUTPUT_MAX_CALL);
    hs_buf_init(&o->strings, HS_OUTPUT_MAX_CALL);
    hs_buf_init(&o->out, 3 * HS_OUTPUT_MAX_CALL);
    int r = f && tools ? note_strings(o, tools) : 0;
    if (f && f->body == HS__BODY_HARMONY) {
        o->format = f;
        hs__harmony_init(o, prompt, len);
    } else {
        o->format = tools ? f : NULL;
        hs_reasoning_init(&o->reasoning, t ? hs_template_reasoning(t) : NULL, prompt, len);
        hs_buf_init(&o->as.calls.held, HS_OUTPUT_MAX_CALL + HS_OUTPUT_PIECE);
    }
    if (r < 0) {
        hs_output_destroy(&o);
        return r == -E2BIG ? hs_err_set(err, r, "tools declare more than %u bytes of names", HS_OUTPUT_MAX_CALL)
                           : hs_err_set(err, r, "out of memory");
    }
    *ret_output = o;
    return 0;
}

static bool is_harmony(const hs_output *o)
{
    return o->format && o->format->body == HS__BODY_HARMONY;
}

void hs_output_destroy(hs_output **output)
{
    hs_output *o = *output;
    if (!o)
        return;
    if (is_harmony(o)) {
        hs_buf_deinit(&o->as.harmony.held);
        hs_buf_deinit(&o->as.harmony.mark);
    } else {
        hs_buf_deinit(&o->as.calls.held);
    }
    hs_buf_deinit(&o->thought);
    hs_buf_deinit(&o->answer);
    hs_buf_deinit(&o->strings);
    hs_buf_deinit(&o->out);
    hs_free(o);
    *output = NULL;
}

size_t hs_output_bytes(const hs_output *o)
{
    size_t held = is_harmony(o) ? o->as.harmony.held.cap + o->as.harmony.mark.cap : o->as.calls.held.cap;
    return sizeof *o + held + o->thought.cap + o->answer.cap + o->strings.cap + o->out.cap;
}

/* ---- events ---- */

void hs__output_hold(hs_output *o, hs_buf *b, const char *text, size_t len)
{
    int r = hs_buf_append(b, text, len);
    if (r < 0 && !o->failed)
        o->failed = r;
}

void hs__output_put(hs_output *o, hs_output_kind kind, const char *text, size_t len)
{
    uint32_t head[2] = {(uint32_t)kind, (uint32_t)len}, before[2];
    if (!len)
        return;
    if (kind != HS_OUTPUT_CALL && o->last != SIZE_MAX) {
        memcpy(before, o->out.data + o->last, HEAD);
        if (before[0] == (uint32_t)kind && hs_buf_append(&o->out, text, len) == 0) {
            before[1] += (uint32_t)len;
            memcpy(o->out.data + o->last, before, HEAD);
            return;
        }
    }
    o->last = o->out.len;
    hs_buf_append(&o->out, head, HEAD);
    hs_buf_append(&o->out, text, len);
}

/* As much of text as an event takes, no character cut. */
static size_t piece_len(const char *text, size_t len)
{
    size_t n = HS_OUTPUT_PIECE;
    if (len <= n)
        return len;
    while (n > HS_OUTPUT_PIECE - 4 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return n;
}

bool hs_output_next(hs_output *o, hs_output_event *ret)
{
    uint32_t head[2];
    if (o->read == o->out.len) {
        hs_buf_clear(&o->out);
        o->read = 0;
        o->last = SIZE_MAX;
        return false;
    }
    memcpy(head, o->out.data + o->read, HEAD);
    const char *text = o->out.data + o->read + HEAD + o->read_part;
    size_t left = head[1] - o->read_part, n = head[0] == HS_OUTPUT_CALL ? left : piece_len(text, left);
    *ret = (hs_output_event){.kind = (hs_output_kind)head[0], .text = text, .len = n, .id = ""};
    if (ret->kind == HS_OUTPUT_CALL) {
        ret->len = strlen(text);
        ret->id = text + ret->len + 1;
    }
    o->read_part += n;
    if (o->read_part == head[1]) {
        o->read += HEAD + head[1];
        o->read_part = 0;
        if (o->read > o->last)
            o->last = SIZE_MAX;
    }
    return true;
}

/* ---- the stream ---- */

static int settle(hs_output *o)
{
    if (!o->failed)
        o->failed = o->out.failed ? o->out.failed : o->thought.failed ? o->thought.failed : o->answer.failed;
    return o->failed;
}

/* What the splitter has made: reasoning comes first, since it ends where the answer begins. */
static void put_split(hs_output *o)
{
    hs__output_put(o, HS_OUTPUT_REASONING, o->thought.data, o->thought.len);
    if (o->format)
        hs__calls_push(o, o->answer.data, o->answer.len);
    else
        hs__output_put(o, HS_OUTPUT_ANSWER, o->answer.data, o->answer.len);
    hs_buf_clear(&o->thought);
    hs_buf_clear(&o->answer);
}

int hs_output_push(hs_output *o, const char *text, size_t len)
{
    if (o->failed)
        return o->failed;
    if (is_harmony(o)) {
        hs__harmony_push(o, text, len);
        return settle(o);
    }
    /* Here a mark is a mark, whether it was a token or was spelled. */
    while (len > 0) {
        const char *shown = memchr(text, HS_DETOK_SHOWN, len);
        size_t n = shown ? (size_t)(shown - text) : len;
        hs_reasoning_push(&o->reasoning, text, n, &o->thought, &o->answer);
        text += n + (shown != NULL);
        len -= n + (shown != NULL);
    }
    if (settle(o) == 0)
        put_split(o);
    return settle(o);
}

int hs_output_end(hs_output *o)
{
    if (o->failed)
        return o->failed;
    if (is_harmony(o)) {
        hs__harmony_end(o);
    } else {
        hs_reasoning_flush(&o->reasoning, &o->thought, &o->answer);
        if (settle(o) == 0)
            put_split(o);
        if (o->format && !o->failed)
            hs__calls_end(o);
    }
    return settle(o);
}

/*
 * calls.c - calls of tools in a stream of text, and the table of how models write them.
 *
 *   TEXT    -> SECTION   the mark in front of all calls, if the format has one
 *   TEXT, SECTION -> CALL     the mark in front of one call
 *   CALL    -> SECTION or TEXT   its end; what it held becomes a call, or text if it is none
 *   SECTION -> TEXT      the mark behind all calls
 *
 * Invariant: `held` is what may still turn out to belong to a call: the blanks before a mark, the mark's beginning, the
 * call. All of it becomes text where it is none, or is longer than HS_OUTPUT_MAX_CALL.
 */
#include <string.h>

#include "text/output_int.h"

#define MAX_BLANKS 64u

enum { TEXT, SECTION, CALL };

/* One line per format; more particular probes first. */
static const hs__call_format formats[] = {
    {.probe = "<|channel|>commentary", .body = HS__BODY_HARMONY},
    {.probe = "<｜tool▁call▁begin｜>",
     .body = HS__BODY_SPLIT,
     .section_begin = "<｜tool▁calls▁begin｜>",
     .section_end = "<｜tool▁calls▁end｜>",
     .begin = "<｜tool▁call▁begin｜>",
     .end = "<｜tool▁call▁end｜>",
     .split = "<｜tool▁sep｜>"},
    {.probe = "<|tool_call_argument_begin|>",
     .body = HS__BODY_SPLIT,
     .section_begin = "<|tool_calls_section_begin|>",
     .section_end = "<|tool_calls_section_end|>",
     .begin = "<|tool_call_begin|>",
     .end = "<|tool_call_end|>",
     .split = "<|tool_call_argument_begin|>"},
    {.probe = "<invoke name=\"probe_call\">",
     .body = HS__BODY_TAGS,
     .section_begin = "<minimax:tool_call>",
     .section_end = "</minimax:tool_call>",
     .begin = "<invoke name=\"",
     .end = "</invoke>",
     .name_end = "\">",
     .key_begin = "<parameter name=\"",
     .key_end = "\">",
     .value_end = "</parameter>"},
    {.probe = "<function=probe_call>",
     .body = HS__BODY_TAGS,
     .section_begin = "<tool_call>",
     .section_end = "</tool_call>",
     .begin = "<function=",
     .end = "</function>",
     .name_end = ">",
     .key_begin = "<parameter=",
     .key_end = ">",
     .value_end = "</parameter>"},
    {.probe = "<tool_call>probe_call",
     .body = HS__BODY_TAGS,
     .begin = "<tool_call>",
     .end = "</tool_call>",
     .key_begin = "<arg_key>",
     .key_end = "</arg_key>",
     .value_begin = "<arg_value>",
     .value_end = "</arg_value>"},
    {.probe = "<tool_call>", .body = HS__BODY_JSON, .begin = "<tool_call>", .end = "</tool_call>"},
};

const hs__call_format *hs__call_format_find(const char *rendered)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strstr(rendered, formats[i].probe))
            return &formats[i];
    return NULL;
}

static void show(const hs_tokenizer *k, const char *mark, uint32_t *ids, uint32_t *n)
{
    uint32_t id = mark ? hs_tokenizer_find_added(k, mark) : HS_NO_TOKEN;
    if (id != HS_NO_TOKEN && hs_tokenizer_is_special(k, id) && *n < HS_OUTPUT_MAX_SHOWN)
        ids[(*n)++] = id;
}

void hs_output_shown(const hs_template *t, const hs_tokenizer *k, uint32_t ids[HS_OUTPUT_MAX_SHOWN], uint32_t *ret_n)
{
    const hs__call_format *f = hs__template_calls(t);
    const hs_reasoning_marks *r = hs_template_reasoning(t);
    uint32_t n = 0;
    if (f && f->body == HS__BODY_HARMONY) {
        show(k, "<|channel|>", ids, &n);
        show(k, "<|message|>", ids, &n);
        show(k, "<|start|>", ids, &n);
        show(k, "<|end|>", ids, &n);
        show(k, "<|constrain|>", ids, &n);
    } else if (f) {
        show(k, f->section_begin, ids, &n);
        show(k, f->section_end, ids, &n);
        show(k, f->begin, ids, &n);
        show(k, f->end, ids, &n);
        show(k, f->split, ids, &n);
    }
    if (r) {
        show(k, r->begin, ids, &n);
        show(k, r->end, ids, &n);
    }
    *ret_n = n;
}

/* held[skip, …) is mark, or the beginning of it. */
static bool may_be(const hs_buf *held, size_t skip, const char *mark, bool *whole)
{
    size_t n = held->len - skip, n_mark = mark ? strlen(mark) : 0;
    *whole = mark && n == n_mark && !memcmp(held->data + skip, mark, n);
    return mark && n <= n_mark && !memcmp(held->data + skip, mark, n);
}

static size_t blanks(const hs_buf *held)
{
    size_t n = 0;
    while (n < held->len && hs__is_blank(held->data[n]))
        n++;
    return n;
}

/* The first n bytes of what is held are text. */
static void release(hs_output *o, size_t n)
{
    hs_buf *held = &o->as.calls.held;
    hs__output_put(o, HS_OUTPUT_ANSWER, held->data, n);
    hs_buf_consume(held, n);
}

static void give_up(hs_output *o)
{
    hs__calls *c = &o->as.calls;
    release(o, c->held.len);
    c->state = TEXT;
    c->in_section = false;
}

static void begin_call(hs__calls *c)
{
    c->state = CALL;
    c->body = c->held.len;
    c->in_string = c->escaped = false;
}

static void step_text(hs_output *o)
{
    hs__calls *c = &o->as.calls;
    const hs__call_format *f = o->format;
    const char *mark = f->section_begin ? f->section_begin : f->begin;
    bool whole = false;
    while (c->held.len && !may_be(&c->held, blanks(&c->held), mark, &whole))
        release(o, 1);
    if (whole && f->section_begin) {
        c->state = SECTION;
        c->in_section = true;
        c->body = c->held.len;
    } else if (whole) {
        begin_call(c);
    } else if (c->held.len > MAX_BLANKS + strlen(mark)) {
        release(o, 1);
    }
}

/* Between calls: blanks, one more call, or the end. body: where that begins. */
static void step_section(hs_output *o)
{
    hs__calls *c = &o->as.calls;
    size_t at = c->body;
    bool begins = false, ends = false;
    while (at < c->held.len && hs__is_blank(c->held.data[at]))
        at++;
    bool may = may_be(&c->held, at, o->format->begin, &begins);
    may |= may_be(&c->held, at, o->format->section_end, &ends);
    if (begins) {
        begin_call(c);
    } else if (ends && c->body == 0) { /* a call has been taken out of it */
        hs_buf_clear(&c->held);
        c->state = TEXT;
        c->in_section = false;
    } else if (ends || !may || c->held.len > HS_OUTPUT_PIECE) {
        give_up(o);
    }
}

/* Whether a JSON body is inside a string after one more byte: an end mark there is the string's. */
static void follow_string(hs__calls *c, char b)
{
    if (c->escaped)
        c->escaped = false;
    else if (c->in_string && b == '\\')
        c->escaped = true;
    else if (b == '"')
        c->in_string = !c->in_string;
}

static void step_call(hs_output *o)
{
    hs__calls *c = &o->as.calls;
    const char *end = o->format->end;
    size_t n = strlen(end), len = c->held.len;
    if (o->format->body != HS__BODY_TAGS)
        follow_string(c, c->held.data[len - 1]);
    if (len >= HS_OUTPUT_MAX_CALL) {
        give_up(o);
        return;
    }
    if (c->in_string || len - c->body < n || memcmp(c->held.data + len - n, end, n) != 0)
        return;
    if (!hs__call_read(o, o->format, c->held.data + c->body, len - n - c->body)) {
        give_up(o);
        return;
    }
    hs_buf_clear(&c->held);
    c->any = true;
    c->body = 0;
    c->state = c->in_section ? SECTION : TEXT;
}

/* Bytes at the begin of text that belong to no mark. */
static size_t plain_run(const hs__call_format *f, const char *text, size_t len)
{
    char first = (f->section_begin ? f->section_begin : f->begin)[0];
    size_t n = 0;
    while (n < len && text[n] != first && !hs__is_blank(text[n]))
        n++;
    return n;
}

void hs__calls_push(hs_output *o, const char *text, size_t len)
{
    hs__calls *c = &o->as.calls;
    for (size_t i = 0; i < len && !o->failed; i++) {
        if (c->state == TEXT && !c->held.len) {
            size_t n = plain_run(o->format, text + i, len - i);
            hs__output_put(o, HS_OUTPUT_ANSWER, text + i, n);
            i += n;
            if (i == len)
                return;
        }
        hs__output_hold(o, &c->held, text + i, 1);
        if (o->failed)
            return;
        if (c->state == TEXT)
            step_text(o);
        else if (c->state == SECTION)
            step_section(o);
        else
            step_call(o);
    }
}

void hs__calls_end(hs_output *o)
{
    hs__calls *c = &o->as.calls;
    /* Blanks behind a call are none of the answer's. */
    if (!(c->any && c->state != CALL && blanks(&c->held) == c->held.len))
        release(o, c->held.len);
    c->state = TEXT;
}

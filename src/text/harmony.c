/*
 * harmony.c - gpt-oss's answers: messages, each with a header that says what it is.
 *
 *   <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…
 *   <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}      (the token <|call|> ends the answer)
 *
 *   HEADER -> BODY    <|message|>: analysis is reasoning, commentary to a function a call, all else the answer
 *   BODY -> HEADER    <|end|>, <|start|>, <|channel|>, or the end of the answer
 *
 * Marks count only as the tokens that the engine has shown, HS_DETOK_SHOWN in front: a model may write about them.
 * Invariant: held is the header, where CHANNEL and CONSTRAIN stand for these marks, or the arguments of a call.
 */
#include <string.h>

#include "text/detok.h"
#include "text/output_int.h"

#define MAX_HEADER 512u
#define MAX_MARK   32u
#define CHANNEL    '\1'
#define CONSTRAIN  '\2'

enum { HEADER, BODY };

static const char start_mark[] = "<|start|>", channel_mark[] = "<|channel|>", message_mark[] = "<|message|>";

/* The word behind `key`, up to a blank or a mark; *ret_n 0: there is none. */
static const char *word_after(const hs_buf *header, const char *key, size_t *ret_n)
{
    const char *at = header->len ? memmem(header->data, header->len, key, strlen(key)) : NULL;
    const char *end = header->data + header->len;
    *ret_n = 0;
    if (!at)
        return "";
    at += strlen(key);
    while (at + *ret_n < end && (unsigned char)at[*ret_n] > ' ')
        ++*ret_n;
    return at;
}

static bool is_word(const char *p, size_t n, const char *word)
{
    return n == strlen(word) && !memcmp(p, word, n);
}

static void read_header(hs_output *o)
{
    hs__harmony *h = &o->as.harmony;
    size_t n_channel, n_to;
    const char *channel = word_after(&h->held, (const char[]){CHANNEL, '\0'}, &n_channel);
    const char *to = word_after(&h->held, "to=", &n_to);
    bool is_function = n_to > 10 && !memcmp(to, "functions.", 10) && n_to - 10 < sizeof h->name;
    h->state = BODY;
    h->is_fresh = true;
    h->kind = HS_OUTPUT_ANSWER;
    if (is_function && o->wants_calls) {
        h->kind = HS_OUTPUT_CALL;
        memcpy(h->name, to + 10, n_to - 10);
        h->name[n_to - 10] = '\0';
    } else if (!is_function && (n_to > 0 || is_word(channel, n_channel, "analysis"))) {
        h->kind = is_word(to, n_to, "user") || is_word(to, n_to, "all") ? HS_OUTPUT_ANSWER : HS_OUTPUT_REASONING;
    }
    hs_buf_clear(&h->held);
}

/* Text of a message; the next message of its kind begins in a new line. */
static void show(hs_output *o, const char *text, size_t len)
{
    hs__harmony *h = &o->as.harmony;
    bool *any = &h->any[h->kind == HS_OUTPUT_REASONING];
    if (!len)
        return;
    if (h->is_fresh && *any)
        hs__output_put(o, h->kind, "\n", 1);
    h->is_fresh = false;
    *any = true;
    hs__output_put(o, h->kind, text, len);
}

/* What was held for a call is none. */
static void give_up(hs_output *o)
{
    hs__harmony *h = &o->as.harmony;
    h->kind = HS_OUTPUT_ANSWER;
    show(o, h->held.data, h->held.len);
    hs_buf_clear(&h->held);
}

static void end_body(hs_output *o)
{
    hs__harmony *h = &o->as.harmony;
    if (h->kind == HS_OUTPUT_CALL &&
        !hs__call_put(o, h->name, strlen(h->name), NULL, 0, h->held.data ? h->held.data : "", h->held.len))
        give_up(o);
    hs_buf_clear(&h->held);
    h->state = HEADER;
}

/* A header without a message: the words in it are text, unless they are only whose turn it is. */
static void end_header(hs_output *o)
{
    hs__harmony *h = &o->as.harmony;
    h->kind = HS_OUTPUT_ANSWER;
    h->is_fresh = true;
    if (!(h->held.len == 0 || is_word(h->held.data, h->held.len, "assistant") ||
          memchr(h->held.data, CHANNEL, h->held.len)))
        show(o, h->held.data, h->held.len);
    hs_buf_clear(&h->held);
}

static void on_mark(hs_output *o)
{
    hs__harmony *h = &o->as.harmony;
    const char *mark = h->mark.data;
    if (!strcmp(mark, message_mark)) {
        if (h->state == HEADER)
            read_header(o);
    } else if (!strcmp(mark, "<|constrain|>")) {
        if (h->state == HEADER)
            hs__output_hold(o, &h->held, (const char[]){CONSTRAIN}, 1);
    } else if (!strcmp(mark, channel_mark)) {
        if (h->state == BODY)
            end_body(o);
        hs__output_hold(o, &h->held, (const char[]){CHANNEL}, 1);
    } else if (h->state == BODY) {
        end_body(o);
    } else {
        end_header(o);
    }
}

static void on_text(hs_output *o, const char *text, size_t len)
{
    hs__harmony *h = &o->as.harmony;
    if (h->state == BODY && h->kind != HS_OUTPUT_CALL) {
        show(o, text, len);
        return;
    }
    size_t max = h->state == HEADER ? MAX_HEADER : HS_OUTPUT_MAX_CALL;
    if (h->held.len + len <= max) {
        hs__output_hold(o, &h->held, text, len);
        return;
    }
    if (h->state == HEADER)
        h->is_fresh = true;
    h->state = BODY;
    give_up(o);
    show(o, text, len);
}

/* One byte of what the engine shows for a token, up to "|>". */
static void push_mark(hs_output *o, const char *byte)
{
    hs__harmony *h = &o->as.harmony;
    hs__output_hold(o, &h->mark, byte, 1);
    size_t n = h->mark.len;
    if (n > 3 && !memcmp(h->mark.data + n - 2, "|>", 2)) {
        h->in_mark = false;
        on_mark(o);
    } else if (n == MAX_MARK) {
        h->in_mark = false;
        on_text(o, h->mark.data, n);
    }
}

void hs__harmony_push(hs_output *o, const char *text, size_t len)
{
    hs__harmony *h = &o->as.harmony;
    while (len > 0 && !o->failed) {
        if (h->in_mark) {
            push_mark(o, text++);
            len--;
            continue;
        }
        const char *shown = memchr(text, HS_DETOK_SHOWN, len);
        size_t n = shown ? (size_t)(shown - text) : len;
        on_text(o, text, n);
        h->in_mark = shown != NULL;
        hs_buf_clear(&h->mark);
        text += n + h->in_mark;
        len -= n + h->in_mark;
    }
}

void hs__harmony_end(hs_output *o)
{
    hs__harmony *h = &o->as.harmony;
    if (h->in_mark)
        on_text(o, h->mark.data ? h->mark.data : "", h->mark.len);
    if (h->state == BODY)
        end_body(o);
    else
        end_header(o);
}

static const char *find_last(const char *text, size_t len, const char *what)
{
    const char *last = NULL, *end = text + len;
    for (const char *p = text; (p = memmem(p, (size_t)(end - p), what, strlen(what))); p++)
        last = p;
    return last;
}

/* The prompt ends behind "<|start|>assistant", or inside the last message, which is continued. */
void hs__harmony_init(hs_output *o, const char *prompt, size_t len)
{
    hs__harmony *h = &o->as.harmony;
    hs_buf_init(&h->held, HS_OUTPUT_MAX_CALL);
    hs_buf_init(&h->mark, MAX_MARK + 1);
    const char *start = find_last(prompt, len, start_mark), *end = prompt + len;
    const char *message = start ? memmem(start, (size_t)(end - start), message_mark, sizeof message_mark - 1) : NULL;
    if (!message)
        return;
    const char *channel = memmem(start, (size_t)(message - start), channel_mark, sizeof channel_mark - 1);
    if (channel) {
        const char *name = channel + sizeof channel_mark - 1;
        hs__output_hold(o, &h->held, (const char[]){CHANNEL}, 1);
        hs__output_hold(o, &h->held, name, (size_t)(message - name));
    }
    read_header(o);
    if (h->kind == HS_OUTPUT_CALL)
        h->kind = HS_OUTPUT_ANSWER;
}

/*
 * reasoning.c - splits generated text into reasoning and answer.
 *
 *   START -> REASONING    the begin mark, with nothing but white space before it
 *   START -> ANSWER       any other text: a mark later on is part of the answer
 *   REASONING -> AFTER    the end mark
 *   AFTER -> ANSWER       the first character that is not white space
 *
 * Bytes are looked at one by one, so the way in which the stream is cut into pieces cannot matter. `held` is the
 * longest end of the text that may still turn out to be white space before a mark, or the beginning of one; when it is
 * full, its first byte is given up.
 */
#include "text/reasoning.h"

#include <string.h>

#include "text/output_int.h"

enum { START, REASONING, AFTER, ANSWER };

/* Ends with the begin mark and, after it, nothing but white space. */
static bool ends_open(const hs_reasoning_marks *marks, const char *prompt, size_t len)
{
    size_t n = strlen(marks->begin);
    while (len > 0 && hs__is_blank(prompt[len - 1]))
        len--;
    return len >= n && !memcmp(prompt + len - n, marks->begin, n);
}

void hs_reasoning_init(hs_reasoning *r, const hs_reasoning_marks *marks, const char *prompt, size_t len)
{
    *r = (hs_reasoning){.marks = marks, .state = marks ? START : ANSWER};
    if (marks && ends_open(marks, prompt, len)) {
        r->state = REASONING;
        /* The blank lines after the mark may come from the model: they are dropped as if the mark had come with them.
         */
        r->at_begin = true;
    }
}

/* Drops the first n held bytes; they go to out unless it is NULL. */
static void release(hs_reasoning *r, uint32_t n, hs_buf *out)
{
    if (out && n)
        hs_buf_append(out, r->held, n);
    memmove(r->held, r->held + n, r->n_held - n);
    r->n_held -= n;
}

static uint32_t blanks(const hs_reasoning *r)
{
    uint32_t n = 0;
    while (n < r->n_held && hs__is_blank(r->held[n]))
        n++;
    return n;
}

/* Bytes of the run of blanks at the beginning of held, up to and with its last line end. */
static uint32_t blank_lines(const hs_reasoning *r)
{
    uint32_t n = blanks(r);
    while (n > 0 && r->held[n - 1] != '\n')
        n--;
    return n;
}

/* Reasoning that is not white space has begun: the blank lines before it are dropped, the rest of held stays. */
static void begin_text(hs_reasoning *r)
{
    if (r->at_begin && blanks(r) < r->n_held) {
        release(r, blank_lines(r), NULL);
        r->at_begin = false;
    }
}

/* The held bytes are blanks and the beginning of mark: true, *whole if it is all of it. */
static bool may_be(const hs_reasoning *r, const char *mark, bool *whole)
{
    uint32_t skip = blanks(r), n = r->n_held - skip;
    size_t n_mark = strlen(mark);
    *whole = n == n_mark && !memcmp(r->held + skip, mark, n);
    return n <= n_mark && !memcmp(r->held + skip, mark, n);
}

static void step_start(hs_reasoning *r, hs_buf *answer)
{
    bool whole;
    if (!may_be(r, r->marks->begin, &whole)) {
        r->state = ANSWER;
        release(r, r->n_held, answer);
    } else if (whole) {
        r->state = REASONING;
        r->at_begin = true;
        release(r, r->n_held, NULL);
    } else if (r->n_held == sizeof r->held) {
        release(r, 1, answer);
    }
}

static void step_reasoning(hs_reasoning *r, hs_buf *reasoning)
{
    bool whole;
    while (!may_be(r, r->marks->end, &whole)) {
        begin_text(r);
        release(r, 1, reasoning);
    }
    if (whole) {
        uint32_t n = 0;
        while (n < r->n_held && hs__is_blank(r->held[n]) && r->held[n] != '\n')
            n++;
        bool text_before = !r->at_begin && n < r->n_held;
        release(r, text_before ? n : 0, reasoning);
        release(r, r->n_held, NULL);
        r->state = AFTER;
    } else if (r->n_held == sizeof r->held) {
        release(r, 1, r->at_begin ? NULL : reasoning);
    }
}

static void step_after(hs_reasoning *r, hs_buf *answer)
{
    if (blanks(r) < r->n_held) {
        release(r, blank_lines(r), NULL);
        r->state = ANSWER;
        release(r, r->n_held, answer);
    } else if (r->n_held == sizeof r->held) {
        release(r, 1, NULL);
    }
}

void hs_reasoning_push(hs_reasoning *r, const char *text, size_t len, hs_buf *reasoning, hs_buf *answer)
{
    for (size_t i = 0; i < len; i++) {
        if (r->state == ANSWER) {
            hs_buf_append(answer, text + i, len - i);
            return;
        }
        r->held[r->n_held++] = text[i];
        if (r->state == START)
            step_start(r, answer);
        else if (r->state == REASONING)
            step_reasoning(r, reasoning);
        else
            step_after(r, answer);
    }
}

void hs_reasoning_flush(hs_reasoning *r, hs_buf *reasoning, hs_buf *answer)
{
    if (r->state == REASONING) {
        begin_text(r);
        release(r, r->n_held, r->at_begin ? NULL : reasoning);
    } else {
        release(r, r->n_held, r->state == AFTER ? NULL : answer);
    }
}

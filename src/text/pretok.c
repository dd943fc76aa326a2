/*
 * pretok.c - the steps at work: a piece runs through step k, and what comes out runs through step k + 1.
 *
 * A piece is a text of its own: lookarounds do not see its neighbours. It comes in two copies of the same length, what
 * the text is and what the pattern shall see (standin.h); nearly always they are the same memory.
 */
#include "text/pretok.h"

#include <string.h>

#include "base/mem.h"
#include "text/standin.h"
#include "text/utf8.h"

typedef struct piece {
    const char *text, *subject;
    size_t len;
} piece;

typedef struct run {
    const hs__pretok *pretok;
    hs__regex_scratch *scratch;
    hs__emit *emit;
    void *ctx;
    hs_err *err;
} run;

/* A stretch of a piece, before it goes on to the next step. */
typedef struct segment {
    size_t begin, end;
    bool is_match;
} segment;

static int run_step(const run *x, size_t k, piece p);

static int run_part(const run *x, size_t k, const piece *p, segment s)
{
    if (s.begin == s.end)
        return 0;
    return run_step(x, k, (piece){p->text + s.begin, p->subject + s.begin, s.end - s.begin});
}

/* Does the segment after `a` become one with it? */
static bool joins(hs__behavior behavior, const segment *a, const segment *next)
{
    switch (behavior) {
    case HS__MERGED_WITH_PREVIOUS:
        return next->is_match && !a->is_match;
    case HS__MERGED_WITH_NEXT:
        return a->is_match && !next->is_match;
    case HS__CONTIGUOUS:
        return a->is_match == next->is_match;
    default:
        return false;
    }
}

/* Segments arrive from left to right; *pending waits for what may join it. */
static int push_segment(const run *x, size_t k, const piece *p, segment *pending, segment next)
{
    const hs__step *step = &x->pretok->steps[k];
    next.is_match ^= step->invert;
    int r = 0;
    if (pending->end != SIZE_MAX && joins(step->behavior, pending, &next)) {
        next.begin = pending->begin;
    } else if (pending->end != SIZE_MAX) {
        r = run_part(x, k + 1, p, *pending);
    }
    *pending = next;
    if (step->behavior == HS__REMOVED && next.is_match)
        pending->end = SIZE_MAX;
    return r;
}

static int split(const run *x, size_t k, const piece *p)
{
    segment pending = {.end = SIZE_MAX}; /* none yet */
    size_t done = 0, from = 0, begin, end, last_end = SIZE_MAX;
    int r = 0;
    while (from <= p->len) {
        int found =
            hs__regex_find(x->pretok->steps[k].regex, x->scratch, p->subject, p->len, from, &begin, &end, x->err);
        if (found < 0)
            return found;
        if (!found)
            break;
        if (begin == end && end == last_end) {
            from += from < p->len ? hs__utf8_len(p->subject + from) : 1;
            continue;
        }
        from = last_end = end;
        if (done < begin)
            r = push_segment(x, k, p, &pending, (segment){done, begin, false});
        if (r == 0)
            r = push_segment(x, k, p, &pending, (segment){begin, end, true});
        if (r < 0)
            return r;
        done = end;
    }
    if (done < p->len)
        r = push_segment(x, k, p, &pending, (segment){done, p->len, false});
    if (r == 0 && pending.end != SIZE_MAX)
        r = run_part(x, k + 1, p, pending);
    return r;
}

static int prefix_blank(const run *x, size_t k, piece p)
{
    if (p.text[0] == ' ')
        return run_step(x, k + 1, p);
    char *copy = hs_malloc(2 * (p.len + 1));
    if (!copy)
        return hs_err_set(x->err, -ENOMEM, "tokenizer: out of memory");
    char *subject = copy + p.len + 1;
    copy[0] = subject[0] = ' ';
    memcpy(copy + 1, p.text, p.len);
    memcpy(subject + 1, p.subject, p.len);
    int r = run_step(x, k + 1, (piece){copy, subject, p.len + 1});
    hs_free(copy);
    return r;
}

static int run_step(const run *x, size_t k, piece p)
{
    if (k == x->pretok->n)
        return x->emit(x->ctx, p.text, p.len);
    return x->pretok->steps[k].regex ? split(x, k, &p) : prefix_blank(x, k, p);
}

int hs__pretok_run(const hs__pretok *p, hs__regex_scratch *scratch, const char *text, size_t len, hs__emit *emit,
                   void *ctx, hs_err *err)
{
    if (!len)
        return 0;
    run x = {p, scratch, emit, ctx, err};
    char *subject = NULL;
    if (hs__standin_needed(text, len)) {
        subject = hs_malloc(len);
        if (!subject)
            return hs_err_set(err, -ENOMEM, "tokenizer: out of memory");
        memcpy(subject, text, len);
        hs__standin_apply(subject, len);
    }
    int r = run_step(&x, 0, (piece){text, subject ? subject : text, len});
    hs_free(subject);
    return r;
}

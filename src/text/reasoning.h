/*
 * reasoning.h - splits generated text into reasoning and answer while it streams.
 * Marks are recognised across pieces; text that may be the beginning of a mark is held back; the marks themselves and
 * the blank lines next to them are dropped. Bounded memory. Not thread-safe.
 */
#ifndef HS_TEXT_REASONING_H
#define HS_TEXT_REASONING_H

#include "base/buf.h"
#include "text/template.h"

typedef struct hs_reasoning {
    const hs_reasoning_marks *marks;
    char held[64];
    uint32_t n_held;
    uint8_t state; /* private to reasoning.c */
    bool at_begin; /* only blanks since the begin mark */
} hs_reasoning;

/* marks NULL: everything is answer. prompt: the rendered prompt; if it ends inside an open reasoning block
 * ("…<think>\n"), the stream begins with reasoning. */
void hs_reasoning_init(hs_reasoning *r, const hs_reasoning_marks *marks, const char *prompt, size_t len);
void hs_reasoning_push(hs_reasoning *r, const char *text, size_t len, hs_buf *reasoning, hs_buf *answer);
/* The stream has ended: what is held back goes where it belongs. */
void hs_reasoning_flush(hs_reasoning *r, hs_buf *reasoning, hs_buf *answer);

#endif

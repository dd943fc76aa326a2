/*
 * progress.h - how far long work is: a bar with rate and ETA on a terminal, now and then a plain line elsewhere.
 * Nothing is shown for work that is over within a moment. The clock is an argument, so tests need no sleep.
 */
#ifndef HS_CLI_PROGRESS_H
#define HS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum hs_progress_unit { HS_PROGRESS_BYTES, HS_PROGRESS_TOKENS, HS_PROGRESS_PERCENT } hs_progress_unit;

typedef struct hs_progress {
    FILE *out;
    bool terminal;
    const char *label; /* borrowed; a change of label begins a new bar */
    hs_progress_unit unit;
    uint64_t start_ns, shown_ns;
    uint64_t first;          /* done at the first call: what an earlier run did is not part of the rate */
    uint64_t done, moved_ns; /* the last step, and when it came */
    uint64_t n_steps;
    bool is_shown;    /* a bar stands on the terminal's line */
    unsigned columns; /* of the terminal */
} hs_progress;

/* Looks at `out` once: terminal or not, how wide. */
void hs_progress_init(hs_progress *p, FILE *out);
/* Shows at most ten times a second (terminal) or every ten seconds (elsewhere). done <= total; total 0 = unknown. */
void hs_progress_update(hs_progress *p, const char *label, hs_progress_unit unit, uint64_t done, uint64_t total,
                        uint64_t now_ns);
/* Removes the bar, so that other text may follow. */
void hs_progress_clear(hs_progress *p);

/* One line, without a line end, of at most width columns (a bar is drawn if it fits; width 0 = none): pure. */
void hs_progress_format(char *buf, size_t cap, const char *label, hs_progress_unit unit, uint64_t done, uint64_t total,
                        double rate, unsigned width);

#endif

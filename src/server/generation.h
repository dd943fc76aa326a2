/*
 * generation.h - a running request of one connection: from the engine's text to the client's answer, in the client's
 * pace. Loop thread, except the wake-up. Room-internal.
 */
#ifndef HS_SERVER_GENERATION_H
#define HS_SERVER_GENERATION_H

#include "server/openai.h"
#include "server/server_int.h"

/* What a route has made of the client's request. prompt: the rendered text (tells whether the answer begins inside
 * reasoning), NULL for plain completions. Everything is borrowed for the call. */
typedef struct hs__generation_input {
    hs__model *model;
    const hs__params *params;
    bool chat;
    const char *prompt;
    size_t prompt_len;
    const uint32_t *tokens;
    size_t n_tokens;
} hs__generation_input;

/* Most memory of one generation, text that waits in the engine included; a collected answer is counted elsewhere. */
uint64_t hs__generation_max_bytes(void);
/* Submits; from then on the generation answers c by itself. Failure leaves c unanswered, with what to answer in e. */
int hs__generation_start(hs__conn *c, const hs__generation_input *in, hs__api_error *e);
/* Cancels what runs; nothing is answered. NULL-safe. */
void hs__generation_destroy(hs__generation **g);
/* Moves what there is to the client, as far as it takes it. May end with the generation gone. */
void hs__generation_pump(hs__generation *g);
/* Has the engine something new? Clears the mark. */
bool hs__generation_take_wake(hs__generation *g);
/* Every HS__TICK_MS: progress comments and pings. */
void hs__generation_tick(hs__generation *g);
const hs__model *hs__generation_model(const hs__generation *g);
/* Ends it with an error to the client. */
void hs__generation_abort(hs__generation *g, int status, const char *code, const char *sentence);
/* Work done so far, for the watchdog. */
uint64_t hs__generation_advance(hs__generation *g);

#endif

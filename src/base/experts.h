/*
 * experts.h - how a forward pass gets its routed experts. "All in memory" and "streamed from disk" are two
 * implementations of this table; the model cannot tell them apart.
 *
 * For one layer:   begin(wants)  ->  wait() until all n have been delivered, release() each  ->  end()
 * begin announces everything at once, so that all misses are under way before the first hit is computed; wait delivers
 * hits first and misses as they land, in any order. hint may be called at any time in a decode step. Engine thread
 * only.
 */
#ifndef HS_BASE_EXPERTS_H
#define HS_BASE_EXPERTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Parts of an expert, in the order of the parts of an object (hs_model_spec.expert_parts, hs_objects_create). */
enum {
    HS_PART_GATE,
    HS_PART_GATE_SCALE,
    HS_PART_UP,
    HS_PART_UP_SCALE,
    HS_PART_DOWN,
    HS_PART_DOWN_SCALE,
    HS_EXPERT_PARTS
};

typedef struct hs_expert {
    const void *part[HS_EXPERT_PARTS]; /* tensor bytes, no alignment promised; NULL = absent. Valid until release. */
} hs_expert;

/* Tokens at the end of a prompt's chunk whose experts the first generated ones will want, too. Replayed with routes of
 * Qwen3-30B-A3B, prompts of 27, 64 and 120 tokens, a cache of 10 and 25 %: 0.6 to 4.5 points more hits in the first
 * four tokens after a prompt; 8 or 16 tokens gain less. */
#define HS_LAST_TOKENS 4u

typedef struct hs_expert_want {
    uint32_t expert;   /* in [0, n_experts), distinct within one begin */
    uint32_t n_tokens; /* how many tokens of the batch routed to it */
    uint32_t n_last;   /* of these, how many are among the last HS_LAST_TOKENS of a prompt's chunk */
} hs_expert_want;

/* A guess for a layer to come: margin orders guesses (bigger = surer). */
typedef struct hs_expert_guess {
    uint32_t expert;
    float margin;
} hs_expert_guess;

typedef enum hs_phase { HS_PHASE_PREFILL, HS_PHASE_DECODE } hs_phase;

typedef struct hs_experts_ops {
    /* A forward pass over n_tokens tokens begins (n_tokens sequences' next tokens in decode). */
    void (*step)(void *self, hs_phase phase, uint32_t n_tokens);
    /* moe_layer counts layers that have experts, from 0. n <= n_experts. In ret_resident[n] (may be NULL): 1 if it was
     * READY already. */
    int (*begin)(void *self, uint32_t moe_layer, const hs_expert_want *wants, uint32_t n, uint8_t *ret_resident,
                 hs_err *err);
    /* Blocks until at least one undelivered expert is ready; delivers up to max: their places in wants and their parts,
     * pinned. After an error only end may follow. */
    int (*wait)(void *self, uint32_t max, uint32_t *ret_index, hs_expert *ret_experts, uint32_t *ret_n, hs_err *err);
    void (*release)(void *self, uint32_t index);
    /* Ends the layer; after an error it also releases what is still held and abandons what is still wanted. */
    void (*end)(void *self);
    /* Guesses for moe_layer, best first; a later hint for the same layer replaces the one before. Never changes
     * results. May be NULL. */
    void (*hint)(void *self, uint32_t moe_layer, const hs_expert_guess *guesses, uint32_t n);
    /* A sequence begins: what its neighbours used lately says less about it. Between steps. May be NULL. */
    void (*session)(void *self);
    /* Before guessing: is a hint for moe_layer worth its computing? whole: the layer before is known in full, not in
     * part. NULL: always. */
    bool (*asks)(void *self, uint32_t moe_layer, bool whole);
} hs_experts_ops;

typedef struct hs_experts {
    const hs_experts_ops *ops;
    void *self;
} hs_experts;

#endif

/*
 * sampler.h - from logits to a token.
 *
 * Order of filters: temperature, top_k, top_p, min_p (as vLLM and Hugging Face). The random number of step i is a hash
 * of (seed, i), so a request's tokens depend on its logits and seed alone, never on what is served beside it.
 */
#ifndef HS_ENGINE_SAMPLER_H
#define HS_ENGINE_SAMPLER_H

#include <stdint.h>

#include "base/err.h"
#include "hotset/hotset.h"

typedef struct hs__candidate {
    float p;
    uint32_t id;
} hs__candidate;

/* -EINVAL with a sentence naming the parameter. */
int hs__sampling_check(const hs_sampling *s, hs_err *err) HS_MUST_CHECK;

/* logits [vocab]; scratch [vocab] is the caller's. NaN logits are never chosen (all NaN: token 0). step counts the
 * request's generated tokens. */
uint32_t hs__sample(const hs_sampling *s, const float *logits, uint32_t vocab, uint64_t step, hs__candidate *scratch);

/* The biggest logit, the lower id on ties. */
uint32_t hs__argmax(const float *logits, uint32_t vocab);

#endif

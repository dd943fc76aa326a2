/* heat.h - how often each expert is used, kept between runs. See heat.c. */
#ifndef HS_ENGINE_HEAT_H
#define HS_ENGINE_HEAT_H

#include "engine/engine_int.h"

/* For the memory plan. */
uint64_t hs__heat_bytes(uint32_t n_layers, uint32_t n_experts);
/* Reads what an earlier run has left. *ret_heat stays NULL, with 0, if options.profile or state_dir is not set.
 * -EINVAL: not the name of a profile. */
int hs__heat_create(const hs_engine_options *opt, const hs__opened *o, hs__heat **ret_heat, hs_err *err) HS_MUST_CHECK;
void hs__heat_destroy(hs__heat **heat);
/* A token uses these experts of a layer (its number in the model). Engine thread. */
void hs__heat_use(hs__heat *h, uint32_t layer, const uint32_t *experts, uint32_t n);
/* Experts that were used in earlier runs, as objects, most used first: their number. *ret_uses of *ret_tokens tokens.
 * Borrowed. */
uint32_t hs__heat_order(const hs__heat *h, const uint32_t **ret_objects, const uint32_t **ret_uses,
                        uint32_t *ret_tokens);
/* Writes the file if anything was used since it was read. */
int hs__heat_save(const hs__heat *h, hs_err *err) HS_MUST_CHECK;
/* A file's bytes, of anybody: ret_uses[n_layers * n_experts], or -EBADMSG with what is wrong. */
int hs__heat_parse(const void *data, size_t len, const uint8_t identity[16], uint32_t n_layers, uint32_t n_experts,
                   uint32_t *ret_uses, hs_err *err) HS_MUST_CHECK;

#endif

/*
 * heat.h - how often each expert is used, by profiles, kept between runs. heat.c: profiles in memory; heat_file.c: the
 * file of one.
 */
#ifndef HS_ENGINE_HEAT_H
#define HS_ENGINE_HEAT_H

#include "engine/engine_int.h"

/* ---- heat.c ---- */

/* For the memory plan. */
uint64_t hs__heat_bytes(uint32_t n_layers, uint32_t n_experts);
/* Reads what earlier runs have left; options.profile is profile 0 and at work. *ret_heat stays NULL, with 0, if it is
 * not set; without a state_dir uses are counted, but neither found nor kept. -EINVAL: not the name of a profile. */
int hs__heat_create(const hs_engine_options *opt, const hs__opened *o, hs__heat **ret_heat, hs_err *err) HS_MUST_CHECK;
void hs__heat_destroy(hs__heat **heat);
/* The number of the profile with this name, which is added if it is new; NULL: the engine's own. h may be NULL. Any
 * thread. -EINVAL: not a name, or one too many. */
int hs__heat_profile(hs__heat *h, const char *name, uint32_t *ret_profile, hs_err *err) HS_MUST_CHECK;
/* A token uses these experts of a layer (its number in the model). Engine thread. */
void hs__heat_use(hs__heat *h, uint32_t profile, uint32_t layer, const uint32_t *experts, uint32_t n);
/* Of a pass of its requests. Engine thread. */
void hs__heat_count(hs__heat *h, uint32_t profile, uint64_t hits, uint64_t misses);
/* A request of this profile begins. True: it is at work from now on, and another one was before. Engine thread. */
bool hs__heat_enter(hs__heat *h, uint32_t profile);
/* Experts that the profile at work had used when it came to work, as objects, most used first: their number. *ret_uses
 * of *ret_tokens tokens. Borrowed until another one comes to work. Engine thread. */
uint32_t hs__heat_order(const hs__heat *h, const uint32_t **ret_objects, const uint32_t **ret_uses,
                        uint32_t *ret_tokens);
/* Writes the files of those profiles that were used since they were read or written: all it can, and the first error.
 * One thread at a time. */
int hs__heat_save(hs__heat *h, hs_err *err) HS_MUST_CHECK;

/* ---- heat_file.c ---- */

#define HS__HEAT_PREFIX 40 /* bytes of "heat-", identity, "-" */

/* -EINVAL if it is none. */
int hs__profile_check(const char *name, hs_err *err) HS_MUST_CHECK;
void hs__heat_file_prefix(const uint8_t identity[16], char ret[HS__HEAT_PREFIX]);
size_t hs__heat_file_bytes(uint32_t n_layers, uint32_t n_experts);
/* A file's bytes, of anybody: ret_uses[n_layers * n_experts], or -EBADMSG with what is wrong. */
int hs__heat_parse(const void *data, size_t len, const uint8_t identity[16], uint32_t n_layers, uint32_t n_experts,
                   uint32_t *ret_uses, hs_err *err) HS_MUST_CHECK;
/* Where the uses are in a file's bytes, and what is around them. */
uint32_t *hs__heat_uses(void *data);
void hs__heat_seal(void *data, const uint8_t identity[16], uint32_t n_layers, uint32_t n_experts);
/* ret_uses as hs__heat_parse; -ENOENT if there is none; whatever else is wrong has been warned of. */
int hs__heat_file_read(const char *dir, const char *name, const uint8_t identity[16], uint32_t n_layers,
                       uint32_t n_experts, uint32_t *ret_uses) HS_MUST_CHECK;
/* Profiles of which dir has a file, in any order, at most max; warns if there are more. */
uint32_t hs__heat_file_list(const char *dir, const char *prefix, char (*ret_names)[HS_PROFILE_NAME + 1], uint32_t max);

#endif

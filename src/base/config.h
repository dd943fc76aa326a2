/*
 * config.h - the values of all options: defaults, then files, then environment, then flags; each remembers where it
 * came from.
 *
 * Values are text that has passed hs_option_check, so typed getters cannot fail; asking for an option that no table
 * declares is a programming error (assert). Strings are borrowed until the config changes. Not thread-safe: main owns
 * it.
 */
#ifndef HS_BASE_CONFIG_H
#define HS_BASE_CONFIG_H

#include <stdio.h>

#include "base/buf.h"
#include "base/option.h"

typedef struct hs_config hs_config;

int hs_config_create(const hs_option_table *tables, size_t n_tables, hs_config **ret_config, hs_err *err) HS_MUST_CHECK;
void hs_config_destroy(hs_config **c);

/* Reads an INI file; errors are "FILE:LINE: sentence". Unknown section or key is an error. A later file overrides an
 * earlier one. */
int hs_config_load_file(hs_config *c, const char *path, hs_err *err) HS_MUST_CHECK;
/* path, then path.d/<name>.conf in name order ("hotset.conf.d/"). missing_ok: an absent path is fine. */
int hs_config_load(hs_config *c, const char *path, bool missing_ok, hs_err *err) HS_MUST_CHECK;
/* "section.key=value", from a flag or the environment; origin is for messages. "model.NAME.key=value" for a model
 * section. */
int hs_config_set(hs_config *c, const char *assignment, const char *origin, hs_err *err) HS_MUST_CHECK;
/* From environ: HOTSET_SECTION_KEY=value for every non-model option. */
int hs_config_load_environ(hs_config *c, char *const *environ_vars, hs_err *err) HS_MUST_CHECK;

const char *hs_config_str(const hs_config *c, const char *section, const char *key);
int64_t hs_config_int(const hs_config *c, const char *section, const char *key);
uint64_t hs_config_size(const hs_config *c, const char *section, const char *key); /* SIZE; AUTO_SIZE: 0 = auto */
int64_t hs_config_seconds(const hs_config *c, const char *section, const char *key);
hs_size_spec hs_config_size_spec(const hs_config *c, const char *section, const char *key);
/* Was it set by a file, the environment or a flag? */
bool hs_config_is_set(const hs_config *c, const char *section, const char *key);

/* [model NAME] sections in order of appearance. */
size_t hs_config_n_models(const hs_config *c);
const char *hs_config_model_name(const hs_config *c, size_t i);
/* The model section's own value, or NULL if it does not set the key. */
const char *hs_config_model_str(const hs_config *c, size_t i, const char *key);

/* What differs between two configurations of the same tables and is not reloadable: "cache.size, model.tale.path"; a
 * section that only one of them has is "[model NAME]". Nothing if out stays empty. */
void hs_config_fixed_changes(const hs_config *a, const hs_config *b, hs_buf *out);

/* The effective configuration as a file that reads back as the same, each value with its origin as a comment. */
int hs_config_print(const hs_config *c, hs_buf *out);
/* "size, 4.0 KiB to 256.0 MiB (bytes); reloadable": type, range, unit. */
void hs_option_describe(const hs_option *o, hs_buf *out);
/* Every option in the order of the reference: section by section, those of [model NAME] last. */
void hs_options_walk(const hs_option_table *tables, size_t n_tables,
                     void (*visit)(void *ctx, const hs_option *o, bool opens_section), void *ctx);
/* Like config/hotset.conf: every option commented out with help, type, range and default. */
int hs_config_print_reference(const hs_option_table *tables, size_t n_tables, hs_buf *out);

#endif

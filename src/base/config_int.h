/*
 * config_int.h - a configuration from within: config.c keeps it, config_read.c reads files into it, config_print.c
 * writes it out.
 */
#ifndef HS_BASE_CONFIG_INT_H
#define HS_BASE_CONFIG_INT_H

#include "base/config.h"

#define HS__CONFIG_MAX_MODELS 16
#define HS__CONFIG_MAX_KEYS   32 /* of one [model NAME] */

typedef struct hs__config_entry {
    const hs_option *option;
    char *value;  /* NULL = the default */
    char *origin; /* "FILE:LINE", "environment", "--set"; NULL = default */
} hs__config_entry;

typedef struct hs__config_model {
    char *name;
    hs__config_entry keys[HS__CONFIG_MAX_KEYS];
    size_t n_keys;
} hs__config_model;

struct hs_config {
    hs__config_entry *entries; /* all options that are not in section "model" */
    size_t n_entries;
    const hs_option **model_options;
    size_t n_model_options;
    hs__config_model models[HS__CONFIG_MAX_MODELS];
    size_t n_models;
};

static inline const char *hs__config_value(const hs__config_entry *e)
{
    return e->value ? e->value : e->option->def;
}

/* One key of a file's section, "model NAME" among them; the sentence names section and key, not the origin. */
int hs__config_put(hs_config *c, const char *section, const char *key, const char *value, const char *origin,
                   hs_err *err) HS_MUST_CHECK;

#endif

/*
 * options.h - from command line, environment and files to the engine's options. Precedence: flag, environment
 * (HOTSET_SECTION_KEY), file, default.
 */
#ifndef HS_CLI_OPTIONS_H
#define HS_CLI_OPTIONS_H

#include "base/config.h"
#include "cli/args.h"
#include "cli/trace_csv.h"
#include "hotset/hotset.h"

#define HS_DEFAULT_CONFIG "/etc/hotset/hotset.conf"

/* Every verb that loads a model has these. */
#define HS_FLAGS_CONFIG                                                                                                \
    {"config", HS_FLAG_TEXT, "FILE", 0, 0, "configuration file; default " HS_DEFAULT_CONFIG ", which may be missing"}, \
    {                                                                                                                  \
        "set", HS_FLAG_LIST, "SECTION.KEY=VALUE", 0, 0,                                                                \
            "any option of the configuration, e.g. --set cache.size=25% --set io.engine=pread"                         \
    }
#define HS_FLAG_MIRROR                                                                                                 \
    {                                                                                                                  \
        "mirror", HS_FLAG_TEXT, "PATH[,PATH]", 0, 0,                                                                   \
            "further copies of MODEL on other drives: experts are read from whichever is done first"                   \
    }
#define HS_FLAG_JSON                                                                                                   \
    {                                                                                                                  \
        "json", HS_FLAG_SWITCH, NULL, 0, 0, "the result as one JSON value on one line of stdout"                       \
    }
#define HS_FLAGS_END                                                                                                   \
    {                                                                                                                  \
        NULL, HS_FLAG_SWITCH, NULL, 0, 0, NULL                                                                         \
    }

/* The option tables of all rooms, in the order of the reference. */
#define HS_N_OPTION_TABLES 2
void hs_option_tables(hs_option_table ret_tables[HS_N_OPTION_TABLES]);

/* The configuration of a verb that has HS_FLAGS_CONFIG. Returns 0, or the exit status after saying why. */
int hs_load_config(const hs_args *a, hs_config **ret_config);
/* The same again, to reload: errors come back instead. */
int hs_reread_config(const hs_args *a, hs_config **ret_config, hs_err *err) HS_MUST_CHECK;

/* [memory] [cache] [io] [prefetch] [compute] [kv]; strings are borrowed from c. path stays NULL, parallel 0. */
void hs_engine_options_from_config(const hs_config *c, hs_engine_options *ret);
/* Overrides by the i-th [model NAME] section, its path included, and what only a daemon does. */
void hs_engine_options_for_model(const hs_config *c, size_t i, hs_engine_options *opt);

/* What a model folder says about itself, read without loading weights. */
typedef struct hs_facts {
    char arch[32];
    uint32_t vocab, max_context, n_layers, n_experts, top_k, n_moe_layers;
    hs_trace_layer *layers; /* [n_moe_layers] */
} hs_facts;
int hs_facts_read(const char *path, hs_facts *ret_facts, hs_err *err) HS_MUST_CHECK;
void hs_facts_deinit(hs_facts *f);

/* hs_engine_create with a progress bar on stderr if that is a terminal; SIGINT cancels. */
int hs_load_engine(hs_engine_options *opt, hs_engine **ret_engine, hs_err *err) HS_MUST_CHECK;

#endif

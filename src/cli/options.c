/* options.c - see options.h. */
#include "cli/options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/state_dir.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "engine/engine_options.h"
#include "model/model.h"
#include "server/server.h"
#include "store/source.h"

void hs_option_tables(hs_option_table ret_tables[HS_N_OPTION_TABLES])
{
    ret_tables[0] = hs_server_option_table;
    ret_tables[1] = hs_engine_option_table;
}

/* An empty state.dir is what the environment says. */
static int default_state_dir(const hs_args *a, hs_config *c, hs_err *err)
{
    char *dir = hs_state_dir(a->env), *assignment = dir ? hs_asprintf("state.dir=%s", dir) : NULL;
    int r = 0;
    if (assignment)
        r = hs_config_set(c, assignment, "environment", err);
    hs_free(assignment);
    hs_free(dir);
    return r;
}

/* *ret_usage: the mistake is on the command line. */
static int read_config(const hs_args *a, hs_config **ret_config, bool *ret_usage, hs_err *err)
{
    hs_option_table tables[HS_N_OPTION_TABLES];
    hs_option_tables(tables);
    hs_config *c = NULL;
    *ret_usage = false;
    int r = hs_config_create(tables, HS_N_OPTION_TABLES, &c, err);
    const char *file = hs_args_text(a, "config");
    if (r == 0)
        r = hs_config_load(c, file ? file : HS_DEFAULT_CONFIG, !file, err);
    if (r == 0)
        r = hs_config_load_environ(c, a->env, err);
    if (r == 0 && !*hs_config_str(c, "state", "dir"))
        r = default_state_dir(a, c, err);
    const char *assignment;
    for (size_t i = 0; r == 0 && (assignment = hs_args_list(a, "set", i)); i++) {
        r = hs_config_set(c, assignment, "--set", err);
        *ret_usage = r < 0;
    }
    if (r < 0)
        hs_config_destroy(&c);
    else
        *ret_config = c;
    return r;
}

int hs_load_config(const hs_args *a, hs_config **ret_config)
{
    hs_err err = {0};
    bool usage;
    if (read_config(a, ret_config, &usage, &err) == 0)
        return 0;
    return usage ? hs_fail_usage(a->verb, "%s", err.text) : hs_fail(&err);
}

int hs_reread_config(const hs_args *a, hs_config **ret_config, hs_err *err)
{
    bool usage;
    return read_config(a, ret_config, &usage, err);
}

static void set_cache(hs_engine_options *opt, const hs_size_spec *spec)
{
    opt->cache_kind = spec->kind == HS_SIZE_BYTES     ? HS_CACHE_BYTES
                      : spec->kind == HS_SIZE_PERCENT ? HS_CACHE_PERCENT
                                                      : HS_CACHE_AUTO;
    opt->cache_bytes = spec->bytes;
    opt->cache_percent = spec->percent;
}

static hs_warm_tier warm_tier(const char *word)
{
    return !strcmp(word, "on") ? HS_WARM_ON : !strcmp(word, "off") ? HS_WARM_OFF : HS_WARM_AUTO;
}

void hs_engine_options_from_config(const hs_config *c, hs_engine_options *ret)
{
    *ret = (hs_engine_options){.memory_limit = hs_config_size(c, "memory", "limit"),
                               .policy = hs_config_str(c, "cache", "policy"),
                               .warm_tier = warm_tier(hs_config_str(c, "cache", "warm_tier")),
                               .cache_by_layer = !strcmp(hs_config_str(c, "cache", "scope"), "layer"),
                               .io_engine = hs_config_str(c, "io", "engine"),
                               .io_buffered = !strcmp(hs_config_str(c, "io", "direct"), "no"),
                               .io_direct = !strcmp(hs_config_str(c, "io", "direct"), "yes"),
                               .io_calibrate = strcmp(hs_config_str(c, "io", "calibrate"), "off") ? HS_CALIBRATE_KEPT
                                                                                                  : HS_CALIBRATE_OFF,
                               .io_verify_always = !strcmp(hs_config_str(c, "io", "verify"), "always"),
                               .state_dir = hs_config_str(c, "state", "dir"),
                               .io_read_size = hs_config_size(c, "io", "read_size"),
                               .io_in_flight = hs_config_size(c, "io", "in_flight"),
                               .prefetch = strcmp(hs_config_str(c, "prefetch", "mode"), "off") != 0,
                               .prefetch_budget = hs_config_size(c, "prefetch", "budget"),
                               .threads = (uint32_t)hs_config_int(c, "compute", "threads"),
                               .kernels = hs_config_str(c, "compute", "kernels"),
                               .activations = hs_config_str(c, "compute", "activations"),
                               .kv_type = hs_config_str(c, "kv", "type"),
                               .context = (uint32_t)hs_config_int(c, "kv", "context")};
    if (ret->memory_limit == 0 && strcmp(hs_config_str(c, "memory", "limit"), "auto") != 0)
        ret->memory_limit = 1; /* a limit of nothing; 0 is auto */
    hs_size_spec cache = hs_config_size_spec(c, "cache", "size");
    set_cache(ret, &cache);
}

void hs_engine_options_for_model(const hs_config *c, size_t i, hs_engine_options *opt)
{
    hs_size_spec cache;
    int64_t context;
    const char *v = hs_config_model_str(c, i, "cache");
    if (v && hs_parse_size_spec(v, &cache) == 0)
        set_cache(opt, &cache);
    v = hs_config_model_str(c, i, "context");
    if (v && hs_parse_int(v, &context) == 0 && context > 0)
        opt->context = (uint32_t)context;
    v = hs_config_model_str(c, i, "kv_type");
    if (v)
        opt->kv_type = v;
    v = hs_config_model_str(c, i, "expert_profile");
    opt->profile = v ? v : "default";
    opt->preload_s = (uint32_t)hs_config_seconds(c, "cache", "preload_seconds");
    opt->governed = strcmp(hs_config_str(c, "memory", "governor"), "off") != 0;
    opt->path = hs_config_model_str(c, i, "path");
    opt->mirror = hs_config_model_str(c, i, "mirror");
}

/* Bytes of layer `number` that are always in memory, and of one of its experts. */
static void weigh_layer(const hs_checkpoint *c, const hs_model_spec *spec, uint32_t moe_layer, hs_trace_layer *ret)
{
    char part[32];
    ret->number = spec->moe_layer_number[moe_layer];
    snprintf(part, sizeof part, ".layers.%u.", ret->number);
    for (uint32_t i = 0; i < spec->n_dense_tensors; i++) {
        const hs_tensor *t = &c->tensors[spec->dense_tensors[i]];
        ret->dense_bytes += strstr(t->name, part) ? t->nbytes : 0;
    }
    const uint32_t *parts = spec->expert_parts + (size_t)moe_layer * spec->n_experts * HS_EXPERT_PARTS;
    for (uint32_t p = 0; p < HS_EXPERT_PARTS; p++)
        ret->expert_bytes += parts[p] == HS_NO_TENSOR ? 0 : c->tensors[parts[p]].nbytes;
}

int hs_facts_read(const char *path, hs_facts *ret_facts, hs_err *err)
{
    hs_source *source = NULL;
    hs_model_spec *spec = NULL;
    int r = hs_source_open(path, &source, err);
    if (r == 0)
        r = hs_model_spec_create(hs_source_checkpoint(source), &spec, err);
    if (r < 0)
        goto out;
    hs_facts f = {.vocab = spec->vocab,
                  .max_context = spec->max_context,
                  .n_layers = spec->n_layers,
                  .n_experts = spec->n_experts,
                  .top_k = spec->top_k,
                  .n_moe_layers = spec->n_moe_layers};
    snprintf(f.arch, sizeof f.arch, "%s", spec->arch);
    f.layers = hs_calloc(f.n_moe_layers ? f.n_moe_layers : 1, sizeof *f.layers);
    if (!f.layers) {
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
        goto out;
    }
    for (uint32_t i = 0; i < f.n_moe_layers; i++)
        weigh_layer(hs_source_checkpoint(source), spec, i, &f.layers[i]);
    *ret_facts = f;
out:
    hs_model_spec_destroy(&spec);
    hs_source_close(&source);
    return r;
}

void hs_facts_deinit(hs_facts *f)
{
    hs_free(f->layers);
    f->layers = NULL;
}

static int on_progress(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
    hs_progress *p = ctx;
    hs_progress_update(p, stage, HS_PROGRESS_BYTES, done, total, hs_now_ns());
    return hs_stop_asked();
}

int hs_load_engine(hs_engine_options *opt, hs_engine **ret_engine, hs_err *err)
{
    hs_progress p;
    hs_progress_init(&p, stderr);
    opt->progress = on_progress;
    opt->progress_ctx = &p;
    int r = hs_engine_create(opt, ret_engine, err);
    hs_progress_clear(&p);
    return r;
}

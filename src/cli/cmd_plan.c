/*
 * cmd_plan.c - "will it run, and how fast": the memory plan and what can be expected of this machine, before any weight
 * is loaded, or before the model is here at all.
 */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/option.h"
#include "cli/expect.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/shapes.h"
#include "cli/verbs.h"
#include "server/server.h"

#define MAX_CONFIG (1u << 20)

/* What is planned for: files at opt.path, or shape. */
typedef struct target {
    hs_shape shape;
    json_t *config; /* NULL: files */
    char *label;    /* what the report calls it */
} target;

static bool has_file(const char *folder, const char *pattern)
{
    glob_t g = {0};
    char *path = hs_asprintf("%s/%s", folder, pattern);
    bool found = path && glob(path, 0, NULL, &g) == 0;
    globfree(&g);
    hs_free(path);
    return found;
}

/* The file to take the configuration from, if path is one or a folder that has nothing else; hs_free. */
static char *config_alone(const char *path)
{
    struct stat st;
    size_t n = strlen(path);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return n > 5 && !strcmp(path + n - 5, ".json") ? hs_strdup(path) : NULL;
    char *file = hs_asprintf("%s/config.json", path);
    if (file && hs_file_exists(file) && !has_file(path, "*.safetensors") && !has_file(path, "manifest.json"))
        return file;
    hs_free(file);
    return NULL;
}

/* As publishers store whole models in FP8. */
static json_t *fp8_config(void)
{
    return json_pack("{s:s, s:s, s:s, s:[i, i]}", "quant_method", "fp8", "fmt", "e4m3", "activation_scheme", "dynamic",
                     "weight_block_size", 128, 128);
}

static int unknown(const char *name, hs_err *err)
{
    const char *needs = hs_unserved_model_why(name), *near[HS_MODELS_NEAR_MAX];
    char list[256] = "";
    if (needs)
        return hs_err_set(err, -ENOTSUP, "%s is not served: it needs %s", name, needs);
    size_t n = hs_known_models_near(name, near), at = 0;
    for (size_t i = 0; i < n && at < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s",
                               !i          ? "; did you mean "
                               : i + 1 < n ? ", "
                                           : " or ",
                               near[i]);
    return hs_err_set(err, -ENOENT, "%s: neither a file, nor a model that hotset plan --list names%s%s", name, list,
                      n ? "?" : "");
}

static int find_target(const hs_args *a, target *t, hs_err *err)
{
    const char *name = a->operands[0], *type = hs_args_text(a, "type");
    const hs_known_model *known = NULL;
    struct stat st;
    int r = 0;
    if (stat(name, &st) == 0) {
        char *file = config_alone(name);
        if (file)
            r = hs_json_load_file(file, MAX_CONFIG, &t->config, err);
        hs_free(file);
    } else if ((known = hs_known_model_find(hs_model_plain_name(name)))) {
        r = hs_json_load(known->config, strlen(known->config), known->name, &t->config, err);
        name = known->name;
    } else if (!strchr(name, '/')) {
        return unknown(name, err);
    }
    if (r < 0)
        return r;
    if (!t->config && type)
        return hs_err_set(err, -EINVAL, "--type %s: %s has its tensors, they are stored as they are", type, name);
    bool fp8 = type && !strcmp(type, "fp8");
    if (fp8 && json_object_set_new(t->config, "quantization_config", fp8_config()) < 0)
        return hs_err_set(err, -ENOMEM, "out of memory");
    t->shape = (hs_shape){name, t->config, type && !fp8 ? type : "published"};
    t->label = t->config && type                    ? hs_asprintf("%s as %s", name, type)
               : known && strcmp(name, "published") ? hs_asprintf("%s in %s", name, known->published)
                                                    : hs_strdup(name);
    return t->label ? 0 : hs_err_set(err, -ENOMEM, "out of memory");
}

static void end_target(target *t)
{
    json_decref(t->config);
    hs_free(t->label);
}

static int list_models(bool as_json)
{
    json_t *names = as_json ? json_array() : NULL;
    for (const hs_known_model *m = hs_known_models; m->name; m++) {
        if (as_json)
            json_array_append_new(names, json_string(m->name));
        else
            printf("%-22s published in %s\n", m->name, m->published);
    }
    if (!as_json)
        puts("\nnot served, for what they need:");
    for (const hs_unserved_model *m = hs_unserved_models; !as_json && m->name; m++)
        printf("%-24s %s\n", m->name, m->needs);
    return as_json ? hs_print_json(names) : 0;
}

/* What cache.warm_tier = auto would take on this drive: then *p and *x are of that. The gain in tokens per second; 0:
 * it was not computed. */
static double consider_warm_tier(const hs_args *a, const hs_engine_options *opt, hs_plan *p, hs_expectation *x)
{
    hs_engine_options on = *opt;
    hs_plan with;
    hs_err ignored;
    double gain;
    on.warm_tier = HS_WARM_ON;
    if (opt->warm_tier != HS_WARM_AUTO || x->drives.n > 1 || !x->is_computed || x->drive.bytes_per_s <= 0 ||
        hs_plan_make(&on, &with, &ignored) < 0 || !with.warm)
        return 0;
    hs_expectation other;
    if (hs_warm_tier_pays(p, &with, &x->speed, &x->drive, &gain) && hs_expect(a, &on, &with, &other, &ignored) == 0) {
        *p = with;
        hs_expectation_deinit(x);
        *x = other;
    }
    return gain;
}

static int print_json(const hs_args *a, const hs_plan *p, const hs_expectation *x, double gain)
{
    json_t *o = hs_plan_json(p, a->operands[0]);
    if (o) {
        json_object_set_new(o, "fits", json_boolean(x != NULL));
        if (x)
            json_object_set_new(o, "expected", hs_expectation_json(x));
        if (gain > 0)
            json_object_set_new(o, "warm_tier_gain", json_real(gain));
    }
    return hs_print_json(o);
}

/* x: NULL if the plan does not fit. */
static int print(const hs_args *a, const target *t, const hs_plan *p, const hs_expectation *x, double gain)
{
    if (hs_args_has(a, "json"))
        return print_json(a, p, x, gain);
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_plan_format(p, t->label, &b);
    fputs(b.len ? b.data : "", stdout);
    hs_buf_deinit(&b);
    if (x)
        hs_expectation_print(x);
    if (gain > 0)
        printf("  warm tier: %s; experts kept compressed and decoded for each use make it %.2f times as fast\n",
               p->warm ? "on" : "off", gain);
    return 0;
}

static int report(const hs_args *a, const target *t, const hs_engine_options *opt, hs_plan *p, bool fits, hs_err *err)
{
    if (!fits)
        return print(a, t, p, NULL, 0);
    hs_expectation x;
    int r = hs_expect(a, opt, p, &x, err);
    if (r < 0)
        return hs_fail(err);
    double gain = consider_warm_tier(a, opt, p, &x);
    int status = print(a, t, p, &x, gain);
    hs_expectation_deinit(&x);
    return status;
}

static int plan(const hs_args *a, const hs_config *config, target *t, hs_err *err)
{
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    opt.path = a->operands[0];
    opt.shape = t->config ? &t->shape : NULL;
    opt.mirror = hs_args_text(a, "mirror");
    if (opt.shape && opt.mirror)
        return hs_fail_usage(a->verb, "--mirror: %s has no files of which there could be copies", a->operands[0]);
    hs_server_options server;
    if (hs_server_options_from_config(config, &server, err) < 0)
        return hs_fail(err);
    opt.parallel = server.parallel;
    opt.memory_outside = hs_server_memory_bytes(&server);
    if (hs_args_has(a, "ram"))
        opt.memory_limit = hs_args_size(a, "ram", 0) + !hs_args_size(a, "ram", 0); /* 0 would be auto */
    opt.context = (uint32_t)hs_args_int(a, "context", opt.context);
    opt.threads = (uint32_t)hs_args_int(a, "cores", opt.threads);
    hs_plan p = {0};
    int status = 0, r = hs_plan_make(&opt, &p, err);
    if (r == 0 || (r == -ENOMEM && p.floor))
        status = report(a, t, &opt, &p, r == 0, err);
    return r < 0 ? hs_fail(err) : status;
}

static int run_plan(const hs_args *a)
{
    if (hs_args_has(a, "list") == (a->n_operands > 0))
        return hs_fail_usage(a->verb, "plan needs a MODEL, or --list");
    if (hs_args_has(a, "list"))
        return list_models(hs_args_has(a, "json"));
    if (hs_args_has(a, "hit-rate") && hs_args_has(a, "routing"))
        return hs_fail_usage(a->verb, "--hit-rate says what --routing would give: one of them");
    if (hs_args_has(a, "disk") && hs_args_has(a, "disk-bw"))
        return hs_fail_usage(a->verb, "--disk-bw says what --disk would measure: one of them");
    hs_err err = {0};
    if (hs_expect_check(a, &err) < 0)
        return hs_fail_usage(a->verb, "%s", err.text);
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    target t = {0};
    hs_signals_setup();
    status = find_target(a, &t, &err) < 0 ? hs_fail(&err) : plan(a, config, &t, &err);
    end_target(&t);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"ram", HS_FLAG_SIZE, "SIZE", 0, 0, "memory of the whole process, instead of memory.limit"},
    {"context", HS_FLAG_INT, "N", 1, 16777216, "tokens of one conversation, instead of kv.context"},
    {"type", HS_FLAG_CHOICE, "published|bf16|fp8|q8_0|q6_k|q5_k_m|q4_k_m|iq4_xs|q3_k_m|iq3_xxs|q2_k|iq2_xxs|mxfp4", 0,
     0, "how the tensors of a model are stored that is not here yet; default as published"},
    HS_FLAGS_EXPECT,
    HS_FLAG_MIRROR,
    {"list", HS_FLAG_SWITCH, NULL, 0, 0, "the names of models that need not be here"},
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_plan = {
    .name = "plan",
    .synopsis = "MODEL",
    .summary = "Will it run here, and how fast: memory floor, what is recommended, what to expect.",
    .details =
        "MODEL is a model's folder or file, its config.json alone, or the name of a published model (--list), of which "
        "nothing need be here; ORGANISATION/NAME, as the hub has it, will do.\n\n"
        "Plans as hotset serve does, its server's memory included; the other verbs take less. Loads no weights and "
        "needs no tokenizer files. Computes some of the model's layers on zeros (half a second, some more for the "
        "biggest models) to see what the processors give, and unless the state directory has the drive's calibration, "
        "reads for a second. Exit status 1, with the figures, if the memory is under the floor.\n\n"
        "The hit rate is that of recorded routes of DeepSeek-V2-Lite, which repeat less than those of most models. "
        "What reading ahead brings is told apart, for it hangs on how well the model's routes can be foretold.",
    .flags = flags,
    .max_operands = 1,
    .run = run_plan};

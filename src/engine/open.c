/*
 * open.c - a model opened: kernels, source with its mirrors (or a shape, without files), spec, index of experts and
 * their sizes. What plans, measures and brings up begins with it.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/option.h"
#include "engine/engine_int.h"
#include "math/mat.h"

/* Tokenizer and template while loading, as a multiple of their files: measured on DeepSeek-V3, Qwen3 and gpt-oss. */
#define TEXT_LOAD_FACTOR 6
/* Of tokenizer.json where there is none yet: 60 (DeepSeek-V3), 75 (Qwen3), 139 (gpt-oss) bytes for each id. */
#define TEXT_BYTES_PER_ID 140

static uint64_t file_bytes(const char *dir, const char *name)
{
    struct stat st;
    char *path = hs_asprintf("%s/%s", dir, name);
    uint64_t n = path && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    hs_free(path);
    return n;
}

/* A source without files. */
static int open_shape(const hs_shape *shape, hs_source **ret_source, hs_err *err)
{
    hs_described d;
    int r = hs_model_describe(shape->name, shape->config, shape->type, &d, err);
    if (r < 0)
        return r;
    r = hs_source_describe(shape->name, (struct json_t *)(uintptr_t)shape->config, d.tensors, d.n_tensors, ret_source,
                           err);
    hs_described_deinit(&d);
    return r;
}

static uint64_t text_bytes(const hs_engine_options *opt, const hs__opened *o)
{
    const hs_vocab_data *vocab = hs_source_checkpoint(o->source)->vocab;
    uint64_t n = vocab        ? hs_tokenizer_gguf_bytes(vocab)
                 : opt->shape ? TEXT_LOAD_FACTOR * TEXT_BYTES_PER_ID * (uint64_t)o->spec->vocab
                              : TEXT_LOAD_FACTOR * file_bytes(opt->path, "tokenizer.json");
    return (1u << 20) + n;
}

static int add_mirrors(const hs_engine_options *opt, hs_source *s, hs_err *err)
{
    const char *at = opt->mirror, *item;
    size_t n;
    int r = 0;
    while (r == 0 && hs_next_item(&at, &item, &n)) {
        char *path = hs_strndup(item, n);
        r = path ? hs_source_add_mirror(s, path, err) : hs_err_set(err, -ENOMEM, "out of memory");
        hs_free(path);
    }
    return r;
}

int hs__open(const hs_engine_options *opt, hs__opened *o, hs_err *err)
{
    memset(o, 0, sizeof *o);
    hs_kernel_set set;
    int r = hs_kernel_set_parse(opt->kernels ? opt->kernels : "auto", &set);
    if (r < 0)
        return hs_err_set(err, r, "compute.kernels: '%s' is not one of auto|generic|avx2|avx512|neon", opt->kernels);
    o->q8 = !opt->activations || strcmp(opt->activations, "f32") != 0;
    o->kernels = hs_kernels_get(set, err);
    if (!o->kernels)
        return -ENOTSUP;
    r = opt->shape ? open_shape(opt->shape, &o->source, err) : hs_source_open(opt->path, &o->source, err);
    if (r == 0 && opt->mirror)
        r = add_mirrors(opt, o->source, err);
    if (r < 0)
        goto fail;
    r = hs_model_spec_create(hs_source_checkpoint(o->source), &o->spec, err);
    if (r == 0 && !(o->spec->n_moe_layers && o->spec->n_experts))
        r = hs_err_set(err, -ENOTSUP, "%s: the model has no routed experts; hotset serves mixtures of experts",
                       opt->path);
    if (r < 0)
        goto fail;
    r = hs_objects_create(o->source, o->spec->expert_parts, o->spec->n_moe_layers * o->spec->n_experts, HS_EXPERT_PARTS,
                          &o->objects, err);
    if (r == 0)
        r = hs_residency_classes(o->objects, o->spec->n_experts, o->spec->top_k, false, &o->decoded, err);
    if (r == 0)
        r = hs__set_warm(o, opt->warm_tier == HS_WARM_ON && hs_residency_can_be_warm(o->objects), err);
    if (r < 0)
        goto fail;
    o->text_bytes = opt->without_text ? 0 : text_bytes(opt, o);
    return 0;
fail:
    hs__close(o);
    return r;
}

int hs__set_warm(hs__opened *o, bool warm, hs_err *err)
{
    o->warm = warm;
    return hs_residency_classes(o->objects, o->spec->n_experts, o->spec->top_k, warm, &o->classes, err);
}

void hs__close(hs__opened *o)
{
    hs_objects_destroy(&o->objects);
    hs_model_spec_destroy(&o->spec);
    hs_source_close(&o->source);
}

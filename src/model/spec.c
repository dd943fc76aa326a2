/*
 * spec.c - which recipe a checkpoint needs, and what of it has to be loaded.
 * Owns the spec. Recipes (arch_*.c) do the reading; this file chooses one, and afterwards makes the list of dense
 * tensors and refuses tensors inside the layers that the recipe has not taken: they would change the result.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model_int.h"

static const hs__recipe recipes[] = {
    {"deepseek_v3", "DeepseekV3ForCausalLM", "deepseek_v3", hs__build_deepseek_v3},
    {"kimi_k2", "DeepseekV3ForCausalLM", "kimi_k2", hs__build_deepseek_v3},
    {"glm4_moe_lite", "Glm4MoeLiteForCausalLM", "glm4_moe_lite", hs__build_deepseek_v3},
    {"deepseek_v2", "DeepseekV2ForCausalLM", "deepseek_v2", hs__build_deepseek_v2},
    {"qwen3_moe", "Qwen3MoeForCausalLM", "qwen3_moe", hs__build_qwen3_moe},
    {"mixtral", "MixtralForCausalLM", "mixtral", hs__build_mixtral},
    {"qwen2_moe", "Qwen2MoeForCausalLM", "qwen2_moe", hs__build_qwen2_moe},
    {"olmoe", "OlmoeForCausalLM", "olmoe", hs__build_olmoe},
    {"gpt_oss", "GptOssForCausalLM", "gpt_oss", hs__build_gpt_oss},
    {"granitemoe", "GraniteMoeForCausalLM", "granitemoe", hs__build_granitemoe},
    {"glm4_moe", "Glm4MoeForCausalLM", "glm4_moe", hs__build_glm4_moe},
    {"minimax_m2", "MiniMaxM2ForCausalLM", "minimax_m2", hs__build_minimax_m2},
    {"ernie4_5_moe", "Ernie4_5_MoeForCausalLM", "ernie4_5_moe", hs__build_ernie4_5_moe},
};

static const hs__recipe *choose(hs__build *b)
{
    const char *type, *name = NULL;
    if (b->c->gguf) {
        type = hs__gguf_model_type(b);
    } else {
        type = json_string_value(json_object_get(b->c->config, "model_type"));
        name = json_string_value(json_array_get(json_object_get(b->c->config, "architectures"), 0));
    }
    const char *wanted = type ? type : name;
    if (!wanted) {
        hs__refuse(b, "model_type and architectures are missing: this is not a language model's config");
        return NULL;
    }
    char known[300] = "";
    for (size_t i = 0, at = 0; i < sizeof recipes / sizeof *recipes; i++) {
        if (!strcmp(wanted, type ? recipes[i].model_type : recipes[i].architecture))
            return &recipes[i];
        at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", recipes[i].model_type);
    }
    hs__refuse(b, "the architecture '%.80s' is not supported; these are: %s", wanted, known);
    return NULL;
}

/* The number N of a tensor "model.layers.N.…" ("blk.N.…" in GGUF), or -1. */
static int64_t layer_of(const hs_checkpoint *c, const char *name)
{
    const char *prefix = c->gguf ? "blk." : "model.layers.";
    if (strncmp(name, prefix, strlen(prefix)))
        return -1;
    char *end;
    unsigned long n = strtoul(name + strlen(prefix), &end, 10);
    return *end == '.' && n < UINT32_MAX ? (int64_t)n : -1;
}

/* Layers beyond num_hidden_layers are for multi-token prediction and are not run. Old checkpoints store the rope's
 * frequencies, which follow from the config. */
static void refuse_leftovers(hs__build *b)
{
    for (uint32_t t = 0; b->r == 0 && t < b->c->n_tensors; t++) {
        const char *name = b->c->tensors[t].name;
        int64_t layer = layer_of(b->c, name);
        if (b->used[t] || layer < 0 || layer >= b->spec->n_layers || strstr(name, ".rotary_emb.inv_freq"))
            continue;
        b->r = hs_err_set(b->err, -ENOTSUP, "%s: tensor %.200s has no place in the recipe for %s", b->c->path, name,
                          b->spec->arch);
    }
}

static void list_dense(hs__build *b)
{
    if (b->r < 0)
        return;
    uint32_t n = 0;
    for (uint32_t t = 0; t < b->c->n_tensors; t++)
        n += b->used[t] == 1;
    uint32_t *list = hs_calloc(n ? n : 1, sizeof *list);
    if (!list) {
        b->r = hs_err_set(b->err, -ENOMEM, "%s: out of memory", b->c->path);
        return;
    }
    b->spec->dense_tensors = list;
    for (uint32_t t = 0; t < b->c->n_tensors; t++) {
        if (b->used[t] != 1)
            continue;
        list[b->spec->n_dense_tensors++] = t;
        b->spec->dense_bytes += hs_align_up(b->c->tensors[t].nbytes, 64);
    }
}

static void find_kinds(hs__build *b)
{
    for (uint32_t t = 0; t < b->c->n_tensors; t++) {
        hs_mat w = {.dtype = b->c->tensors[t].dtype};
        if (b->used[t])
            b->arch->kinds[hs_mat_act(&w)] = true;
    }
    hs_mat expert = {.dtype = b->arch->expert_type};
    b->arch->kinds[hs_mat_act(&expert)] = true;
    b->arch->kinds[HS_ACT_F32] = false;
}

static void finish(hs__build *b)
{
    hs_arch *a = b->arch;
    refuse_leftovers(b);
    find_kinds(b);
    list_dense(b);
    if (b->r < 0)
        return;
    for (uint32_t l = 0; l < b->spec->n_layers; l++)
        if (a->layers[l].ffn_width > a->ffn_width_max)
            a->ffn_width_max = a->layers[l].ffn_width;
    uint64_t row = (uint64_t)b->spec->n_layers * a->kv_row;
    if (row > UINT32_MAX)
        hs__refuse(b, "a token's keys and values of all layers are %llu numbers", (unsigned long long)row);
    b->spec->kv_row_values = (uint32_t)row;
    b->spec->expands_kv = b->arch->kv_lora > 0;
}

int hs__spec_build(const hs_checkpoint *c, struct hs__describe *describe, hs__build *b, hs_err *err)
{
    hs_model_spec *spec = hs_calloc(1, sizeof *spec);
    hs_arch *arch = hs_calloc(1, sizeof *arch);
    *b = (hs__build){.c = c, .spec = spec, .arch = arch, .describe = describe, .err = err};
    b->used = describe ? NULL : hs_calloc(c->n_tensors ? c->n_tensors : 1, 1);
    b->where = c->gguf ? hs_strdup(c->path) : hs_asprintf("%s/config.json", c->path);
    if (!spec || !arch || (!b->used && !describe) || !b->where) {
        hs_free(arch);
        b->r = hs_err_set(err, -ENOMEM, "%s: out of memory", c->path);
        return b->r;
    }
    spec->detail = arch;
    arch->checkpoint = c;
    const hs__recipe *recipe = choose(b);
    if (recipe) {
        spec->arch = recipe->arch;
        recipe->build(b);
    }
    return b->r;
}

void hs__spec_end(hs__build *b)
{
    json_decref(b->derived);
    hs_free(b->used);
    hs_free((void *)(uintptr_t)b->where);
    hs_model_spec_destroy(&b->spec);
}

int hs_model_spec_create(const hs_checkpoint *c, hs_model_spec **ret_spec, hs_err *err)
{
    hs__build b;
    int r = hs__spec_build(c, NULL, &b, err);
    if (r == 0) {
        finish(&b);
        r = b.r;
    }
    if (r == 0) {
        *ret_spec = b.spec;
        b.spec = NULL;
    }
    hs__spec_end(&b);
    return r;
}

void hs_model_spec_destroy(hs_model_spec **spec)
{
    hs_model_spec *s = *spec;
    if (!s)
        return;
    *spec = NULL;
    if (s->detail)
        hs_free(s->detail->layers);
    hs_free(s->detail);
    hs_free((void *)(uintptr_t)s->moe_layer_number);
    hs_free((void *)(uintptr_t)s->dense_tensors);
    hs_free((void *)(uintptr_t)s->expert_parts);
    hs_free(s);
}

/*
 * groups.c - which tensors make an object, from their names alone: no recipe, so that a model that no recipe knows yet
 * can be packed. A routed expert is "…layers.<L>.….experts.<E>.<rest>" in every family that stores experts one by one,
 * and "blk.<L>.ffn_<matrix>_exps.weight.<E>" or "…layers.<L>.<stack>.<E>" where a reader has taken a layer's stack
 * apart.
 */
#include <string.h>

#include "pack/pack_int.h"

/* A whole component that is a number without leading zeros, below 2^31. */
static bool parse_number(const char *s, size_t n, uint32_t *ret)
{
    uint64_t v = 0;
    if (!n || n > 10 || (n > 1 && *s == '0'))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s[i] - '0');
    }
    *ret = (uint32_t)v;
    return v < 1ull << 31;
}

static bool is(const char *s, size_t n, const char *word)
{
    return n == strlen(word) && !memcmp(s, word, n);
}

static uint32_t matrix_of(const char *s, size_t n)
{
    if (is(s, n, "gate_proj") || is(s, n, "w1"))
        return 0;
    if (is(s, n, "up_proj") || is(s, n, "w3"))
        return 1;
    if (is(s, n, "down_proj") || is(s, n, "w2"))
        return 2;
    return 3;
}

/* Mixtral files of 2023 have a tensor for each expert: "ffn_gate.<E>.weight". */
static bool parse_single(const char *s, size_t n, hs__pk_expert_name *x)
{
    static const char *const names[] = {"ffn_gate", "ffn_up", "ffn_down"};
    const char *number = s + n + (s[n] == '.'), *end = strchr(number, '.');
    if (!end || strcmp(end, ".weight") || !parse_number(number, (size_t)(end - number), &x->expert))
        return false;
    for (uint32_t i = 0; i < 3; i++) {
        if (is(s, n, names[i])) {
            x->matrix = i;
            return true;
        }
    }
    return false;
}

static bool parse_gguf(const char *name, hs__pk_expert_name *ret)
{
    static const struct {
        const char *name;
        uint32_t matrix;
    } stacks[] = {{"ffn_gate_exps", 0}, {"ffn_gate_up_exps", 0}, {"ffn_up_exps", 1}, {"ffn_down_exps", 2}};
    hs__pk_expert_name x = {0};
    size_t n = strncmp(name, "blk.", 4) ? 0 : strcspn(name + 4, ".");
    if (!n || !parse_number(name + 4, n, &x.layer) || name[4 + n] != '.')
        return false;
    x.prefix = 5 + n;
    const char *stack = name + x.prefix;
    n = strcspn(stack, ".");
    if (parse_single(stack, n, &x)) {
        *ret = x;
        return true;
    }
    const char *number = stack + n + 8;
    if (strncmp(stack + n, ".weight.", 8) || !parse_number(number, strlen(number), &x.expert))
        return false;
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        if (is(stack, n, stacks[i].name)) {
            x.matrix = stacks[i].matrix;
            *ret = x;
            return true;
        }
    }
    return false;
}

static bool parse_stack(const char *name, hs__pk_expert_name *ret)
{
    static const struct {
        const char *name;
        uint32_t matrix;
        bool is_scale;
    } stacks[] = {
        {"block_sparse_moe.input_linear.weight", 0, false},
        {"block_sparse_moe.output_linear.weight", 2, false},
        {"mlp.experts.gate_up_proj", 0, false},
        {"mlp.experts.down_proj", 2, false},
        {"mlp.experts.gate_up_proj_blocks", 0, false},
        {"mlp.experts.down_proj_blocks", 2, false},
        {"mlp.experts.gate_up_proj_scales", 0, true},
        {"mlp.experts.down_proj_scales", 2, true},
    };
    const char *layers = strstr(name, "layers."), *number = strrchr(name, '.');
    hs__pk_expert_name x = {0};
    if (!layers || (layers > name && layers[-1] != '.') || !parse_number(number + 1, strlen(number + 1), &x.expert))
        return false;
    const char *layer = layers + strlen("layers."), *stack = strchr(layer, '.');
    if (!stack || stack >= number || !parse_number(layer, (size_t)(stack - layer), &x.layer))
        return false;
    x.prefix = (size_t)(++stack - name);
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        if (is(stack, (size_t)(number - stack), stacks[i].name)) {
            x.matrix = stacks[i].matrix;
            x.is_scale = stacks[i].is_scale;
            *ret = x;
            return true;
        }
    }
    return false;
}

bool hs__pk_parse_expert(const char *name, hs__pk_expert_name *ret)
{
    hs__pk_expert_name x = {.matrix = 3, .is_scale = true};
    bool layer = false, expert = false;
    const char *before = "";
    size_t before_len = 0;
    for (const char *c = name; *c;) {
        size_t n = strcspn(c, ".");
        uint32_t v;
        if (expert) {
            if (x.matrix == 3)
                x.matrix = matrix_of(c, n);
            x.is_scale = strncmp(c, "weight", 6) || is(c, n, "weight_shape") || !strncmp(c, "weight_scale", 12) ||
                         !strncmp(c, "weight_zero", 11) || !strncmp(c, "weight_g_idx", 12);
        } else if (is(before, before_len, "layers") && parse_number(c, n, &v)) {
            x.layer = v;
            layer = true;
        } else if (layer && is(before, before_len, "experts") && parse_number(c, n, &v) && c[n] == '.' && c[n + 1]) {
            x.expert = v;
            x.prefix = (size_t)(before - name);
            expert = true;
        }
        before = c;
        before_len = n;
        c += n + (c[n] == '.');
    }
    if (expert)
        *ret = x;
    return expert || parse_gguf(name, ret) || parse_stack(name, ret);
}

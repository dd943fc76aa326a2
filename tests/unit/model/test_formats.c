/* labels: unit */
/*
 * test_formats.c - the same model in other clothes: weights stored as F32 and F16 (exact copies of BF16 values where
 * those fit), tied embeddings, generic beside AVX2 kernels. Results agree with the original's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

#define N 40u

static void open_arch(fixture *f, const char *arch)
{
    char dir[600];
    snprintf(dir, sizeof dir, "%s/data/goldens/%s", TESTS_DIR, arch);
    fixture_open(f, dir);
}

/* Logits of a fixed prompt's last token and of one decoded token: [2][vocab]. */
static float *logits_of(fixture *f, hs_kernel_set set)
{
    hs_err err = {0};
    if (!f->spec && fixture_spec(f, &err) < 0)
        fail_msg("%s", err.text);
    uint32_t ids[N], vocab = f->spec->vocab;
    for (uint32_t i = 0; i < N; i++)
        ids[i] = (i * 2654435761u >> 9) % vocab;
    float *out = calloc(2 * (size_t)vocab, sizeof *out);
    run r;
    run_create(&r, f, (run_options){.threads = 2, .kernels = set});
    hs_kv *kv = &r.kv[0];
    assert_int_equal(hs_model_prefill(r.model, kv, ids, N, out, 1, NULL, NULL, &err), 0);
    assert_int_equal(hs_model_decode(r.model, &kv, ids, 1, out + vocab, &err), 0);
    run_destroy(&r);
    return out;
}

static float worst(const float *a, const float *b, uint32_t n)
{
    float w = 0;
    for (uint32_t i = 0; i < n; i++)
        w = fmaxf(w, fabsf(a[i] - b[i]));
    return w;
}

/* Rewrites every BF16 tensor as type; the memory is left to the caller's list. */
static void convert(fixture *f, hs_dtype type, void **owned)
{
    hs_err err = {0};
    const hs_kernels *k = hs_kernels_get(HS_KERNELS_GENERIC, &err);
    for (uint32_t i = 0; i < f->c.n_tensors; i++) {
        hs_tensor *t = &f->tensors[i];
        if (t->dtype != HS_DTYPE_BF16)
            continue;
        uint32_t n = (uint32_t)(t->nbytes / 2);
        hs_mat row = {.data = f->bytes[i], .dtype = HS_DTYPE_BF16, .rows = 1, .cols = n};
        float *v = calloc(n, sizeof *v);
        k->dequant_span(&row, 0, 0, n, v);
        t->dtype = type;
        t->nbytes = (uint64_t)n * hs_dtype_size(type);
        if (type == HS_DTYPE_F16)
            k->to_f16(v, (uint16_t *)(void *)v, n); /* forwards, in place: out never overtakes in */
        f->bytes[i] = owned[i] = v;
    }
}

static void test_other_float_types(void **state)
{
    (void)state;
    static const char *const archs[] = {"deepseek_v3", "qwen3_moe", "mixtral", "gpt_oss_mxfp4"};
    for (size_t a = 0; a < 4; a++) {
        fixture f;
        open_arch(&f, archs[a]);
        float *want = logits_of(&f, HS_KERNELS_AUTO);
        for (int type = 0; type < 2; type++) {
            fixture g;
            open_arch(&g, archs[a]);
            void **owned = calloc(g.c.n_tensors, sizeof *owned);
            convert(&g, type ? HS_DTYPE_F16 : HS_DTYPE_F32, owned);
            float *got = logits_of(&g, HS_KERNELS_AUTO);
            /* BF16 values below 2^-17 lose bits in F16. */
            assert_true(worst(want, got, 2 * f.spec->vocab) < (type ? 1e-2f : 1e-5f));
            for (uint32_t i = 0; i < g.c.n_tensors; i++)
                free(owned[i]);
            free(owned);
            free(got);
            fixture_close(&g);
        }
        free(want);
        fixture_close(&f);
    }
}

/* Scales of FP8 in BF16 give the bits of the same values in F32. */
static void test_fp8_scales_in_bf16(void **state)
{
    (void)state;
    fixture f, g;
    open_arch(&f, "deepseek_v3_fp8");
    open_arch(&g, "deepseek_v3_fp8");
    void **owned = calloc(2 * (size_t)f.c.n_tensors, sizeof *owned);
    for (uint32_t i = 0; i < f.c.n_tensors; i++) {
        if (!strstr(f.tensors[i].name, "weight_scale_inv"))
            continue;
        size_t n = f.tensors[i].nbytes / 4;
        uint32_t *wide = calloc(n, sizeof *wide);
        uint16_t *half = calloc(n, sizeof *half);
        memcpy(wide, f.bytes[i], 4 * n);
        for (size_t k = 0; k < n; k++) {
            half[k] = (uint16_t)(wide[k] >> 16);
            wide[k] &= 0xffff0000u;
        }
        f.bytes[i] = owned[2 * (size_t)i] = wide;
        g.bytes[i] = owned[2 * (size_t)i + 1] = half;
        g.tensors[i].dtype = HS_DTYPE_BF16;
        g.tensors[i].nbytes /= 2;
    }
    for (int set = HS_KERNELS_AUTO; set <= HS_KERNELS_GENERIC; set++) {
        float *want = logits_of(&f, (hs_kernel_set)set), *got = logits_of(&g, (hs_kernel_set)set);
        assert_memory_equal(want, got, 2 * f.spec->vocab * sizeof *want);
        free(want);
        free(got);
    }
    for (uint32_t i = 0; i < 2 * f.c.n_tensors; i++)
        free(owned[i]);
    free(owned);
    fixture_close(&f);
    fixture_close(&g);
}

static void test_generic_kernels_agree(void **state)
{
    (void)state;
    fixture f;
    open_arch(&f, "deepseek_v3_fp8");
    float *want = logits_of(&f, HS_KERNELS_AUTO), *got = logits_of(&f, HS_KERNELS_GENERIC);
    assert_true(worst(want, got, 2 * f.spec->vocab) < 2e-4f);
    free(want);
    free(got);
    fixture_close(&f);
}

/* tie_word_embeddings: the head's bytes are the embedding's, whether or not the file has a head. */
static void test_tied_embeddings(void **state)
{
    (void)state;
    fixture f, g;
    open_arch(&f, "qwen3_moe");
    open_arch(&g, "qwen3_moe");
    json_object_set_new(g.config, "tie_word_embeddings", json_true());
    f.bytes[hs_checkpoint_find(&f.c, "lm_head.weight")] =
        f.bytes[hs_checkpoint_find(&f.c, "model.embed_tokens.weight")];
    float *want = logits_of(&f, HS_KERNELS_AUTO), *got = logits_of(&g, HS_KERNELS_AUTO);
    assert_memory_equal(want, got, 2 * f.spec->vocab * sizeof *want);
    assert_int_equal(g.spec->n_dense_tensors, f.spec->n_dense_tensors - 1);
    free(want);
    free(got);
    fixture_close(&f);
    fixture_close(&g);
}

/* Dense layers of qwen3_moe need tensors that this model does not have: the recipe asks for them by name. */
static void test_mlp_only_layer_asks_for_its_tensors(void **state)
{
    (void)state;
    fixture f;
    hs_err err = {0};
    open_arch(&f, "qwen3_moe");
    json_object_set_new(f.config, "mlp_only_layers", json_pack("[i]", 2));
    assert_int_equal(fixture_spec(&f, &err), -EINVAL);
    assert_non_null(strstr(err.text, "model.layers.2.mlp.gate_proj.weight is missing"));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_float_types),
        cmocka_unit_test(test_fp8_scales_in_bf16),
        cmocka_unit_test(test_generic_kernels_agree),
        cmocka_unit_test(test_tied_embeddings),
        cmocka_unit_test(test_mlp_only_layer_asks_for_its_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

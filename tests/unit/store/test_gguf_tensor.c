/* labels: unit */
/* test_gguf_tensor.c - tensor descriptions: types, shapes, places, stacks of experts, and what is refused. */
#include "unit/store/gguf_fixture.h"
#include "unit/store/gguf_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/source.h"

/* A file of one tensor in front of n bytes of data. */
static void one(const char *name, uint32_t type, uint32_t n_dims, const uint64_t *ne, uint64_t offset, uint64_t n)
{
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_tensor(&o, name, type, n_dims, ne, offset);
    gguf_end(&o, 32, n);
    gguf_save(&o, gguf_folder, "m.gguf");
}

static void every_type_has_its_size(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        hs_dtype dtype;
        uint64_t bytes; /* of 512 elements */
    } types[] = {
        {0, HS_DTYPE_F32, 2048},     {1, HS_DTYPE_F16, 1024},    {2, HS_DTYPE_Q4_0, 288},
        {3, HS_DTYPE_Q4_1, 320},     {6, HS_DTYPE_Q5_0, 352},    {7, HS_DTYPE_Q5_1, 384},
        {8, HS_DTYPE_Q8_0, 544},     {10, HS_DTYPE_Q2_K, 168},   {11, HS_DTYPE_Q3_K, 220},
        {12, HS_DTYPE_Q4_K, 288},    {13, HS_DTYPE_Q5_K, 352},   {14, HS_DTYPE_Q6_K, 420},
        {16, HS_DTYPE_IQ2_XXS, 132}, {17, HS_DTYPE_IQ2_XS, 148}, {18, HS_DTYPE_IQ3_XXS, 196},
        {19, HS_DTYPE_IQ1_S, 100},   {20, HS_DTYPE_IQ4_NL, 288}, {21, HS_DTYPE_IQ3_S, 220},
        {22, HS_DTYPE_IQ2_S, 164},   {23, HS_DTYPE_IQ4_XS, 272}, {24, HS_DTYPE_I8, 512},
        {25, HS_DTYPE_OTHER, 1024},  {26, HS_DTYPE_I32, 2048},   {27, HS_DTYPE_I64, 4096},
        {28, HS_DTYPE_OTHER, 4096},  {29, HS_DTYPE_IQ1_M, 112},  {30, HS_DTYPE_BF16, 1024},
        {34, HS_DTYPE_TQ1_0, 108},   {35, HS_DTYPE_TQ2_0, 132},  {39, HS_DTYPE_MXFP4, 272},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        one("x", types[i].type, 2, (uint64_t[]){256, 2}, 0, types[i].bytes);
        hs_source *s = gguf_accepted();
        const hs_tensor *t = hs_source_checkpoint(s)->tensors;
        assert_int_equal(t->dtype, types[i].dtype);
        assert_int_equal(t->nbytes, types[i].bytes);
        hs_source_close(&s);
        one("x", types[i].type, 2, (uint64_t[]){256, 2}, 0, types[i].bytes - 1);
        folder_refused(gguf_path, "tensor x: its");
    }
}

static void an_unknown_type_is_refused_by_name(void **state)
{
    (void)state;
    const uint64_t ne[1] = {256};
    one("x", 40, 1, ne, 0, 1024);
    folder_refused(gguf_path, "tensor x: type 40 (NVFP4) is not supported; these are: F32 F16 Q4_0");
    folder_refused(gguf_path, "TQ2_0 MXFP4");
    one("x", 139, 1, ne, 0, 1024);
    folder_refused(gguf_path, "tensor x: type 139 (IQ4_K) is not supported");
    one("x", 4711, 1, ne, 0, 1024);
    folder_refused(gguf_path, "tensor x: type 4711 is not supported");
}

static void shapes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t type, n_dims;
        uint64_t ne[5];
        const char *sentence;
    } cases[] = {
        {G_TYPE_Q4_K, 2, {128, 2}, "rows of 128 elements are no multiple of Q4_K's block of 256"},
        {G_TYPE_F32, 5, {1, 1, 1, 1, 1}, "5 dimensions; at most 4 are possible"},
        {G_TYPE_F32, 2, {4, 0}, "is empty"},
        {G_TYPE_F32, 2, {0, 4}, "is empty"},
        {G_TYPE_F32, 2, {1ull << 62, 4}, "is bigger than any tensor can be"},
        {G_TYPE_F32, 4, {1ull << 20, 1ull << 20, 1ull << 20, 1ull << 20}, "is bigger than any tensor can be"},
        {G_TYPE_Q8_0, 2, {1ull << 63, 32}, "is bigger than any tensor can be"},
        {G_TYPE_F32, 1, {1ull << 37}, "are outside the file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sentence[200];
        one("x", cases[i].type, cases[i].n_dims, cases[i].ne, 0, 4096);
        snprintf(sentence, sizeof sentence, "%s", cases[i].sentence);
        folder_refused(gguf_path, "tensor x: ");
        folder_refused(gguf_path, sentence);
    }
    one("scalar", G_TYPE_F32, 0, NULL, 0, 4);
    hs_source *s = gguf_accepted();
    assert_int_equal(hs_source_checkpoint(s)->tensors[0].nbytes, 4);
    hs_source_close(&s);
}

static void places_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const uint64_t ne[1] = {16};
    one("x", G_TYPE_F32, 1, ne, 33, 4096);
    folder_refused(gguf_path, "tensor x: begins at byte 33 of the data, no multiple of the alignment of 32");
    one("x", G_TYPE_F32, 1, ne, 4096, 4096);
    folder_refused(gguf_path, "tensor x: its 64 bytes at");
    one("x", G_TYPE_F32, 1, ne, UINT64_MAX - 31, 4096);
    folder_refused(gguf_path, "tensor x: its 64 bytes at byte 18446744073709551584 of the data are outside the file");
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_tensor(&o, "first", G_TYPE_F32, 1, ne, 32);
    gguf_tensor(&o, "second", G_TYPE_F32, 1, ne, 64);
    gguf_end(&o, 32, 4096);
    gguf_save(&o, gguf_folder, "m.gguf");
    folder_refused(gguf_path, "tensor second: overlaps tensor first");
    gguf_begin(&o, 3);
    gguf_tensor(&o, "same", G_TYPE_F32, 1, ne, 0);
    gguf_tensor(&o, "same", G_TYPE_F32, 1, ne, 64);
    gguf_end(&o, 32, 128);
    gguf_save(&o, gguf_folder, "m.gguf");
    folder_refused(gguf_path, "tensor same appears twice");
}

static void the_alignment_of_the_file_counts(void **state)
{
    (void)state;
    gguf_out o;
    gguf_begin(&o, 3);
    gguf_key_u32(&o, "general.alignment", 4096);
    gguf_tensor(&o, "x", G_TYPE_I8, 1, (uint64_t[]){10}, 0);
    gguf_tensor(&o, "y", G_TYPE_I8, 1, (uint64_t[]){10}, 4096);
    gguf_end(&o, 4096, 4106);
    gguf_save(&o, gguf_folder, "m.gguf");
    hs_source *s = gguf_accepted();
    assert_int_equal(hs_source_checkpoint(s)->tensors[0].offset, 4096);
    assert_int_equal(hs_source_checkpoint(s)->tensors[1].offset, 8192);
    hs_source_close(&s);
}

static void only_stacks_of_experts_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t n_dims, n;
    } cases[] = {{"blk.0.ffn_gate_exps.weight", 3, 4},  {"blk.17.ffn_gate_up_exps.weight", 3, 4},
                 {"blk.0.ffn_down_exps.bias", 2, 1},    {"blk.0.ffn_down_exps.weight", 2, 1},
                 {"blk.0.ffn_down_exps.bias", 1, 1},    {"blk.0.ffn_down_exps.scale", 2, 1},
                 {"blk.0.ffn_gate_shexp.weight", 3, 1}, {"blk..ffn_gate_exps.weight", 3, 1},
                 {"blk.0.attn_k_b.weight", 3, 1},       {"v.blk.0.ffn_gate_exps.weight", 3, 1},
                 {"blk.0.ffn_gate_exps.weight.x", 3, 1}};
    const uint64_t ne[3] = {2, 3, 4};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        one(cases[i].name, G_TYPE_F32, cases[i].n_dims, ne, 0, 96);
        hs_source *s = gguf_accepted();
        const hs_checkpoint *c = hs_source_checkpoint(s);
        assert_int_equal(c->n_tensors, cases[i].n);
        assert_int_equal(c->tensors[0].n_dims, cases[i].n_dims - (cases[i].n > 1));
        assert_int_equal(c->total_bytes, cases[i].n_dims == 3 ? 96 : cases[i].n_dims == 2 ? 24 : 8);
        hs_source_close(&s);
    }
    one("blk.0.ffn_up_exps.weight", G_TYPE_I8, 3, (uint64_t[]){1, 1, 4097}, 0, 4097);
    folder_refused(gguf_path, "tensor blk.0.ffn_up_exps.weight: 4097 experts; at most 4096 are possible");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_its_size),           cmocka_unit_test(an_unknown_type_is_refused_by_name),
        cmocka_unit_test(shapes_that_cannot_be_are_refused), cmocka_unit_test(places_that_cannot_be_are_refused),
        cmocka_unit_test(the_alignment_of_the_file_counts),  cmocka_unit_test(only_stacks_of_experts_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, gguf_set_up, gguf_tear_down);
}

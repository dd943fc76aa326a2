/* dtype.c - names and sizes of element types. */
#include "base/dtype.h"

static const struct {
    const char *name;
    uint32_t block, size;
} types[HS_DTYPE_COUNT] = {
    [HS_DTYPE_NONE] = {"none", 0, 0},
    [HS_DTYPE_F32] = {"F32", 1, 4},
    [HS_DTYPE_F16] = {"F16", 1, 2},
    [HS_DTYPE_BF16] = {"BF16", 1, 2},
    [HS_DTYPE_F8_E4M3] = {"F8_E4M3", 1, 1},
    [HS_DTYPE_I8] = {"I8", 1, 1},
    [HS_DTYPE_U8] = {"U8", 1, 1},
    [HS_DTYPE_I32] = {"I32", 1, 4},
    [HS_DTYPE_I64] = {"I64", 1, 8},
    [HS_DTYPE_OTHER] = {"other", 0, 0},
    [HS_DTYPE_Q4_0] = {"Q4_0", 32, 18},
    [HS_DTYPE_Q4_1] = {"Q4_1", 32, 20},
    [HS_DTYPE_Q5_0] = {"Q5_0", 32, 22},
    [HS_DTYPE_Q5_1] = {"Q5_1", 32, 24},
    [HS_DTYPE_Q8_0] = {"Q8_0", 32, 34},
    [HS_DTYPE_Q2_K] = {"Q2_K", 256, 84},
    [HS_DTYPE_Q3_K] = {"Q3_K", 256, 110},
    [HS_DTYPE_Q4_K] = {"Q4_K", 256, 144},
    [HS_DTYPE_Q5_K] = {"Q5_K", 256, 176},
    [HS_DTYPE_Q6_K] = {"Q6_K", 256, 210},
    [HS_DTYPE_IQ1_S] = {"IQ1_S", 256, 50},
    [HS_DTYPE_IQ1_M] = {"IQ1_M", 256, 56},
    [HS_DTYPE_IQ2_XXS] = {"IQ2_XXS", 256, 66},
    [HS_DTYPE_IQ2_XS] = {"IQ2_XS", 256, 74},
    [HS_DTYPE_IQ2_S] = {"IQ2_S", 256, 82},
    [HS_DTYPE_IQ3_XXS] = {"IQ3_XXS", 256, 98},
    [HS_DTYPE_IQ3_S] = {"IQ3_S", 256, 110},
    [HS_DTYPE_IQ4_NL] = {"IQ4_NL", 32, 18},
    [HS_DTYPE_IQ4_XS] = {"IQ4_XS", 256, 136},
    [HS_DTYPE_TQ1_0] = {"TQ1_0", 256, 54},
    [HS_DTYPE_TQ2_0] = {"TQ2_0", 256, 66},
    [HS_DTYPE_MXFP4] = {"MXFP4", 32, 17},
    [HS_DTYPE_MXFP4_PAIRS] = {"MXFP4 pairs", 32, 16},
};

const char *hs_dtype_name(hs_dtype t)
{
    return (unsigned)t < HS_DTYPE_COUNT ? types[t].name : "invalid";
}

uint32_t hs_dtype_block(hs_dtype t)
{
    return (unsigned)t < HS_DTYPE_COUNT ? types[t].block : 0;
}

uint32_t hs_dtype_size(hs_dtype t)
{
    return (unsigned)t < HS_DTYPE_COUNT ? types[t].size : 0;
}

uint64_t hs_dtype_bytes(hs_dtype t, uint64_t n)
{
    uint32_t block = hs_dtype_block(t);
    return block ? n / block * hs_dtype_size(t) : 0;
}

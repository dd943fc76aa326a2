/* dtype.h - element types of stored tensors. */
#ifndef HS_BASE_DTYPE_H
#define HS_BASE_DTYPE_H

#include <stdint.h>

typedef enum hs_dtype {
    HS_DTYPE_NONE,
    HS_DTYPE_F32,
    HS_DTYPE_F16,
    HS_DTYPE_BF16,
    HS_DTYPE_F8_E4M3, /* OCP E4M3FN: no infinities, 0x7f and 0xff are NaN */
    HS_DTYPE_I8,
    HS_DTYPE_U8,
    HS_DTYPE_I32,
    HS_DTYPE_I64,
    HS_DTYPE_OTHER, /* known to the container, not to any kernel: kept as bytes */
    /* ggml's block formats: a row is a sequence of blocks of 32 or 256 elements. */
    HS_DTYPE_Q4_0,
    HS_DTYPE_Q4_1,
    HS_DTYPE_Q5_0,
    HS_DTYPE_Q5_1,
    HS_DTYPE_Q8_0,
    HS_DTYPE_Q2_K,
    HS_DTYPE_Q3_K,
    HS_DTYPE_Q4_K,
    HS_DTYPE_Q5_K,
    HS_DTYPE_Q6_K,
    HS_DTYPE_IQ1_S,
    HS_DTYPE_IQ1_M,
    HS_DTYPE_IQ2_XXS,
    HS_DTYPE_IQ2_XS,
    HS_DTYPE_IQ2_S,
    HS_DTYPE_IQ3_XXS,
    HS_DTYPE_IQ3_S,
    HS_DTYPE_IQ4_NL,
    HS_DTYPE_IQ4_XS,
    HS_DTYPE_TQ1_0,
    HS_DTYPE_TQ2_0,
    HS_DTYPE_MXFP4, /* 17 bytes of 32: the E8M0 scale, then nibbles j and j + 16 */
    /* As gpt-oss is published: 16 bytes of 32, byte j holds elements 2 j (low) and 2 j + 1; E8M0 scales elsewhere. */
    HS_DTYPE_MXFP4_PAIRS,
    HS_DTYPE_COUNT
} hs_dtype;

/* The name that safetensors or ggml gives it, e.g. "BF16", "Q4_K". */
const char *hs_dtype_name(hs_dtype t);
/* Elements of one block, which never crosses a row's end: 1 for plain types; 0 for NONE and OTHER. */
uint32_t hs_dtype_block(hs_dtype t);
/* Bytes of one block (of one element, for plain types); 0 for NONE and OTHER. */
uint32_t hs_dtype_size(hs_dtype t);
/* Bytes of n elements in a row, n a multiple of the block; 0 for NONE and OTHER. The caller knows that it does not
 * overflow. */
uint64_t hs_dtype_bytes(hs_dtype t, uint64_t n);

#endif

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
    HS_DTYPE_COUNT
} hs_dtype;

/* The safetensors name, e.g. "BF16". */
const char *hs_dtype_name(hs_dtype t);
/* Bytes of one element; 0 for NONE and OTHER. */
uint32_t hs_dtype_size(hs_dtype t);

#endif

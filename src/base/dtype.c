/* dtype.c - names and sizes of element types. */
#include "base/dtype.h"

static const struct {
    const char *name;
    uint32_t size;
} types[HS_DTYPE_COUNT] = {
    [HS_DTYPE_NONE] = {"none", 0},   [HS_DTYPE_F32] = {"F32", 4},         [HS_DTYPE_F16] = {"F16", 2},
    [HS_DTYPE_BF16] = {"BF16", 2},   [HS_DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [HS_DTYPE_I8] = {"I8", 1},
    [HS_DTYPE_U8] = {"U8", 1},       [HS_DTYPE_I32] = {"I32", 4},         [HS_DTYPE_I64] = {"I64", 8},
    [HS_DTYPE_OTHER] = {"other", 0},
};

const char *hs_dtype_name(hs_dtype t)
{
    return (unsigned)t < HS_DTYPE_COUNT ? types[t].name : "invalid";
}

uint32_t hs_dtype_size(hs_dtype t)
{
    return (unsigned)t < HS_DTYPE_COUNT ? types[t].size : 0;
}

/*
 * checkpoint.h - what a model file says about itself, as plain structs: store fills them, model and text consume them
 * without knowing store. All memory belongs to the hs_checkpoint that the store returned.
 */
#ifndef HS_BASE_CHECKPOINT_H
#define HS_BASE_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

#define HS_MAX_DIMS 4

typedef struct hs_tensor {
    const char *name; /* NUL-terminated */
    hs_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[HS_MAX_DIMS]; /* row-major, outermost first; unused = 1 */
    uint64_t nbytes;            /* of the stored (raw) bytes; checked against dims x dtype when loaded */
    /* Where the bytes are. In a safetensors folder: file index and offset. In a packed folder: the dense file, or, for
     * a tensor of an object, record = its record number and offset = place inside the record's raw bytes. */
    uint32_t file;
    uint32_t record; /* HS_NO_RECORD outside records */
    uint64_t offset;
} hs_tensor;

#define HS_NO_RECORD UINT32_MAX
#define HS_NO_TENSOR UINT32_MAX

typedef struct hs_checkpoint {
    const char *path;                 /* as given by the user */
    struct json_t *config;            /* config.json, an object (borrowed) */
    struct json_t *generation_config; /* or NULL */
    const hs_tensor *tensors;         /* sorted by name, strcmp order */
    uint32_t n_tensors;
    uint64_t total_bytes; /* raw bytes of all tensors */
} hs_checkpoint;

/* Index of the tensor of that name, or HS_NO_TENSOR. O(log n). */
uint32_t hs_checkpoint_find(const hs_checkpoint *c, const char *name);

#endif

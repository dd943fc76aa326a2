/*
 * fixture.h - a safetensors folder wholly in memory, its spec, and experts that come from memory in a chosen order.
 * Failing to open is a failed test.
 */
#ifndef TESTS_MODEL_FIXTURE_H
#define TESTS_MODEL_FIXTURE_H

#include <jansson.h>

#include "model/model.h"

#define FIXTURE_MAX_FILES 4

typedef struct fixture {
    hs_checkpoint c;
    hs_model_spec *spec;
    char *path;
    json_t *config, *goldens; /* goldens.json of the folder, or NULL */
    hs_tensor *tensors;
    const void **bytes; /* [n_tensors] */
    const void **dense; /* [spec->n_dense_tensors] */
    void *map[FIXTURE_MAX_FILES];
    size_t map_size[FIXTURE_MAX_FILES];
    uint32_t n_files;
} fixture;

/* Directory and tensors only; the spec is made by fixture_spec, so that a test can change things between. */
void fixture_open(fixture *f, const char *dir);
int fixture_spec(fixture *f, hs_err *err);
void fixture_close(fixture *f);
/* Copies a tensor's directory entry for changing; the tests own the checkpoint. */
hs_tensor *fixture_tensor(fixture *f, const char *name);

/* Experts from memory. order: 0 = as wanted, 1 = backwards, 2 = one at a time, shuffled. resident_mod: expert e is said
 * to be in memory if e % resident_mod == 0 (1 = all). fail_at: the wait call that fails, counted from 1; 0 = none. */
typedef struct memory_experts {
    const fixture *f;
    uint32_t order, resident_mod, fail_at;
    uint32_t layer, n, next, n_waits, n_held, n_hints, n_steps;
    uint32_t ids[4096], sequence[4096];
    uint32_t max_wants;
} memory_experts;
hs_experts memory_experts_init(memory_experts *x, const fixture *f);

/* A model over f with everything it needs. */
typedef struct run {
    memory_experts experts;
    hs_pool *pool;
    hs_model *model;
    hs_kv kv[4];
    uint64_t kv_bytes; /* of each */
    uint32_t n_kv;
} run;
typedef struct run_options {
    uint32_t threads, batch, chunk, context;
    hs_kv_type kv;
    hs_kernel_set kernels;
    uint32_t order, resident_mod;
    bool predict;
} run_options;
/* Zero members of o mean 1 thread, 1 sequence, a chunk of 512, a context of 512, all resident. */
void run_create(run *r, const fixture *f, run_options o);
void run_destroy(run *r);

#endif

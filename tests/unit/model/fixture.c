/* fixture.c - see fixture.h. A safetensors file: u64 header length, JSON header, data. */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"

static hs_dtype dtype_of(const char *name)
{
    for (int t = 0; t < HS_DTYPE_COUNT; t++)
        if (!strcmp(hs_dtype_name((hs_dtype)t), name))
            return (hs_dtype)t;
    return HS_DTYPE_OTHER;
}

static void add_piece(fixture *f, hs_tensor t, const char *name, const char *data)
{
    f->tensors = realloc(f->tensors, (f->c.n_tensors + 1) * sizeof *f->tensors);
    f->bytes = realloc(f->bytes, (f->c.n_tensors + 1) * sizeof *f->bytes);
    assert_true(f->tensors && f->bytes);
    t.name = strdup(name);
    f->tensors[f->c.n_tensors] = t;
    f->bytes[f->c.n_tensors++] = data;
}

static void add_tensor(fixture *f, const char *name, const json_t *t, const char *data)
{
    const json_t *shape = json_object_get(t, "shape"), *at = json_object_get(t, "data_offsets");
    hs_tensor h = {.record = HS_NO_RECORD, .dims = {1, 1, 1, 1}};
    h.dtype = dtype_of(json_string_value(json_object_get(t, "dtype")));
    h.n_dims = (uint32_t)json_array_size(shape);
    assert_true(h.n_dims <= HS_MAX_DIMS);
    for (uint32_t d = 0; d < h.n_dims; d++)
        h.dims[d] = (uint64_t)json_integer_value(json_array_get(shape, d));
    uint64_t from = (uint64_t)json_integer_value(json_array_get(at, 0));
    h.nbytes = (uint64_t)json_integer_value(json_array_get(at, 1)) - from;
    h.file = f->n_files;
    if (!hs_stacks_experts(name, h.n_dims)) {
        add_piece(f, h, name, data + from);
        return;
    }
    uint64_t n = h.dims[0];
    h.n_dims--;
    memmove(h.dims, h.dims + 1, (HS_MAX_DIMS - 1) * sizeof *h.dims);
    h.nbytes /= n;
    for (uint64_t e = 0; e < n; e++) {
        char piece[300];
        snprintf(piece, sizeof piece, "%s.%llu", name, (unsigned long long)e);
        add_piece(f, h, piece, data + from + e * h.nbytes);
    }
}

static void add_file(fixture *f, const char *path)
{
    assert_true(f->n_files < FIXTURE_MAX_FILES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(p != MAP_FAILED);
    close(fd);
    uint64_t n;
    memcpy(&n, p, sizeof n);
    assert_true(n + 8 <= (uint64_t)st.st_size);
    json_t *header;
    hs_err err;
    assert_int_equal(hs_json_load(p + 8, n, path, &header, &err), 0);
    const char *name;
    json_t *t;
    json_object_foreach(header, name, t) if (strcmp(name, "__metadata__")) add_tensor(f, name, t, p + 8 + n);
    json_decref(header);
    f->map[f->n_files] = p;
    f->map_size[f->n_files++] = (size_t)st.st_size;
}

typedef struct both {
    hs_tensor t;
    const void *bytes;
} both;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const both *)a)->t.name, ((const both *)b)->t.name);
}

static void sort_tensors(fixture *f)
{
    both *all = calloc(f->c.n_tensors, sizeof *all);
    assert_non_null(all);
    for (uint32_t i = 0; i < f->c.n_tensors; i++)
        all[i] = (both){f->tensors[i], f->bytes[i]};
    qsort(all, f->c.n_tensors, sizeof *all, by_name);
    for (uint32_t i = 0; i < f->c.n_tensors; i++) {
        f->tensors[i] = all[i].t;
        f->bytes[i] = all[i].bytes;
    }
    free(all);
    f->c.tensors = f->tensors;
}

static json_t *load_json(const char *dir, const char *name, bool required)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    json_t *j = NULL;
    hs_err err;
    int r = hs_json_load_file(path, 8u << 20, &j, &err);
    if (r < 0 && required)
        fail_msg("%s", err.text);
    return j;
}

void fixture_open(fixture *f, const char *dir)
{
    memset(f, 0, sizeof *f);
    f->path = strdup(dir);
    f->config = load_json(dir, "config.json", true);
    f->goldens = load_json(dir, "goldens.json", false);
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        char path[600];
        size_t len = strlen(list[i]->d_name);
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        if (len > 12 && !strcmp(list[i]->d_name + len - 12, ".safetensors"))
            add_file(f, path);
        free(list[i]);
    }
    free(list);
    sort_tensors(f);
    f->c.path = f->path;
    f->c.config = f->config;
}

int fixture_spec(fixture *f, hs_err *err)
{
    int r = hs_model_spec_create(&f->c, &f->spec, err);
    if (r < 0)
        return r;
    f->dense = calloc(f->spec->n_dense_tensors, sizeof *f->dense);
    assert_non_null(f->dense);
    for (uint32_t i = 0; i < f->spec->n_dense_tensors; i++)
        f->dense[i] = f->bytes[f->spec->dense_tensors[i]];
    return 0;
}

void fixture_close(fixture *f)
{
    hs_model_spec_destroy(&f->spec);
    for (uint32_t i = 0; i < f->c.n_tensors; i++)
        free((void *)(uintptr_t)f->tensors[i].name);
    for (uint32_t i = 0; i < f->n_files; i++)
        munmap(f->map[i], f->map_size[i]);
    json_decref(f->config);
    json_decref(f->goldens);
    free(f->tensors);
    free(f->bytes);
    free(f->dense);
    free(f->path);
}

hs_tensor *fixture_tensor(fixture *f, const char *name)
{
    uint32_t i = hs_checkpoint_find(&f->c, name);
    assert_int_not_equal(i, HS_NO_TENSOR);
    return &f->tensors[i];
}

static void x_step(void *self, hs_phase phase, uint32_t n_tokens)
{
    memory_experts *x = self;
    (void)phase;
    assert_true(n_tokens > 0);
    x->n_steps++;
}

static int x_begin(void *self, uint32_t moe_layer, const hs_expert_want *wants, uint32_t n, uint8_t *ret_resident,
                   hs_err *err)
{
    memory_experts *x = self;
    (void)err;
    assert_true(moe_layer < x->f->spec->n_moe_layers && n > 0 && n <= x->f->spec->n_experts);
    x->layer = moe_layer;
    x->n = n;
    x->next = 0;
    x->max_wants = n > x->max_wants ? n : x->max_wants;
    uint32_t mod = x->resident_mod ? x->resident_mod : 1, at = 0;
    for (uint32_t i = 0; i < n; i++) {
        x->ids[i] = wants[i].expert;
        assert_true(wants[i].n_tokens > 0);
        for (uint32_t j = 0; j < i; j++)
            assert_int_not_equal(x->ids[j], x->ids[i]);
        if (ret_resident)
            ret_resident[i] = wants[i].expert % mod == 0;
    }
    for (int hit = 1; hit >= 0; hit--)
        for (uint32_t i = 0; i < n; i++) {
            uint32_t w = x->order == 1 ? n - 1 - i : x->order == 2 ? (i * 7 + moe_layer) % n : i;
            if (x->order == 2 && n % 7 == 0)
                w = n - 1 - i;
            if ((x->ids[w] % mod == 0) == hit)
                x->sequence[at++] = w;
        }
    return 0;
}

static int x_wait(void *self, uint32_t max, uint32_t *ret_index, hs_expert *ret_experts, uint32_t *ret_n, hs_err *err)
{
    memory_experts *x = self;
    assert_true(x->next < x->n && max > 0);
    if (++x->n_waits == x->fail_at)
        return hs_err_set(err, -EIO, "expert %u cannot be read", x->ids[0]);
    uint32_t mod = x->resident_mod ? x->resident_mod : 1, n = 0;
    /* Hits together, misses one by one. */
    do {
        uint32_t w = x->sequence[x->next++];
        const uint32_t *parts =
            x->f->spec->expert_parts + ((size_t)x->layer * x->f->spec->n_experts + x->ids[w]) * HS_EXPERT_PARTS;
        for (int p = 0; p < HS_EXPERT_PARTS; p++)
            ret_experts[n].part[p] = parts[p] == HS_NO_TENSOR ? NULL : x->f->bytes[parts[p]];
        ret_index[n++] = w;
        x->n_held++;
    } while (n < max && x->next < x->n && x->order != 2 && x->ids[x->sequence[x->next]] % mod == 0);
    *ret_n = n;
    return 0;
}

static void x_release(void *self, uint32_t index)
{
    memory_experts *x = self;
    assert_true(index < x->n && x->n_held > 0);
    x->n_held--;
}

static void x_end(void *self)
{
    memory_experts *x = self;
    x->n_held = 0;
}

static void x_hint(void *self, uint32_t moe_layer, const hs_expert_guess *guesses, uint32_t n)
{
    memory_experts *x = self;
    assert_true(moe_layer < x->f->spec->n_moe_layers && n > 0 && n <= x->f->spec->n_experts);
    for (uint32_t i = 0; i < n; i++)
        assert_true(guesses[i].expert < x->f->spec->n_experts &&
                    (i == 0 || guesses[i].margin <= guesses[i - 1].margin));
    x->n_hints++;
}

hs_experts memory_experts_init(memory_experts *x, const fixture *f)
{
    static const hs_experts_ops ops = {
        .step = x_step, .begin = x_begin, .wait = x_wait, .release = x_release, .end = x_end, .hint = x_hint};
    *x = (memory_experts){.f = f};
    return (hs_experts){&ops, x};
}

void run_create(run *r, const fixture *f, run_options o)
{
    memset(r, 0, sizeof *r);
    hs_experts x = memory_experts_init(&r->experts, f);
    r->experts.order = o.order;
    r->experts.resident_mod = o.resident_mod;
    hs_err err = {0};
    assert_int_equal(hs_pool_create(o.threads ? o.threads : 1, &r->pool, &err), 0);
    hs_model_config cfg = {.max_batch = o.batch ? o.batch : 1,
                           .prefill_chunk = o.chunk ? o.chunk : 512,
                           .max_context = o.context ? o.context : 512,
                           .kernels = hs_kernels_get(o.kernels, &err),
                           .pool = r->pool,
                           .predict = o.predict};
    assert_non_null(cfg.kernels);
    if (hs_model_create(f->spec, &cfg, f->dense, x, &r->model, &err) < 0)
        fail_msg("%s", err.text);
    r->n_kv = cfg.max_batch;
    r->kv_bytes = hs_model_kv_bytes(f->spec, o.kv, cfg.max_context);
    for (uint32_t i = 0; i < r->n_kv; i++) {
        r->kv[i] = (hs_kv){.type = o.kv, .capacity = cfg.max_context};
        r->kv[i].data = hs_map_alloc(r->kv_bytes);
        assert_non_null(r->kv[i].data);
    }
}

void run_destroy(run *r)
{
    for (uint32_t i = 0; i < r->n_kv; i++)
        hs_map_free(r->kv[i].data, r->kv_bytes);
    hs_model_destroy(&r->model);
    hs_pool_destroy(&r->pool);
}

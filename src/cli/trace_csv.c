/* trace_csv.c - see trace_csv.h. */
#include "cli/trace_csv.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/atomic_file.h"
#include "hotset/trace_format.h"

typedef struct row {
    float weight;
    uint16_t expert;
    uint8_t resident;
    uint8_t is_set;
} row;

struct hs_trace_csv {
    hs_atomic_file *file;
    char *path;
    hs_trace_info info;
    hs_trace_layer *layers;
    row *rows; /* [chunk_tokens][n_moe_layers][top_k] */
    uint32_t first, n;
    bool decode, out_of_place;
};

static uint64_t n_rows(const hs_trace_info *info)
{
    return (uint64_t)info->chunk_tokens * info->n_moe_layers * info->top_k;
}

uint64_t hs_trace_csv_bytes(const hs_trace_info *info)
{
    return n_rows(info) * sizeof(row) + HS_ATOMIC_FILE_BYTES;
}

static void write_header(hs_trace_csv *t)
{
    const hs_trace_info *i = &t->info;
    char name[200];
    snprintf(name, sizeof name, "%s", i->model);
    for (char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ')
            *p = '_';
    hs_atomic_file_printf(t->file, HS_TRACE_MAGIC "\n# model=%s arch=%s n_layer=%u n_expert=%u n_expert_used=%u\n",
                          name, i->arch, i->n_layers, i->n_experts, i->top_k);
    for (uint32_t l = 0; l < i->n_moe_layers; l++)
        hs_atomic_file_printf(t->file, "# layer=%u expert_bytes=%llu dense_bytes=%llu\n", t->layers[l].number,
                              (unsigned long long)t->layers[l].expert_bytes,
                              (unsigned long long)t->layers[l].dense_bytes);
    hs_atomic_file_printf(t->file, HS_TRACE_HEADER "\n");
}

int hs_trace_csv_create(const char *path, const hs_trace_info *info, hs_trace_csv **ret_trace, hs_err *err)
{
    if (info->n_experts > UINT16_MAX + 1u)
        return hs_err_set(err, -E2BIG, "%s: a trace can name %u experts per layer at most", path, UINT16_MAX + 1u);
    hs_trace_csv *t = hs_calloc(1, sizeof *t);
    if (!t)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    t->info = *info;
    t->path = hs_strdup(path);
    t->layers = hs_calloc(info->n_moe_layers, sizeof *t->layers);
    t->rows = hs_calloc(n_rows(info), sizeof *t->rows);
    int r = 0;
    if (!t->path || !t->layers || !t->rows)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    else
        r = hs_atomic_file_open_gz(path, &t->file, err);
    if (r < 0) {
        hs_trace_csv_destroy(&t);
        return r;
    }
    memcpy(t->layers, info->layers, info->n_moe_layers * sizeof *t->layers);
    write_header(t);
    *ret_trace = t;
    return 0;
}

void hs_trace_csv_begin_chunk(hs_trace_csv *t, uint32_t first_position, uint32_t n, bool decode)
{
    t->first = first_position;
    t->n = n < t->info.chunk_tokens ? n : t->info.chunk_tokens;
    t->out_of_place |= t->n != n;
    t->decode = decode;
    memset(t->rows, 0, (size_t)t->n * t->info.n_moe_layers * t->info.top_k * sizeof *t->rows);
}

void hs_trace_csv_on_route(void *ctx, const hs_route_event *ev)
{
    hs_trace_csv *t = ctx;
    uint32_t l = 0;
    while (l < t->info.n_moe_layers && t->layers[l].number != ev->layer)
        l++;
    if (l == t->info.n_moe_layers || ev->position < t->first || ev->position - t->first >= t->n ||
        ev->top_k != t->info.top_k) {
        t->out_of_place = true;
        return;
    }
    row *rows = t->rows + ((size_t)(ev->position - t->first) * t->info.n_moe_layers + l) * t->info.top_k;
    for (uint32_t k = 0; k < ev->top_k; k++)
        rows[k] = (row){ev->normalised[k], (uint16_t)ev->experts[k], ev->resident ? ev->resident[k] : 0, 1};
}

void hs_trace_csv_end_chunk(hs_trace_csv *t)
{
    const row *r = t->rows;
    for (uint32_t i = 0; i < t->n; i++) {
        for (uint32_t l = 0; l < t->info.n_moe_layers; l++) {
            for (uint32_t k = 0; k < t->info.top_k; k++, r++) {
                t->out_of_place |= !r->is_set;
                hs_atomic_file_printf(t->file, "0,%d,%u,%u,%u,%u,%.8f,%u,%llu\n", t->decode, t->first + i,
                                      t->layers[l].number, k, r->expert, (double)r->weight, r->resident,
                                      r->resident ? 0ull : (unsigned long long)t->layers[l].expert_bytes);
            }
        }
    }
    t->n = 0;
}

int hs_trace_csv_commit(hs_trace_csv *t, hs_err *err)
{
    if (t->out_of_place)
        return hs_err_set(err, -EINVAL, "%s: the model did not report every routing decision", t->path);
    return hs_atomic_file_commit(t->file, err);
}

void hs_trace_csv_destroy(hs_trace_csv **trace)
{
    hs_trace_csv *t = *trace;
    if (!t)
        return;
    hs_atomic_file_close(&t->file);
    hs_free(t->layers);
    hs_free(t->rows);
    hs_free(t->path);
    hs_free(t);
    *trace = NULL;
}

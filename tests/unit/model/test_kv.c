/* labels: unit */
/* test_kv.c - rows of the cache: what comes back of each type, from any value on, and what they take. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model_int.h"

#define ROW      50u /* a block of 32, and 18 values */
#define CAPACITY 5u
#define LAYERS   3u

typedef struct cache {
    hs_arch arch;
    hs_model_spec spec;
    hs_model m;
    hs_kv kv;
    uint64_t bytes;
} cache;

static void cache_init(cache *c, hs_kv_type type, hs_kernel_set set)
{
    *c = (cache){.arch = {.kv_row = ROW}, .spec = {.n_layers = LAYERS}};
    c->spec.detail = &c->arch;
    c->m = (hs_model){.a = &c->arch, .spec = &c->spec, .k = hs_kernels_get(set, NULL)};
    c->bytes = hs_model_kv_bytes(&c->spec, type, CAPACITY);
    c->kv = (hs_kv){.type = type, .capacity = CAPACITY, .data = aligned_alloc(64, c->bytes)};
    assert_non_null(c->kv.data);
}

static float value(uint32_t layer, uint32_t position, uint32_t i)
{
    uint32_t u = (layer * 7919u + position * 104729u + i) * 2654435761u;
    return ((float)(u >> 8) / 8388608.0f - 1.0f) * (i < 32 ? 3.0f : 0.01f);
}

static void rows_come_back(void **state)
{
    (void)state;
    static const float worst[] = {[HS_KV_F32] = 0, [HS_KV_F16] = 0x1p-11f, [HS_KV_Q8] = 0.5f / 127 * 1.002f};
    for (int type = HS_KV_F32; type <= HS_KV_Q8; type++) {
        cache c;
        cache_init(&c, (hs_kv_type)type, HS_KERNELS_AUTO);
        float row[ROW], out[ROW];
        for (uint32_t l = 0; l < LAYERS; l++)
            for (uint32_t p = 0; p < CAPACITY; p++) {
                for (uint32_t i = 0; i < ROW; i++)
                    row[i] = value(l, p, i);
                hs__kv_write(&c.m, &c.kv, l, p, row);
            }
        for (uint32_t at = 0; at < LAYERS * CAPACITY * ROW; at++) {
            uint32_t l = at / ROW / CAPACITY, p = at / ROW % CAPACITY, first = at % ROW, n = 1 + at % (ROW - first);
            hs__kv_read(&c.m, &c.kv, l, p, first, n, out);
            for (uint32_t i = 0; i < n; i++) {
                float most = first + i < 32 ? 3.0f : 0.01f;
                assert_true(fabsf(out[i] - value(l, p, first + i)) <= worst[type] * most);
            }
        }
        free(c.kv.data);
    }
}

static void kernels_agree_on_8_bits(void **state)
{
    (void)state;
    cache a, b;
    cache_init(&a, HS_KV_Q8, HS_KERNELS_GENERIC);
    cache_init(&b, HS_KV_Q8, HS_KERNELS_AUTO);
    float row[ROW], x[ROW], y[ROW];
    for (uint32_t i = 0; i < ROW; i++)
        row[i] = value(1, 2, i);
    hs__kv_write(&a.m, &a.kv, 1, 2, row);
    hs__kv_write(&b.m, &b.kv, 1, 2, row);
    hs__kv_read(&a.m, &a.kv, 1, 2, 0, ROW, x);
    hs__kv_read(&b.m, &b.kv, 1, 2, 0, ROW, y);
    assert_memory_equal(x, y, sizeof x);
    free(a.kv.data);
    free(b.kv.data);
}

/* Zeros stay zeros; what is not finite does not become a number; the other block is not touched by it. */
static void blocks_with_odd_values(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    cache c;
    cache_init(&c, HS_KV_Q8, HS_KERNELS_AUTO);
    float row[ROW] = {0}, out[ROW];
    hs__kv_write(&c.m, &c.kv, 0, 0, row);
    hs__kv_read(&c.m, &c.kv, 0, 0, 0, ROW, out);
    assert_memory_equal(row, out, sizeof row);
    for (size_t k = 0; k < 3; k++) {
        for (uint32_t i = 0; i < ROW; i++)
            row[i] = 1;
        row[7] = odd[k];
        hs__kv_write(&c.m, &c.kv, 0, 0, row);
        hs__kv_read(&c.m, &c.kv, 0, 0, 0, ROW, out);
        for (uint32_t i = 0; i < ROW; i++)
            assert_true(i < 32 ? isnan(out[i]) : fabsf(out[i] - 1) < 1e-3f);
    }
    free(c.kv.data);
}

static void bytes_of_types(void **state)
{
    (void)state;
    hs_arch a = {.kv_row = 576};
    assert_int_equal(hs__kv_row_bytes(&a, HS_KV_F32), 2304);
    assert_int_equal(hs__kv_row_bytes(&a, HS_KV_F16), 1152);
    assert_int_equal(hs__kv_row_bytes(&a, HS_KV_Q8), 612);
    a.kv_row = ROW;
    assert_int_equal(hs__kv_row_bytes(&a, HS_KV_Q8), 68);
    cache c;
    cache_init(&c, HS_KV_Q8, HS_KERNELS_AUTO);
    assert_int_equal(c.bytes, LAYERS * 384); /* 340 rounded up to 64 */
    assert_ptr_equal(hs__kv_row(&c.m, &c.kv, 2, 4), (char *)c.kv.data + 2 * 384 + 4 * 68);
    free(c.kv.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(kernels_agree_on_8_bits),
        cmocka_unit_test(blocks_with_odd_values),
        cmocka_unit_test(bytes_of_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

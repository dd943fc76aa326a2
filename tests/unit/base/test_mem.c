/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "base/mem.h"

static void allocations(void **state)
{
    (void)state;
    char *p = hs_malloc(0), *q = hs_calloc(0, 0), *r = hs_calloc(10, 10);
    assert_true(p && q && r);
    for (int i = 0; i < 100; i++)
        assert_int_equal(r[i], 0);
    hs_free(p);
    hs_free(q);
    hs_free(r);
    hs_free(NULL);
    volatile size_t huge = SIZE_MAX / 2 + 2;
    assert_null(hs_calloc(huge, 2));
}

static void strings(void **state)
{
    (void)state;
    char *a = hs_strdup("abc"), *b = hs_strndup("abcdef", 2), *c = hs_strndup("ab", 10),
         *d = hs_asprintf("%d-%s", 5, "x");
    assert_string_equal(a, "abc");
    assert_string_equal(b, "ab");
    assert_string_equal(c, "ab");
    assert_string_equal(d, "5-x");
    hs_free(a);
    hs_free(b);
    hs_free(c);
    hs_free(d);
}

static void growth(void **state)
{
    (void)state;
    uint16_t *a = NULL;
    size_t cap = 0;
    for (size_t n = 1; n <= 1000; n++) {
        size_t before = cap;
        assert_int_equal(hs_grow(&a, sizeof *a, n, &cap, 1000), 0);
        assert_true(cap >= n && cap <= 1000 && cap >= before);
        a[n - 1] = (uint16_t)n;
    }
    assert_int_equal(cap, 1000);
    assert_int_equal(hs_grow(&a, sizeof *a, 1001, &cap, 1000), -E2BIG);
    assert_int_equal(hs_grow(&a, SIZE_MAX / 4, 1001, &cap, 5000), -ENOMEM);
    assert_int_equal(cap, 1000);
    a = hs_shrink(a, 10 * sizeof *a);
    for (size_t n = 1; n <= 10; n++)
        assert_int_equal(a[n - 1], n);
    hs_free(a);
}

static void mappings(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, 5000, (2u << 20) - 1, 2u << 20, (2u << 20) + 1, 9u << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = hs_map_alloc(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (sizes[i] >= 2u << 20 ? 2u << 20 : 4096u), 0);
        assert_true(p[0] == 0 && p[sizes[i] - 1] == 0);
        p[0] = p[sizes[i] - 1] = 1;
        hs_map_touch(p, sizes[i]);
        assert_true(p[0] == 1 && p[sizes[i] - 1] == 1);
        hs_map_free(p, sizes[i]);
    }
    assert_null(hs_map_alloc(0));
    assert_null(hs_map_alloc(SIZE_MAX));
    assert_null(hs_map_alloc(SIZE_MAX / 2));
    hs_map_free(NULL, 100);
}

static void failures_on_demand(void **state)
{
    (void)state;
    hs_mem_fail_after(2);
    char *grown = NULL;
    void *a = hs_malloc(1), *b = hs_strdup("x");
    assert_true(a && b);
    assert_null(hs_malloc(1));
    assert_null(hs_calloc(1, 1));
    size_t cap = 0;
    assert_int_equal(hs_grow(&grown, 1, 1, &cap, 1), -ENOMEM);
    assert_null(hs_map_alloc(1));
    assert_null(hs_asprintf("x"));
    assert_int_equal(hs_mem_count(), 7);
    hs_mem_fail_after(-1);
    assert_int_equal(hs_mem_count(), 0);
    hs_free(a);
    hs_free(b);
}

static void arithmetic(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_true(hs_mul_u64(1ull << 32, 1ull << 31, &v) == 0 && v == 1ull << 63);
    assert_int_equal(hs_mul_u64(1ull << 32, 1ull << 32, &v), -1);
    assert_true(hs_add_u64(UINT64_MAX, 0, &v) == 0 && v == UINT64_MAX);
    assert_int_equal(hs_add_u64(UINT64_MAX, 1, &v), -1);
    assert_true(hs_align_up(0, 64) == 0 && hs_align_up(1, 64) == 64 && hs_align_up(64, 64) == 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations),
        cmocka_unit_test(strings),
        cmocka_unit_test(growth),
        cmocka_unit_test(mappings),
        cmocka_unit_test(failures_on_demand),
        cmocka_unit_test(arithmetic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

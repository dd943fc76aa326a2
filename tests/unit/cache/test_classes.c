/* labels: unit */
/* Which layers share a class, and how slots are divided: exact at both ends, and never more of a class with fewer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "canary.h"

#define MiB (1ull << 20)

static void one_size_is_one_class(void **state)
{
    (void)state;
    const uint64_t same[] = {5, 5, 5}, near[] = {1000 * MiB, 990 * MiB, 995 * MiB, 1000 * MiB};
    hs_classes c;
    hs_classes_make(&c, NULL, 3, 16, 4);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.of[0].objects, 48);
    hs_classes_make(&c, same, 3, 16, 4);
    assert_int_equal(c.n, 1);
    assert_int_equal(hs_classes_floor(&c), 4);
    for (uint32_t n = 0; n <= 60; n++) {
        uint32_t slots[HS_CLASSES_MAX];
        hs_classes_split(&c, n, slots);
        assert_int_equal(slots[0], n < 48 ? n : 48);
        assert_int_equal(hs_classes_bytes(&c, n), 5 * slots[0]);
        assert_int_equal(hs_classes_fit(&c, 5 * n + 4), slots[0]);
    }
    hs_classes_make(&c, near, 4, 16, 4); /* a hundredth is not worth a cut */
    assert_int_equal(c.n, 1);
    assert_int_equal(c.of[0].bytes, 1000 * MiB);
    hs_classes_make(&c, same, 1, 3, 4); /* a layer needs no more slots than it has objects */
    assert_int_equal(hs_classes_floor(&c), 3);
    hs_classes_make(&c, same, 1, 3, 0);
    assert_int_equal(hs_classes_floor(&c), 1);
}

/* Half of the layers with a Q6_K down matrix among Q4_K. */
static void two_sizes_are_two_classes(void **state)
{
    (void)state;
    uint64_t bytes[48];
    for (uint32_t l = 0; l < 48; l++)
        bytes[l] = l % 2 ? 2654208 : 3059712;
    hs_classes c;
    hs_classes_make(&c, bytes, 48, 128, 8);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.of[0].bytes, 3059712);
    assert_int_equal(c.of[1].bytes, 2654208);
    assert_int_equal(c.of[0].objects, 24 * 128);
    assert_int_equal(hs_classes_find(&c, 2654208), 1);
    assert_int_equal(hs_classes_find(&c, 3059712), 0);
    assert_int_equal(hs_classes_floor(&c), 16);
    assert_int_equal(hs_classes_objects(&c), 48 * 128);
    uint32_t one = hs_classes_fit(&c, 100 * 3059712ull), slots[HS_CLASSES_MAX];
    hs_classes_split(&c, one, slots);
    assert_int_equal(one, 107); /* instead of 100 */
    assert_int_equal(slots[0], 53);
    assert_int_equal(slots[1], 54);
}

/* What one class wastes must be a fiftieth of all. */
static void a_cut_has_its_price(void **state)
{
    (void)state;
    const uint64_t under[] = {1000 * MiB, 970 * MiB}, over[] = {1000 * MiB, 955 * MiB};
    hs_classes c;
    hs_classes_make(&c, under, 2, 16, 4);
    assert_int_equal(c.n, 1);
    hs_classes_make(&c, over, 2, 16, 4);
    assert_int_equal(c.n, 2);
}

/* A layer that differs is worth a cut only if it is big, so that all others would waste. */
static void a_single_layer(void **state)
{
    (void)state;
    uint64_t bytes[48];
    for (uint32_t l = 0; l < 48; l++)
        bytes[l] = (l ? 1000 : 800) * MiB;
    hs_classes c;
    hs_classes_make(&c, bytes, 48, 128, 8);
    assert_int_equal(c.n, 1);
    for (uint32_t l = 0; l < 48; l++)
        bytes[l] = (l ? 1000 : 1250) * MiB;
    hs_classes_make(&c, bytes, 48, 128, 8);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.of[0].objects, 128);
}

static void more_sizes_than_classes(void **state)
{
    (void)state;
    uint64_t bytes[40];
    for (uint32_t l = 0; l < 40; l++)
        bytes[l] = (l * 17 % 40 + 1) * MiB;
    hs_classes c;
    hs_classes_make(&c, bytes, 40, 10, 2);
    assert_true(c.n > 1 && c.n <= HS_CLASSES_MAX);
    assert_int_equal(c.of[0].bytes, 40 * MiB);
    assert_int_equal(hs_classes_objects(&c), 400);
    for (uint32_t l = 0; l < 40; l++)
        assert_true(c.of[hs_classes_find(&c, bytes[l])].bytes >= bytes[l]);
}

static void check_split(const hs_classes *c)
{
    uint32_t before[HS_CLASSES_MAX] = {0}, floor = hs_classes_floor(c), objects = hs_classes_objects(c);
    for (uint32_t n = 0; n <= objects + 2; n++) {
        uint32_t slots[HS_CLASSES_MAX], sum = 0;
        hs_classes_split(c, n, slots);
        for (uint32_t i = 0; i < c->n; i++) {
            assert_true(slots[i] >= before[i]);
            assert_true(n < floor || slots[i] >= c->of[i].floor);
            assert_true(slots[i] <= c->of[i].objects);
            double fair = (double)c->of[i].objects * n / objects;
            assert_true(n < floor || slots[i] + floor + c->n >= fair);
            before[i] = slots[i];
            sum += slots[i];
        }
        assert_int_equal(sum, n < objects ? n : objects);
        uint64_t bytes = hs_classes_bytes(c, n);
        if (n <= objects) {
            assert_int_equal(hs_classes_fit(c, bytes), n);
            assert_true(n == 0 || hs_classes_fit(c, bytes - 1) == n - 1);
        }
    }
    assert_int_equal(hs_classes_fit(c, UINT64_MAX), objects);
}

static void every_split_is_monotone(void **state)
{
    (void)state;
    uint32_t rng = 3;
    for (uint32_t i = 0; i < 300; i++) {
        uint64_t bytes[12];
        uint32_t layers = 1 + roll(&rng, 12), sizes = 1 + roll(&rng, 9);
        for (uint32_t l = 0; l < layers; l++)
            bytes[l] = 4096 * (10 + 9 * roll(&rng, sizes));
        hs_classes c;
        hs_classes_make(&c, bytes, layers, 1 + roll(&rng, 20), 1 + roll(&rng, 6));
        check_split(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_size_is_one_class),   cmocka_unit_test(two_sizes_are_two_classes),
        cmocka_unit_test(a_cut_has_its_price),     cmocka_unit_test(a_single_layer),
        cmocka_unit_test(more_sizes_than_classes), cmocka_unit_test(every_split_is_monotone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

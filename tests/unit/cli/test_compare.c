/* labels: unit */
/* When one way counts as faster than another: what must be told apart is, what is noise is not, how often it errs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "cli/compare.h"

#define LEAST 0.03
#define MAX   HS_COMPARE_MAX

/* In [-1, 1). */
static double noise(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(*seed >> 11) * 0x1p-52 - 1;
}

/* n pairs whose speeds differ by gain, each within `spread` of what it should be, while both drift. */
static hs_comparison pairs(uint32_t n, double gain, double spread, uint32_t rivals, uint64_t *seed)
{
    double with[MAX], now[MAX];
    for (uint32_t i = 0; i < n; i++) {
        double drift = 5 + i;
        with[i] = drift * (1 + gain) * (1 + spread * noise(seed));
        now[i] = drift * (1 + spread * noise(seed));
    }
    return hs_compare(with, now, n, LEAST, rivals);
}

static void clear_cases(void **state)
{
    (void)state;
    uint64_t seed = 1;
    assert_int_equal(pairs(6, 0.10, 0.01, 1, &seed).verdict, HS_VERDICT_BETTER);
    assert_int_equal(pairs(6, -0.10, 0.01, 1, &seed).verdict, HS_VERDICT_WORSE);
    assert_int_equal(pairs(6, 0, 0.005, 1, &seed).verdict, HS_VERDICT_SAME);
    assert_int_equal(pairs(6, 0.015, 0.002, 1, &seed).verdict, HS_VERDICT_SAME); /* sure, and not worth it */
    assert_int_equal(pairs(6, 0, 0.3, 1, &seed).verdict, HS_VERDICT_OPEN);
    hs_comparison c = pairs(20, 0.10, 0.01, 1, &seed);
    assert_true(c.low <= c.gain && c.gain <= c.high && fabs(c.gain - 0.10) < 0.01 && c.low > 0.08 && c.high < 0.12);
    assert_int_equal(c.n, 20);
    assert_int_equal(c.needs, 20);
}

static void too_few(void **state)
{
    (void)state;
    const double with[] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, now[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (uint32_t n = 0; n < 6; n++) {
        hs_comparison c = hs_compare(with, now, n, LEAST, 1);
        assert_int_equal(c.verdict, HS_VERDICT_OPEN);
        assert_int_equal(c.needs, 6);
    }
    assert_int_equal(hs_compare(with, now, 6, LEAST, 1).verdict, HS_VERDICT_BETTER);
    /* 2^-n <= 0.025 / rivals */
    assert_int_equal(hs_compare(with, now, 6, LEAST, 2).verdict, HS_VERDICT_OPEN);
    assert_int_equal(hs_compare(with, now, 7, LEAST, 3).verdict, HS_VERDICT_BETTER);
    assert_int_equal(hs_compare(with, now, 8, LEAST, 11).verdict, HS_VERDICT_OPEN);
    assert_int_equal(hs_compare(with, now, 9, LEAST, 11).verdict, HS_VERDICT_BETTER);
    /* One that is out of line: six pairs all count, of nine one may lie beyond each end. */
    const double odd[] = {2, 2, 0.5, 2, 2, 2, 2, 2, 2};
    assert_int_equal(hs_compare(odd, now, 6, LEAST, 1).verdict, HS_VERDICT_OPEN);
    assert_int_equal(hs_compare(odd, now, 9, LEAST, 1).verdict, HS_VERDICT_BETTER);
}

static void nothing_to_divide(void **state)
{
    (void)state;
    const double zero[8] = {0}, one[] = {1, 1, 1, 1, 1, 1, 1, 1};
    hs_comparison c = hs_compare(zero, zero, 8, LEAST, 1);
    assert_int_equal(c.verdict, HS_VERDICT_SAME);
    assert_true(c.gain == 0 && c.low == 0 && c.high == 0);
    c = hs_compare(one, zero, 8, LEAST, 1);
    assert_int_equal(c.verdict, HS_VERDICT_BETTER);
    assert_true(isfinite(c.gain) && isfinite(c.high));
    c = hs_compare(zero, one, 8, LEAST, 1);
    assert_int_equal(c.verdict, HS_VERDICT_WORSE);
    assert_true(c.gain == -1);
}

/* It errs as seldom as it says: of ways that are the same, 5 % at most in all are called better or worse; and it finds
 * what is there. */
static void how_often(void **state)
{
    (void)state;
    const uint32_t rounds = 4000;
    uint64_t seed = 7;
    for (uint32_t n = 6; n <= 40; n += 17) {
        uint32_t wrong = 0, found = 0, families = 0;
        for (uint32_t i = 0; i < rounds; i++) {
            hs_verdict v = pairs(n, 0, 0.2, 1, &seed).verdict;
            wrong += v == HS_VERDICT_BETTER || v == HS_VERDICT_WORSE;
            found += pairs(n, 0.3, 0.2, 1, &seed).verdict == HS_VERDICT_BETTER;
            uint32_t some = 0;
            for (uint32_t k = 0; k < 3; k++) {
                v = pairs(n, 0, 0.2, 3, &seed).verdict;
                some += v == HS_VERDICT_BETTER || v == HS_VERDICT_WORSE;
            }
            families += some > 0;
        }
        assert_true(wrong <= rounds * 6 / 100 && families <= rounds * 6 / 100);
        assert_true(n < 20 || found > rounds * 9 / 10);
    }
}

/* What it says it needs is of the right size: with so many pairs most are decided. */
static void needs(void **state)
{
    (void)state;
    uint64_t seed = 3;
    uint32_t decided = 0, open = 0;
    for (uint32_t i = 0; i < 400; i++) {
        hs_comparison c = pairs(10, 0.06, 0.1, 1, &seed);
        if (c.verdict != HS_VERDICT_OPEN)
            continue;
        assert_true(c.needs > 10);
        open++;
        decided += c.needs <= MAX && pairs(c.needs, 0.06, 0.1, 1, &seed).verdict != HS_VERDICT_OPEN;
    }
    assert_true(open > 100 && decided * 2 > open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clear_cases), cmocka_unit_test(too_few), cmocka_unit_test(nothing_to_divide),
        cmocka_unit_test(how_often),   cmocka_unit_test(needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

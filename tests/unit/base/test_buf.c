/* labels: unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static void appends_and_takes(void **state)
{
    (void)state;
    hs_buf b;
    hs_buf_init(&b, 100);
    assert_int_equal(hs_buf_puts(&b, "one "), 0);
    assert_int_equal(hs_buf_printf(&b, "%d%s", 2, " three"), 0);
    assert_int_equal(hs_buf_append(&b, "\0x", 2), 0);
    assert_int_equal(b.len, 13);
    assert_memory_equal(b.data, "one 2 three\0x", 14);
    hs_buf_consume(&b, 4);
    assert_string_equal(b.data, "2 three");
    hs_buf_consume(&b, 0);
    char *s = hs_buf_take(&b);
    assert_string_equal(s, "2 three");
    hs_free(s);
    assert_int_equal(b.len, 0);
    s = hs_buf_take(&b); /* of an empty one: an empty string */
    assert_string_equal(s, "");
    hs_free(s);
    hs_buf_deinit(&b);
}

static void maximum_is_kept(void **state)
{
    (void)state;
    hs_buf b;
    hs_buf_init(&b, 10);
    assert_int_equal(hs_buf_append(&b, "0123456789", 10), 0);
    assert_string_equal(b.data, "0123456789");
    assert_true(b.cap <= 11);
    assert_int_equal(hs_buf_puts(&b, "x"), -E2BIG);
    assert_int_equal(b.len, 10);
    assert_int_equal(hs_buf_puts(&b, ""), -E2BIG); /* sticky */
    assert_null(hs_buf_take(&b));
    hs_buf_init(&b, 10);
    assert_int_equal(hs_buf_printf(&b, "%s", "01234567890"), -E2BIG);
    assert_int_equal(b.len, 0);
    hs_buf_clear(&b);
    assert_int_equal(hs_buf_puts(&b, "ok"), 0);
    hs_buf_deinit(&b);
    hs_buf_init(&b, 0);
    assert_int_equal(hs_buf_append(&b, "x", 1), -E2BIG);
    hs_buf_deinit(&b);
    hs_buf_init(&b, SIZE_MAX);
    assert_int_equal(hs_buf_puts(&b, "fine"), 0);
    hs_buf_deinit(&b);
}

static void memory_runs_out(void **state)
{
    (void)state;
    hs_buf b;
    hs_buf_init(&b, 1000);
    assert_int_equal(hs_buf_puts(&b, "kept"), 0);
    hs_mem_fail_after(0);
    char big[200];
    memset(big, 'x', sizeof big);
    assert_int_equal(hs_buf_append(&b, big, sizeof big), -ENOMEM);
    hs_mem_fail_after(-1);
    assert_string_equal(b.data, "kept");
    hs_buf_deinit(&b);
}

/* Against a plain array. */
static void random_operations(void **state)
{
    (void)state;
    enum { MAX = 300 };
    char model[MAX + 1];
    size_t len = 0;
    uint32_t seed = 5;
    hs_buf b;
    hs_buf_init(&b, MAX);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525u + 1013904223u;
        size_t n = (seed >> 10) % 40;
        if (seed >> 30) {
            char piece[40];
            memset(piece, (int)('a' + i % 26), sizeof piece);
            int r = hs_buf_append(&b, piece, n);
            if (len + n > MAX) {
                assert_int_equal(r, -E2BIG);
                hs_buf_clear(&b);
                len = 0;
            } else {
                assert_int_equal(r, 0);
                memcpy(model + len, piece, n);
                len += n;
            }
        } else {
            n = n > len ? len : n;
            hs_buf_consume(&b, n);
            memmove(model, model + n, len - n);
            len -= n;
        }
        assert_int_equal(b.len, len);
        if (b.data) {
            assert_memory_equal(b.data, model, len);
            assert_int_equal(b.data[len], 0);
        }
    }
    hs_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_takes),
        cmocka_unit_test(maximum_is_kept),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* labels: unit fault */
/* gzip data: piece by piece in both directions, members one after another, damage with its place, no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/gzip.h"

#define TEXT_BYTES 100000

static char text[TEXT_BYTES];

static int fill_text(void **state)
{
    uint32_t x = 1;
    (void)state;
    for (size_t i = 0; i < TEXT_BYTES; i++) {
        x = x * 1664525 + 1013904223;
        text[i] = "0123456789,\n"[(x >> 24) % 12];
    }
    return 0;
}

/* text[n], given and taken in pieces of so many bytes. */
static size_t pack(size_t n, size_t in, size_t out, char *to)
{
    hs_gzip *z;
    size_t used = 0;
    assert_int_equal(hs_gzip_create(&z), 0);
    for (size_t at = 0; at <= n; at += in) {
        const void *data = text + at;
        size_t left = n - at < in ? n - at : in;
        bool is_last = n - at < in, more = true;
        while (more)
            used += hs_gzip_write(z, &data, &left, is_last, to + used, out, &more);
        assert_int_equal(left, 0);
    }
    hs_gzip_destroy(&z);
    assert_null(z);
    return used;
}

static int unpack(const char *data, size_t n, size_t piece, char *to, size_t *ret_n, hs_err *err)
{
    hs_gunzip *z;
    size_t got = 1;
    int r = hs_gunzip_create(data, n, &z);
    *ret_n = 0;
    while (r == 0 && got > 0) {
        assert_true(*ret_n + piece <= 3 * TEXT_BYTES);
        r = hs_gunzip_read(z, "f.gz", to + *ret_n, piece, &got, err);
        *ret_n += r == 0 ? got : 0;
    }
    if (r != -ENOMEM)
        hs_gunzip_destroy(&z);
    return r;
}

static void test_pieces(void **state)
{
    (void)state;
    static char a[TEXT_BYTES], b[TEXT_BYTES], back[3 * TEXT_BYTES];
    static const size_t sizes[] = {0, 1, 4000, TEXT_BYTES};
    for (size_t i = 0; i < 4; i++) {
        size_t n = sizes[i], got, packed = pack(n, TEXT_BYTES + 1, TEXT_BYTES, a);
        assert_true(hs_is_gzip(a, packed) && !hs_is_gzip(a, 1) && !hs_is_gzip(text, n));
        assert_int_equal(pack(n, 777, 13, b), packed);
        assert_memory_equal(a, b, packed);
        for (size_t piece = 1; piece <= TEXT_BYTES; piece *= 100) {
            assert_int_equal(unpack(a, packed, piece, back, &got, NULL), 0);
            assert_int_equal(got, n);
            assert_memory_equal(back, text, n);
        }
    }
}

static void test_members(void **state)
{
    (void)state;
    static char a[TEXT_BYTES], back[3 * TEXT_BYTES];
    size_t got, n = pack(5000, 5001, TEXT_BYTES, a);
    n += pack(0, 1, TEXT_BYTES, a + n);
    n += pack(3000, 3001, TEXT_BYTES - n, a + n);
    assert_int_equal(unpack(a, n, 100, back, &got, NULL), 0);
    assert_int_equal(got, 8000);
    assert_memory_equal(back, text, 5000);
    assert_memory_equal(back + 5000, text, 3000);
}

static void test_damage(void **state)
{
    (void)state;
    static char a[TEXT_BYTES], back[3 * TEXT_BYTES];
    char sentence[96];
    size_t got, n = pack(20000, 20001, TEXT_BYTES, a);
    hs_err err;
    for (size_t cut = 2; cut < n; cut += cut < 30 || n - cut < 30 ? 1 : 997) {
        assert_int_equal(unpack(a, cut, 512, back, &got, &err), -EBADMSG);
        snprintf(sentence, sizeof sentence, "f.gz: the gzip data ends too early, after %zu bytes", cut);
        assert_string_equal(err.text, sentence);
    }
    for (size_t at = n / 2; at < n; at += 1 + n / 50) {
        a[at] ^= 0x10;
        assert_int_equal(unpack(a, n, 512, back, &got, &err), -EBADMSG);
        a[at] ^= 0x10;
        assert_non_null(strstr(err.text, "f.gz: the gzip data "));
    }
    a[n - 1] ^= 1;
    assert_int_equal(unpack(a, n, 512, back, &got, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "is damaged at byte"));
    assert_non_null(strstr(err.text, "incorrect length check"));
    a[n - 1] ^= 1;
    memcpy(a + n, "more", 4);
    assert_int_equal(unpack(a, n + 4, 512, back, &got, &err), -EBADMSG);
    assert_int_equal(got, 20000);
}

static void test_no_memory(void **state)
{
    (void)state;
    static char a[TEXT_BYTES], back[3 * TEXT_BYTES];
    size_t got, n = pack(20000, 20001, TEXT_BYTES, a);
    hs_gzip *z;
    int64_t failed = 0;
    for (bool done = false; !done; failed++) {
        hs_mem_fail_after(failed);
        int r = hs_gzip_create(&z);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || r == -ENOMEM);
        done = r == 0;
        if (done)
            hs_gzip_destroy(&z);
    }
    assert_true(failed > 3);
    hs_mem_fail_after(0);
    hs_gunzip *g;
    assert_int_equal(hs_gunzip_create(a, n, &g), -ENOMEM);
    hs_mem_fail_after(1);
    assert_int_equal(hs_gunzip_create(a, n, &g), -ENOMEM);
    hs_mem_fail_after(-1);
    assert_int_equal(unpack(a, n, 512, back, &got, NULL), 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(hs_is_gzip_name("a.gz") && hs_is_gzip_name("/x/routes.csv.gz"));
    assert_false(hs_is_gzip_name(".gz") || hs_is_gzip_name("a.gzip") || hs_is_gzip_name("gz") || hs_is_gzip_name(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces), cmocka_unit_test(test_members),
                                       cmocka_unit_test(test_damage), cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, fill_text, NULL);
}

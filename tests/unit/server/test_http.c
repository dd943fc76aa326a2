/* labels: unit */
/* test_http.c - the request parser: the same result however the bytes are cut, and every limit. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "server/http.h"

static hs__budget budget;

/* Feeds text in pieces of `step` bytes; the last event, and in *ret_heads how many heads were reported. */
static hs__http_event feed(hs__http *h, const char *text, size_t step, int *ret_heads)
{
    size_t n = strlen(text), at = 0;
    hs__http_event ev = HS__HTTP_MORE;
    *ret_heads = 0;
    while (ev != HS__HTTP_DONE && ev != HS__HTTP_ERROR) {
        size_t used, piece = n - at < step ? n - at : step;
        ev = hs__http_feed(h, text + at, piece, &used);
        assert_true(used <= piece);
        at += used;
        *ret_heads += ev == HS__HTTP_HEAD;
        if (ev == HS__HTTP_MORE && at == n)
            break;
    }
    return ev;
}

static void setup_parser(hs__http *h)
{
    budget = (hs__budget){.max = 1000};
    hs__http_init(h, 300, 600, &budget);
}

static const char request[] =
    "POST /v1/x?a=b HTTP/1.1\r\nHOST: example\r\nOrigin:  http://o  \r\nContent-Type: application/json\r\n"
    "Content-Length: 5\r\nAuthorization: Bearer k\r\n\r\nhello";

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof request; step++) {
        hs__http h;
        int heads;
        setup_parser(&h);
        assert_int_equal(feed(&h, request, step, &heads), HS__HTTP_DONE);
        assert_int_equal(heads, 1);
        assert_string_equal(h.head.method, "POST");
        assert_string_equal(h.head.path, "/v1/x");
        assert_string_equal(h.head.host.text, "example");
        assert_string_equal(h.head.content_type.text, "application/json");
        assert_string_equal(h.head.origin.text, "http://o");
        assert_string_equal(h.head.authorization.text, "Bearer k");
        assert_true(h.head.keep_alive);
        assert_string_equal(h.body.data, "hello");
        assert_true(budget.used >= 5);
        hs__http_deinit(&h);
        assert_int_equal(budget.used, 0);
    }
}

static void test_two_in_a_row(void **state)
{
    (void)state;
    hs__http h;
    size_t used;
    setup_parser(&h);
    static const char two[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_int_equal(hs__http_feed(&h, two, sizeof two - 1, &used), HS__HTTP_HEAD);
    size_t at = used;
    assert_int_equal(hs__http_feed(&h, two + at, sizeof two - 1 - at, &used), HS__HTTP_DONE);
    at += used;
    assert_int_equal(at, (sizeof two - 1) / 2);
    hs__http_next(&h);
    assert_false(h.begun);
    assert_int_equal(hs__http_feed(&h, two + at, sizeof two - 1 - at, &used), HS__HTTP_HEAD);
    assert_string_equal(h.head.path, "/b");
    hs__http_deinit(&h);
}

static void check_status(const char *text, int status)
{
    for (size_t step = 1; step < 40; step += 13) {
        hs__http h;
        int heads;
        setup_parser(&h);
        assert_int_equal(feed(&h, text, step, &heads), HS__HTTP_ERROR);
        if (h.status != status)
            fail_msg("%d instead of %d for: %s", h.status, status, text);
        assert_non_null(h.sentence);
        size_t used;
        assert_int_equal(hs__http_feed(&h, "x", 1, &used), HS__HTTP_ERROR);
        hs__http_deinit(&h);
        assert_int_equal(budget.used, 0);
    }
}

static void test_refused(void **state)
{
    (void)state;
    char text[2000], big[1001];
    memset(big, 'a', 1000);
    big[1000] = '\0';
    snprintf(text, sizeof text, "GET /x HTTP/1.1\r\nHost: x\r\nA: %.400s\r\n\r\n", big);
    check_status(text, 431);
    snprintf(text, sizeof text, "GET /x HTTP/1.1\r\nHost: x\r\n%.400s: 1\r\n\r\n", big);
    check_status(text, 431);
    snprintf(text, sizeof text, "GET /%.400s", big);
    check_status(text, 431);
    snprintf(text, sizeof text, "GET /%.260s HTTP/1.1\r\nHost: x\r\n\r\n", big);
    check_status(text, 414);
    check_status("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 601\r\n\r\n", 413);
    snprintf(text, sizeof text,
             "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n259\r\n%.601s\r\n0\r\n\r\n", big);
    check_status(text, 413);
    check_status("GET /x HTTP/1.1\r\n\r\n", 400);
    check_status("GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    check_status("GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400);
    check_status("NONSENSE\r\n\r\n", 400);
    check_status("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400);
    check_status("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    check_status("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
}

static void test_budget(void **state)
{
    (void)state;
    char text[1000], big[501];
    int heads;
    memset(big, 'a', 500);
    big[500] = '\0';
    snprintf(text, sizeof text, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n%s", big);
    hs__http a, b;
    budget = (hs__budget){.max = 1000};
    hs__http_init(&a, 300, 600, &budget);
    hs__http_init(&b, 300, 600, &budget);
    assert_int_equal(feed(&a, text, 100, &heads), HS__HTTP_DONE);
    assert_int_equal(feed(&b, text, 100, &heads), HS__HTTP_ERROR);
    assert_int_equal(b.status, 503);
    hs__http_deinit(&b);
    hs__http_deinit(&a);
    assert_int_equal(budget.used, 0);
}

static void test_overlong_field(void **state)
{
    (void)state;
    hs__http h;
    int heads;
    char text[2000];
    snprintf(text, sizeof text, "GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %0900d\r\n\r\n", 1);
    budget = (hs__budget){.max = 10};
    hs__http_init(&h, 2000, 10, &budget);
    assert_int_equal(feed(&h, text, 7, &heads), HS__HTTP_DONE);
    assert_true(h.head.authorization.overlong);
    hs__http_deinit(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut), cmocka_unit_test(test_two_in_a_row),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_budget),    cmocka_unit_test(test_overlong_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

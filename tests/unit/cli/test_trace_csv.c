/* labels: unit */
/* route_trace v1: header, order (token by token, though a prompt runs layer by layer), and refusal of gaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/trace_csv.h"

static char dir[64], path[96];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hotset-trace-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/routes.csv", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static const hs_trace_layer layers[2] = {{1, 100, 7}, {3, 200, 8}};
static const hs_trace_info info = {.model = "my model",
                                   .arch = "mixtral",
                                   .n_layers = 4,
                                   .n_experts = 8,
                                   .top_k = 2,
                                   .layers = layers,
                                   .n_moe_layers = 2,
                                   .chunk_tokens = 3};

static void route(hs_trace_csv *t, bool decode, uint32_t position, uint32_t layer, uint32_t a, uint32_t b)
{
    const uint32_t experts[2] = {a, b};
    const float weights[2] = {0.75f, 0.25f};
    const uint8_t resident[2] = {0, 1};
    hs_route_event ev = {.decode = decode,
                         .position = position,
                         .layer = layer,
                         .top_k = 2,
                         .experts = experts,
                         .normalised = weights,
                         .resident = resident};
    hs_trace_csv_on_route(t, &ev);
}

static void test_file(void **state)
{
    (void)state;
    hs_trace_csv *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_trace_csv_create(path, &info, &t, &err), 0);
    hs_trace_csv_begin_chunk(t, 0, 2, false);
    route(t, false, 0, 1, 5, 2);
    route(t, false, 1, 1, 6, 0);
    route(t, false, 0, 3, 7, 1);
    route(t, false, 1, 3, 4, 3);
    hs_trace_csv_end_chunk(t);
    hs_trace_csv_begin_chunk(t, 2, 1, true);
    route(t, true, 2, 1, 1, 2);
    route(t, true, 2, 3, 3, 4);
    hs_trace_csv_end_chunk(t);
    assert_int_equal(hs_trace_csv_commit(t, &err), 0);
    hs_trace_csv_destroy(&t);

    static const char expected[] = "# route_trace v1\n"
                                   "# model=my_model arch=mixtral n_layer=4 n_expert=8 n_expert_used=2\n"
                                   "# layer=1 expert_bytes=100 dense_bytes=7\n"
                                   "# layer=3 expert_bytes=200 dense_bytes=8\n"
                                   "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n"
                                   "0,0,0,1,0,5,0.75000000,0,100\n0,0,0,1,1,2,0.25000000,1,0\n"
                                   "0,0,0,3,0,7,0.75000000,0,200\n0,0,0,3,1,1,0.25000000,1,0\n"
                                   "0,0,1,1,0,6,0.75000000,0,100\n0,0,1,1,1,0,0.25000000,1,0\n"
                                   "0,0,1,3,0,4,0.75000000,0,200\n0,0,1,3,1,3,0.25000000,1,0\n"
                                   "0,1,2,1,0,1,0.75000000,0,100\n0,1,2,1,1,2,0.25000000,1,0\n"
                                   "0,1,2,3,0,3,0.75000000,0,200\n0,1,2,3,1,4,0.25000000,1,0\n";
    char *text;
    size_t len;
    assert_int_equal(hs_file_read(path, 1 << 20, &text, &len, &err), 0);
    assert_string_equal(text, expected);
    hs_free(text);
}

static void assert_not_written(hs_trace_csv *t)
{
    hs_err err = {0};
    assert_int_equal(hs_trace_csv_commit(t, &err), -EINVAL);
    assert_non_null(strstr(err.text, path));
    hs_trace_csv_destroy(&t);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_gap(void **state)
{
    (void)state;
    hs_trace_csv *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_trace_csv_create(path, &info, &t, &err), 0);
    hs_trace_csv_begin_chunk(t, 0, 1, false);
    route(t, false, 0, 1, 5, 2);
    hs_trace_csv_end_chunk(t);
    assert_not_written(t);
}

static void test_out_of_place(void **state)
{
    (void)state;
    const struct {
        uint32_t position, layer;
    } bad[] = {{1, 1}, {9, 1}, {0, 2}, {UINT32_MAX, 3}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs_trace_csv *t = NULL;
        hs_err err = {0};
        assert_int_equal(hs_trace_csv_create(path, &info, &t, &err), 0);
        hs_trace_csv_begin_chunk(t, 0, 1, false);
        route(t, false, 0, 1, 5, 2);
        route(t, false, 0, 3, 5, 2);
        route(t, false, bad[i].position, bad[i].layer, 5, 2);
        hs_trace_csv_end_chunk(t);
        assert_not_written(t);
    }
    hs_trace_csv *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_trace_csv_create(path, &info, &t, &err), 0);
    hs_trace_csv_begin_chunk(t, 0, 4, false); /* more than chunk_tokens */
    assert_not_written(t);
}

static void test_too_many_experts(void **state)
{
    (void)state;
    hs_trace_info big = info;
    big.n_experts = 70000;
    hs_trace_csv *t = NULL;
    hs_err err = {0};
    assert_int_equal(hs_trace_csv_create(path, &big, &t, &err), -E2BIG);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_experts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* labels: unit */
/* Reading route_trace v1: order, phases, what the writer writes, and lines that are refused with their number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/trace_csv.h"
#include "cli/trace_read.h"
#include "hotset/trace_format.h"

#define COLUMNS HS_TRACE_HEADER "\n"
#define MODEL   HS_TRACE_MAGIC "\n# model=tiny arch=mixtral n_layer=4 n_expert=8 n_expert_used=2\n"
#define LAYERS  "# layer=1 expert_bytes=100 dense_bytes=7\n# layer=3 expert_bytes=200 dense_bytes=8\n"
#define HEAD    MODEL LAYERS COLUMNS

static hs_trace read_text(const char *text, bool all)
{
    hs_trace t;
    hs_err err = {0};
    if (hs_trace_parse(text, strlen(text), "t", all, &t, &err) < 0)
        fail_msg("%s", err.text);
    return t;
}

static void refuse(const char *text, const char *sentence)
{
    hs_trace t;
    hs_err err = {0};
    if (hs_trace_parse(text, strlen(text), "t", true, &t, &err) == 0)
        fail_msg("accepted: %s", text);
    if (!strstr(err.text, sentence))
        fail_msg("'%s' instead of '%s'", err.text, sentence);
}

static void test_order_and_phases(void **state)
{
    (void)state;
    /* A prompt of two tokens, layer by layer, then two tokens of an answer with CRLF and no end. */
    static const char text[] = HEAD "0,0,0,1,0,2,0.75,0,100\n0,0,0,1,1,5,0.25,1,0\n0,0,1,1,0,7,0.9,0,100\n"
                                    "0,0,0,3,0,1,0.5,0,200\n0,0,1,3,0,0,0.5,0,200\n"
                                    "0,1,2,1,0,4,1e-3,0,100\r\n0,1,2,3,0,6,-0.5,0,200\r\n\r\n0,1,3,3,0,6,1,1,0";
    hs_trace t = read_text(text, true);
    const uint32_t objects[] = {2, 5, 9, 7, 8, 4, 14, 14}, tokens[] = {0, 0, 0, 1, 1, 2, 2, 3};
    assert_int_equal(t.n, 8);
    assert_int_equal(t.n_tokens, 4);
    assert_memory_equal(t.object, objects, sizeof objects);
    assert_memory_equal(t.token, tokens, sizeof tokens);
    assert_string_equal(t.model, "tiny");
    assert_string_equal(t.arch, "mixtral");
    assert_true(t.n_experts == 8 && t.top_k == 2 && t.n_moe_layers == 2);
    assert_true(t.expert_bytes[0] == 100 && t.expert_bytes[1] == 200);
    hs_trace_deinit(&t);
    t = read_text(text, false);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.n_tokens, 2);
    assert_memory_equal(t.object, objects + 5, 3 * sizeof *objects);
    hs_trace_deinit(&t);
}

static void test_what_the_writer_writes(void **state)
{
    (void)state;
    char dir[] = "/tmp/hotset-trace-XXXXXX", path[64];
    const hs_trace_layer layers[] = {{1, 100, 7}, {3, 200, 8}};
    const hs_trace_info info = {"my model", "mixtral", 4, 8, 2, layers, 2, 3};
    const uint32_t experts[] = {6, 2};
    const float weights[] = {0.75f, 0.25f};
    hs_trace_csv *w;
    hs_trace t;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/routes.csv", dir);
    assert_int_equal(hs_trace_csv_create(path, &info, &w, NULL), 0);
    for (uint32_t position = 0; position < 4; position += 3) {
        uint32_t n = position ? 1 : 3;
        hs_trace_csv_begin_chunk(w, position, n, position > 0);
        for (uint32_t l = 0; l < 2; l++)
            for (uint32_t i = 0; i < n; i++) {
                hs_route_event ev = {.position = position + i,
                                     .layer = layers[l].number,
                                     .top_k = 2,
                                     .experts = experts,
                                     .normalised = weights};
                hs_trace_csv_on_route(w, &ev);
            }
        hs_trace_csv_end_chunk(w);
    }
    assert_int_equal(hs_trace_csv_commit(w, NULL), 0);
    hs_trace_csv_destroy(&w);
    assert_int_equal(hs_trace_read(path, true, &t, NULL), 0);
    assert_true(t.n == 16 && t.n_tokens == 4 && t.object[2] == 14 && t.object[15] == 10);
    assert_string_equal(t.model, "my_model");
    hs_trace_deinit(&t);
    unlink(path);
    rmdir(dir);
}

static void test_refused(void **state)
{
    (void)state;
    refuse("", "not a route trace");
    refuse("layer,expert\n", "not a route trace");
    refuse(MODEL LAYERS, "t:4: the header ends");
    refuse(MODEL COLUMNS, "t:3: the header ends");
    refuse(HS_TRACE_MAGIC "\n" LAYERS COLUMNS, "t:4: the header ends");
    refuse(HS_TRACE_MAGIC "\n# n_expert=0 n_expert_used=1\n", "t:2: n_expert= must be there, from 1 to 65536");
    refuse(HS_TRACE_MAGIC "\n# n_expert=8\n", "t:2: n_expert_used= must be there");
    refuse(MODEL "# n_expert=8 n_expert_used=2\n", "t:3: a second line with n_expert");
    refuse(MODEL LAYERS "# layer=3 expert_bytes=1\n", "t:5: layers must rise");
    refuse(MODEL "# layer=4096 expert_bytes=1\n", "t:3: layer= must be there, from 0 to 4095");
    refuse(MODEL "# layer=1 expert_bytes=99999999999999999999\n", "t:3: expert_bytes= must be there");
    refuse(MODEL "rows\n", "t:3: expected a # line");
    refuse(HEAD, "t: no rows");
    refuse(HEAD "65536,1,0,1,0,0,1,0,0\n", "t:6: turn is not a number from 0 to 65535");
    refuse(HEAD "0,2,0,1,0,0,1,0,0\n", "t:6: phase is not a number from 0 to 1");
    refuse(HEAD "0,1,16777216,1,0,0,1,0,0\n", "t:6: step");
    refuse(HEAD "0,1,0,2,0,0,1,0,0\n", "t:6: the header does not list this layer");
    refuse(HEAD "0,1,0,4096,0,0,1,0,0\n", "t:6: layer is");
    refuse(HEAD "0,1,0,1,2,0,1,0,0\n", "t:6: slot is not a number from 0 to 1");
    refuse(HEAD "0,1,0,1,0,8,1,0,0\n", "t:6: expert is not a number from 0 to 7");
    refuse(HEAD "0,1,0,1,0,7,nan,0,0\n", "t:6: weight");
    refuse(HEAD "0,1,0,1,0,7,1,2,0\n", "t:6: weight, residency");
    refuse(HEAD "0,1,0,1,0,7,1,0,0,\n", "t:6: weight, residency");
    refuse(HEAD "0,1,0,1,0,7,1,0\n", "t:6: weight, residency");
    refuse(HEAD "0,1,0,1,0,7,\n1,0,0\n", "t:6: weight, residency");
    refuse(HEAD "0,1,9,1,0,7,1,0,0\n0,1,9,1,0,6,1,0,0\n", "t: turn 0, step 9 has two rows");
}

/* 2^20 experts at most: 16 layers of 65536. */
static void test_bounds(void **state)
{
    (void)state;
    char *text = hs_asprintf("%s\n# n_expert=65536 n_expert_used=1\n", HS_TRACE_MAGIC);
    for (int l = 0; l < 17; l++) {
        char *longer = hs_asprintf("%s# layer=%d expert_bytes=1\n", text, l);
        hs_free(text);
        text = longer;
        char *whole = hs_asprintf("%s%s0,1,0,0,0,65535,1,0,0\n", text, COLUMNS);
        if (l < 16) {
            hs_trace t = read_text(whole, false);
            assert_int_equal(t.n_moe_layers, l + 1);
            hs_trace_deinit(&t);
        } else {
            refuse(whole, "more than 2^20 experts");
        }
        hs_free(whole);
    }
    hs_free(text);
    text = hs_malloc(6000);
    memset(text, '#', 5999);
    text[5999] = '\0';
    memcpy(text, HS_TRACE_MAGIC "\n", strlen(HS_TRACE_MAGIC) + 1);
    refuse(text, "t:2: the line is too long");
    hs_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_and_phases),
                                       cmocka_unit_test(test_what_the_writer_writes), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

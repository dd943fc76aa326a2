/* labels: unit, all: unit slow */
/* Reading traces: order, phases, what the writer writes, gzipped or not, colibri's, and lines that are refused. */
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
#include "cli/gzip.h"
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

/* A trace of three prompt tokens and one of an answer. */
static void write_trace(const char *path)
{
    const hs_trace_layer layers[] = {{1, 100, 7}, {3, 200, 8}};
    const hs_trace_info info = {"my model", "mixtral", 4, 8, 2, layers, 2, 3};
    const uint32_t experts[] = {6, 2};
    const float weights[] = {0.75f, 0.25f};
    hs_trace_csv *w;
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
}

static void test_what_the_writer_writes(void **state)
{
    (void)state;
    char dir[] = "/tmp/hotset-trace-XXXXXX", path[64], *data, *plain;
    size_t n, n_plain, got;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/routes.csv", dir);
    write_trace(path);
    assert_int_equal(hs_file_read(path, 10000, &plain, &n_plain, NULL), 0);
    unlink(path);
    snprintf(path, sizeof path, "%s/routes.csv.gz", dir);
    write_trace(path);
    assert_int_equal(hs_file_read(path, 10000, &data, &n, NULL), 0);
    assert_true(hs_is_gzip(data, n) && n < n_plain);
    hs_gunzip *z;
    char text[10000];
    assert_int_equal(hs_gunzip_create(data, n, &z), 0);
    assert_int_equal(hs_gunzip_read(z, path, text, sizeof text, &got, NULL), 0);
    assert_int_equal(got, n_plain);
    assert_memory_equal(text, plain, n_plain);
    hs_gunzip_destroy(&z);

    hs_trace t[2];
    assert_int_equal(hs_trace_read(path, true, &t[0], NULL), 0);
    assert_true(hs_is_trace(path));
    t[1] = read_text(plain, true);
    for (int i = 0; i < 2; i++) {
        assert_true(t[i].n == 16 && t[i].n_tokens == 4 && t[i].object[2] == 14 && t[i].object[15] == 10);
        assert_string_equal(t[i].model, "my_model");
        hs_trace_deinit(&t[i]);
    }
    hs_free(data);
    hs_free(plain);
    unlink(path);
    rmdir(dir);
}

/* text[n], gzipped; hs_free it. */
static char *gzipped(const char *text, size_t n, size_t *ret_n)
{
    hs_gzip *z;
    bool more;
    const void *data = text;
    char *to = hs_calloc(1, n + 1000);
    assert_int_equal(hs_gzip_create(&z), 0);
    *ret_n = hs_gzip_write(z, &data, &n, true, to, n + 1000, &more);
    assert_false(more);
    hs_gzip_destroy(&z);
    return to;
}

/* More than a window of text, and its borders fall into lines; damage has file and place; bombs end like any text. */
static void test_gzipped(void **state)
{
    (void)state;
    size_t n = 0, cap = 4u << 20, packed;
    char *text = hs_malloc(cap), *data;
    n += (size_t)sprintf(text, "%s", HEAD);
    for (uint32_t i = 0; i < 20000; i++)
        n += (size_t)sprintf(text + n, "0,1,%u,%u,%u,%u,0.%u,0,100\n", i / 2, i % 2 ? 3 : 1, i % 7 % 2, i * 7 % 8, i);
    hs_trace plain = read_text(text, false), t;
    hs_err err = {0};
    data = gzipped(text, n, &packed);
    assert_int_equal(hs_trace_parse(data, packed, "t", false, &t, &err), 0);
    assert_true(t.n == plain.n && t.n_tokens == plain.n_tokens && t.n == 20000);
    assert_memory_equal(t.object, plain.object, t.n * sizeof *t.object);
    assert_memory_equal(t.token, plain.token, t.n * sizeof *t.token);
    hs_trace_deinit(&t);
    hs_trace_deinit(&plain);
    assert_int_equal(hs_trace_parse(data, packed / 2, "t", false, &t, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "t: the gzip data ends too early, after "));
    data[packed - 6] ^= 0x55; /* its checksum */
    assert_int_equal(hs_trace_parse(data, packed, "t", false, &t, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "t: the gzip data is damaged at byte "));
    hs_free(data);
    strcpy(text + n, "0,1,nonsense\n");
    data = gzipped(text, strlen(text), &packed);
    assert_int_equal(hs_trace_parse(data, packed, "t", false, &t, &err), -EINVAL);
    assert_string_equal(err.text, "t:20006: step is not a number from 0 to 16777215");
    hs_free(data);

    memset(text + strlen(HEAD), '7', cap - strlen(HEAD));
    data = gzipped(text, cap, &packed);
    assert_true(packed < cap / 100);
    assert_int_equal(hs_trace_parse(data, packed, "t", false, &t, &err), -EINVAL);
    assert_string_equal(err.text, "t:6: the line is too long");
    hs_free(data);
    data = gzipped("junk", 4, &packed);
    assert_int_equal(hs_trace_parse(data, packed, "t", false, &t, &err), -EINVAL);
    assert_non_null(strstr(err.text, "t: not a route trace"));
    hs_free(data);
    hs_free(text);
}

/* A file of some 2 MB with more text than a trace may have: 1025 members of a MiB each, all of them comments. */
static void test_bomb(void **state)
{
    (void)state;
    enum { PIECE = 1 << 20, PIECES = HS_TRACE_MAX_BYTES / PIECE + 1 };
    char *text = hs_malloc(PIECE);
    size_t n_head, n_piece, n;
    hs_trace t;
    hs_err err = {0};
    memset(text, '#', PIECE);
    for (size_t i = 4095; i < PIECE; i += 4096)
        text[i] = '\n';
    char *head = gzipped(MODEL, strlen(MODEL), &n_head), *piece = gzipped(text, PIECE, &n_piece);
    char *data = hs_malloc(n_head + n_piece * PIECES + 1);
    memcpy(data, head, n_head);
    for (n = n_head; n < n_head + n_piece * PIECES; n += n_piece)
        memcpy(data + n, piece, n_piece);
    data[n] = '\0';
    assert_true(n < HS_TRACE_MAX_BYTES / 100);
    assert_int_equal(hs_trace_parse(data, n, "t", false, &t, &err), -E2BIG);
    assert_string_equal(err.text, "t: unpacked, more than 1073741824 bytes");
    hs_free(data);
    hs_free(piece);
    hs_free(head);
    hs_free(text);
}

static void test_calls(void **state)
{
    (void)state;
    /* A prompt of two, three generated tokens (the last two with another expert), a prompt of three. Layer 0 is dense.
     */
    static const char text[] = "0 0 1 5:0.7500 2:0.2500\n0 1 1 6:0.5 0:0.5\n1 0 3 7:1 1:0\n1 1 3 4:1 3:0\n"
                               "2 0 1 1:1.0000 2:-0.1\n3 0 3 3:1 4:0\n"
                               "4 0 1 9:1 2:0\r\n5 0 3 3:1 4:0\n"
                               "9 0 1 1:1 0:0\n11 0 3 0:1 2:0\n\n"
                               "12 0 1 1:1 0:0\n12 1 1 1:1 0:0\n12 2 1 1:1 0:0\n"
                               "13 0 3 1:1 0:0\n13 1 3 1:1 0:0\n13 2 3 2:1 0:0";
    const uint32_t decode[] = {1, 2, 13, 14, 9, 2, 13, 14, 1, 0, 10, 12};
    hs_trace t = read_text(text, false);
    assert_true(t.n_experts == 10 && !t.is_counted && t.top_k == 2 && t.n_moe_layers == 2 && t.n_tokens == 3);
    assert_true(t.expert_bytes[0] == 0 && t.expert_bytes[1] == 0);
    assert_int_equal(t.n, 12);
    assert_memory_equal(t.object, decode, sizeof decode);
    hs_trace_deinit(&t);
    t = read_text(text, true);
    const uint32_t prompt[] = {5, 2, 17, 11, 6, 0, 14, 13};
    assert_int_equal(t.n_tokens, 8);
    assert_memory_equal(t.object, prompt, sizeof prompt);
    assert_memory_equal(t.object + 8, decode, sizeof decode);
    assert_true(t.object[t.n - 2] == 12 && t.object[t.n - 1] == 10);
    for (size_t i = 0; i < t.n; i++)
        assert_int_equal(t.turn[i], i >= 20);
    hs_trace_deinit(&t);

    refuse("0 0 1\n", "not a route trace");
    refuse("0 0 4096 1:1\n", "not a route trace");
    refuse("0 0 1 1:1\n1 0 2\n", "t:2: expected CALL ROW LAYER");
    refuse("0 0 1 1:1\n1 0 2 \n", "t:2: expected EXPERT:GATE");
    refuse("0 0 1 1:1 \n", "t:1: expected EXPERT:GATE");
    refuse("0 0 1 1:1 2\n", "t:1: expected EXPERT:GATE");
    refuse("0 0 1 1:nan\n", "t:1: expected EXPERT:GATE");
    refuse("0 0 1 1:1,2:1\n", "t:1: expected EXPERT:GATE");
    refuse("0 0 1 1:\n", "t:1: expected EXPERT:GATE");
    refuse("0 0 1 1:1 65536:0\n", "t:1: expected EXPERT:GATE");
    refuse("5 0 1 1:1\n4 0 2 1:1\n", "t:2: calls must rise");
    refuse("5 0 1 1:1\n5 0 2 1:1\n", "t:2: calls must rise, and have one layer each");
    refuse("5 0 1 1:1\n5 0 1 1:1\n", "t: turn 0, step 0 has two rows");
    refuse("5 16777215 1 1:1\n", "t:1: more turns or tokens");
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_phases), cmocka_unit_test(test_what_the_writer_writes),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_gzipped),          cmocka_unit_test(test_calls)};
    const struct CMUnitTest big[] = {cmocka_unit_test(test_bomb)};
    (void)argv;
    return argc > 1 ? cmocka_run_group_tests(big, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}

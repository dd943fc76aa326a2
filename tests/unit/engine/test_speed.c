/* labels: unit */
/*
 * test_speed.c - what a machine computes of a model. Times are this machine's and nobody else's; what can be told
 * beforehand is which weights a token reads, how experts and shared experts divide their time, how all of it follows
 * the number of processors and the memory's bandwidth, and that every allocation may fail.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tale.h"

static void near(double x, double y)
{
    if (!(fabs(x - y) <= 1e-6 * fabs(y)))
        fail_msg("%g instead of %g", x, y);
}

static hs_speed measured(const hs_engine_options *opt, hs_plan *ret_plan, uint32_t n_prompt)
{
    hs_speed s;
    hs_err err = {0};
    assert_int_equal(hs_plan_make(opt, ret_plan, &err), 0);
    if (hs_speed_measure(opt, ret_plan, n_prompt, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static uint64_t bytes_of(const hs_checkpoint *c, const char *part)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->n_tensors; i++)
        n += strstr(c->tensors[i].name, part) ? c->tensors[i].nbytes : 0;
    return n;
}

static void test_tale(void **state)
{
    (void)state;
    hs_engine_options opt = tale_options((hs_engine_options){.path = TALE, .context = 256, .threads = 1});
    hs__opened o;
    hs_plan p;
    hs_err err = {0};
    assert_int_equal(hs__open(&opt, &o, &err), 0);
    const hs_checkpoint *c = hs_source_checkpoint(o.source);
    double share = (double)o.spec->top_k / o.spec->n_experts;
    uint64_t routed = (uint64_t)((double)bytes_of(c, ".experts.") * share), shared = bytes_of(c, ".shared_expert");
    uint64_t read = o.spec->dense_bytes - bytes_of(c, "embed_tokens") + routed;
    assert_true(routed > 0 && shared > 0);
    hs_speed s = measured(&opt, &p, 0);
    assert_int_equal(s.decode_bytes, read);
    near(s.decode_shared_s / s.decode_experts_s, (double)shared / (double)routed);
    assert_true(s.decode_experts_s > 0 && s.decode_s >= s.decode_experts_s + s.decode_shared_s);
    assert_true(s.prompt_token_s > 0 && s.prompt_block_s >= 0 && s.prompt_end_s > 0);
    for (uint32_t i = 0; i < HS_SPEED_POINTS; i++)
        assert_true(s.prompt_expert_s[i] > 0 && (!i || s.prompt_expert_s[i] >= s.prompt_expert_s[i - 1]));
    assert_true(s.memory_bytes_per_s > 0 && s.fresh_bytes_per_s > 0);
    assert_true(s.expand_s == 0);
    /* Nothing but the shape is known: the same is read. */
    char *config = hs_asprintf("%s/config.json", TALE);
    hs_shape shape = {"tale", NULL, "published"};
    json_t *json = json_load_file(config, 0, NULL);
    assert_non_null(json);
    shape.config = json;
    opt.shape = &shape;
    assert_int_equal(measured(&opt, &p, 8).decode_bytes, read);
    json_decref(json);
    hs_free(config);
    hs__close(&o);
}

/* Of a packed model some experts are decoded; a damaged one is not timed. */
static void test_packed(void **state)
{
    (void)state;
    hs_engine_options opt = tale_options((hs_engine_options){.path = tale_packed(), .context = 64, .threads = 2});
    hs_plan p;
    hs_speed s = measured(&opt, &p, 0);
    assert_true(s.expand_s > 0);
    char command[256];
    hs_err err = {0};
    snprintf(command, sizeof command,
             "d=$(mktemp -d) && cp -r '%s'/. $d && for f in $d/*.hss; do "
             "dd if=/dev/zero of=$f bs=64k seek=1 count=400 conv=notrunc status=none; done; echo $d",
             tale_packed());
    FILE *f = popen(command, "r");
    char path[128] = "";
    assert_true(f && fscanf(f, "%127s", path) == 1);
    pclose(f);
    opt.path = path;
    assert_int_equal(hs_speed_measure(&opt, &p, 0, &s, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "damaged"));
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

/* As many times the processors take as much less time, and read as much faster from memory. */
static void test_cores(void **state)
{
    (void)state;
    const hs_speed one = {.decode_s = 0.4,
                          .decode_experts_s = 0.2,
                          .decode_shared_s = 0.1,
                          .prompt_token_s = 0.01,
                          .prompt_end_s = 0.02,
                          .prompt_block_s = 0.03,
                          .prompt_expert_s = {0.04, 0.05, 0.06, 0.08, 0.09, 0.1, 0.2},
                          .expand_s = 0.008,
                          .fresh_bytes_per_s = 1e9,
                          .memory_bytes_per_s = 1e10,
                          .decode_bytes = 2000000000};
    hs_speed s = one;
    hs_speed_scale(&s, 8, 2, 0);
    near(s.decode_s, 0.1);
    near(s.decode_experts_s, 0.05);
    near(s.decode_shared_s, 0.025);
    near(s.prompt_token_s, 0.0025);
    near(s.prompt_end_s, 0.005);
    near(s.prompt_block_s, 0.0075);
    near(s.prompt_expert_s[0], 0.01);
    near(s.prompt_expert_s[3], 0.02);
    near(s.prompt_expert_s[HS_SPEED_POINTS - 1], 0.05);
    near(s.expand_s, 0.002);
    near(s.fresh_bytes_per_s, 4e9);
    near(s.memory_bytes_per_s, 4e10);
    assert_int_equal(s.decode_bytes, one.decode_bytes);
    /* Memory does not keep up: a token takes what its weights take; a prompt uses them more than once. */
    s = one;
    hs_speed_scale(&s, 8, 2, 1e10);
    near(s.decode_s, 0.2);
    near(s.decode_experts_s, 0.1);
    near(s.decode_shared_s, 0.05);
    near(s.prompt_token_s, 0.0025);
    near(s.memory_bytes_per_s, 1e10);
    s = one;
    hs_speed_scale(&s, 1, 2, 1e12);
    near(s.decode_s, 0.8);
    near(s.prompt_expert_s[3], 0.16);
}

static void test_no_memory(void **state)
{
    (void)state;
    hs_engine_options opt = tale_options((hs_engine_options){.path = TALE, .context = 64, .threads = 1});
    hs_plan p;
    hs_err err = {0};
    assert_int_equal(hs_plan_make(&opt, &p, &err), 0);
    hs__opened o;
    hs_mem_fail_after(INT64_MAX);
    assert_int_equal(hs__open(&opt, &o, &err), 0);
    int64_t opened = hs_mem_count(); /* opening has a test of its own: a few of these, then each one */
    hs_mem_fail_after(-1);
    hs__close(&o);
    for (int64_t n = 0, step = opened / 8;; n += n < opened - step ? step : 1) {
        hs_speed s;
        hs_mem_fail_after(n);
        int r = hs_speed_measure(&opt, &p, 0, &s, &err);
        int64_t made = hs_mem_count();
        hs_mem_fail_after(-1);
        if (made <= n) {
            assert_int_equal(r, 0);
            assert_true(n > opened + 5);
            return;
        }
        if (r != -ENOMEM || !strstr(err.text, "memory"))
            fail_msg("allocation %lld: %d, '%s'", (long long)n, r, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tale), cmocka_unit_test(test_packed),
                                       cmocka_unit_test(test_cores), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

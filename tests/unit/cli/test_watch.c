/* labels: unit */
/* What a daemon answers, as a picture; what happened between two pictures; and how it looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/watch.h"

static const char models[] =
    "{\"object\":\"list\",\"data\":[{\"id\":\"ta\\\"le\",\"created\":1000,\"status\":\"loaded\","
    "\"architecture\":\"deepseek_v3\",\"context_length\":4096,\"experts\":128,"
    "\"memory_bytes\":1048576},{\"id\":\"b\",\"created\":1000,\"status\":\"loading\"}]}";
static const char slots[] = "[{\"id\":0,\"model\":\"ta\\\"le\",\"state\":\"decode\",\"prompt_tokens\":8,"
                            "\"generated_tokens\":5,\"max_tokens\":9,\"client_pid\":77},"
                            "{\"id\":1,\"model\":\"ta\\\"le\",\"state\":\"idle\"},{\"id\":0,\"model\":\"other\"}]";

static const char metrics_format[] = "# HELP hotset_ready 1\n"
                                     "hotset_build_info{version=\"1.2.3\"} 1\n"
                                     "hotset_ready 1\n"
                                     "hotset_connections 3\n"
                                     "hotset_request_duration_seconds_bucket{le=\"+Inf\"} 0\n"
                                     "hotset_generated_tokens_total{model=\"ta\\\"le\"} %d\n"
                                     "hotset_expert_cache_hits_total{model=\"ta\\\"le\"} %d\n"
                                     "hotset_expert_cache_misses_total{model=\"ta\\\"le\"} %d\n"
                                     "hotset_io_read_bytes_total{model=\"ta\\\"le\"} %d\n"
                                     "hotset_expert_cache_resident{model=\"ta\\\"le\"} 75\n"
                                     "hotset_expert_cache_layer_resident{model=\"ta\\\"le\",layer=\"1\"} 64\n"
                                     "hotset_expert_cache_layer_resident{model=\"ta\\\"le\",layer=\"2\"} 11\n"
                                     "hotset_expert_cache_hits_total{model=\"stranger\"} 5\n";

static hs_watch *picture(double at_s, int tokens, int hits, int misses, int bytes)
{
    char metrics[2048];
    hs_err err = {0};
    hs_watch *w = hs_calloc(1, sizeof *w);
    assert_non_null(w);
    w->at_s = at_s;
    snprintf(metrics, sizeof metrics, metrics_format, tokens, hits, misses, bytes);
    assert_int_equal(hs_watch_parse_models(models, strlen(models), w, &err), 0);
    assert_int_equal(hs_watch_parse_metrics(metrics, strlen(metrics), w, &err), 0);
    assert_int_equal(hs_watch_parse_slots(slots, strlen(slots), w, &err), 0);
    return w;
}

static void test_parse(void **state)
{
    (void)state;
    hs_watch *w = picture(0, 10, 30, 10, 4000);
    const hs_watch_model *m = &w->models[0];
    assert_string_equal(w->version, "1.2.3");
    assert_true(w->ready && w->connections == 3 && w->started_at == 1000);
    assert_int_equal(w->n_models, 2);
    assert_string_equal(m->name, "ta\"le");
    assert_true(m->hits == 30 && m->misses == 10 && m->resident == 75 && m->experts == 128);
    assert_true(w->models[1].hits == 0);
    assert_int_equal(m->n_layers, 2);
    assert_int_equal(m->layers[1].number, 2);
    assert_int_equal(m->layers[1].resident, 11);
    assert_int_equal(m->n_slots, 2);
    assert_int_equal(m->n_busy, 1);
    assert_int_equal(m->busy[0].client_pid, 77);
    hs_free(w);
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {"hotset_ready",      "hotset_ready x",           "hotset_ready 1x",
                                      "a{model=\"x\" 1",   "a{model=\"x} 1",           "a{model} 1",
                                      "a{model=\"x\\",     "a{model=\"x\"}",           "a{model=",
                                      "hotset_ready 1\n{", "a{model=\"x\",layer=1} 1", "\xff"};
    hs_watch *w = picture(0, 0, 0, 0, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs_err err = {0};
        char *copy = hs_strdup(bad[i]); /* exactly as long, so that a sanitizer sees a step too far */
        assert_int_equal(hs_watch_parse_metrics(copy, strlen(copy), w, &err), -EPROTO);
        assert_non_null(strstr(err.text, "/metrics: line"));
        hs_free(copy);
    }
    hs_err err = {0};
    assert_true(hs_watch_parse_models("{}", 2, w, &err) < 0);
    assert_true(hs_watch_parse_models("x", 1, w, &err) < 0);
    assert_true(hs_watch_parse_slots("{}", 2, w, &err) < 0);
    hs_free(w);
}

/* More of everything than there is room for. */
static void test_bounds(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_buf b;
    hs_watch *w = picture(0, 0, 0, 0, 0);
    hs_buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++)
        hs_buf_printf(&b, "hotset_expert_cache_layer_resident{model=\"ta\\\"le\",layer=\"%d\"} 1\n", i);
    assert_int_equal(hs_watch_parse_metrics(b.data, b.len, w, &err), 0);
    assert_int_equal(w->models[0].n_layers, HS_WATCH_MAX_LAYERS);
    hs_buf_clear(&b);
    hs_buf_puts(&b, "[");
    for (int i = 0; i < 1000; i++)
        hs_buf_printf(&b, "%s{\"id\":%d,\"model\":\"ta\\\"le\",\"state\":\"decode\"}", i ? "," : "", i);
    hs_buf_puts(&b, "]");
    assert_int_equal(hs_watch_parse_slots(b.data, b.len, w, &err), 0);
    assert_int_equal(w->models[0].n_busy, HS_WATCH_MAX_SLOTS);
    hs_buf_clear(&b);
    hs_buf_puts(&b, "{\"data\":[");
    for (int i = 0; i < 100; i++)
        hs_buf_printf(&b, "%s{\"id\":\"m%d\"}", i ? "," : "", i);
    hs_buf_puts(&b, "]}");
    assert_int_equal(hs_watch_parse_models(b.data, b.len, w, &err), 0);
    assert_int_equal(w->n_models, HS_WATCH_MAX_MODELS);
    hs_buf_deinit(&b);
    hs_free(w);
}

static void test_rates(void **state)
{
    (void)state;
    hs_watch *a = picture(10, 100, 30, 10, 4000), *z = picture(12, 150, 60, 20, 10000);
    hs_watch_rates r = hs_watch_rate(a, z, 0);
    assert_true(r.seconds == 2 && r.generated_per_s == 25 && r.misses_per_s == 5 && r.read_per_s == 3000);
    assert_true(r.hit_rate == 0.75 && r.prefetch_useful == -1);
    r = hs_watch_rate(NULL, z, 0); /* since the start */
    assert_true(r.seconds == 0 && r.generated_per_s == 0 && r.hit_rate == 0.75);
    r = hs_watch_rate(z, z, 0);
    assert_true(r.hit_rate == -1);
    r = hs_watch_rate(z, a, 0); /* counters that fall: another daemon */
    assert_true(r.seconds == 0 && r.generated_per_s == 0);
    a->started_at = 900;
    r = hs_watch_rate(a, z, 0);
    assert_true(r.seconds == 0);
    hs_free(a);
    hs_free(z);
}

/* Every figure at its widest fits the smallest terminal, and what does not fit is cut. */
static void test_top_fits(void **state)
{
    (void)state;
    hs_watch *a = picture(10, 100, 30, 10, 4000), *z = picture(12, 150, 60, 20, 10000);
    hs_watch_model *m = &z->models[0];
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_watch_format_top(a, z, "unix:/run/hotset/api.sock", 1000 + 3723, 80, 23, &b);
    assert_non_null(strstr(b.data, "hotset 1.2.3 at unix:/run/hotset/api.sock: ready, up 1h02min, 3 connected\n"));
    assert_non_null(strstr(b.data, "decode     25.0 "));
    assert_non_null(strstr(b.data, "hit rate     75 %   misses 5/s"));
    assert_non_null(strstr(b.data, "layers 1-2         #1\n"));
    assert_non_null(strstr(b.data, "slot 0   decode   prompt 8, generated 5 of 9, for process 77\n"));
    assert_non_null(strstr(b.data, "b: loading\n"));
    assert_null(strstr(b.data, "warm tier"));
    m->warm_gain = 0.97;
    hs_buf_clear(&b);
    hs_watch_format_top(a, z, "unix:/run/hotset/api.sock", 1000, 80, 23, &b);
    assert_non_null(strstr(b.data, "  warm tier  off; with it 0.97 times as fast\n"));
    m->warm_bytes = 4e12;
    m->warm_ratio = 0.66;
    m->warm_hits = 27;
    hs_buf_clear(&b);
    hs_watch_format_top(a, z, "unix:/run/hotset/api.sock", 1000, 80, 23, &b);
    assert_non_null(strstr(b.data, "  warm tier  3.6 TiB at 66 % of their size, 90 % of hits; 0.97 times as fast\n"));
    m->n_busy = 0;
    m->n_layers = 92;
    m->shrinks = m->grows = 999;
    m->slots = m->slots_planned = m->resident = 16384;
    m->pressure = 1;
    m->read_bytes = 60e9;
    m->memory_bytes = m->memory_bytes << 20;
    hs_buf_clear(&b);
    hs_watch_format_top(a, z, "unix:/run/hotset/api.sock", 1000, 80, 23, &b);
    unsigned lines = 0;
    for (const char *p = b.data; *p; p++) {
        size_t n = strcspn(p, "\n");
        assert_true(n < 80); /* nothing is cut */
        lines++;
        p += n;
    }
    assert_true(lines <= 23);
    hs_buf_clear(&b);
    hs_watch_format_top(a, z, "unix:/run/hotset/api.sock", 1000, 10, 2, &b);
    assert_string_equal(b.data, "hotset 1.2\n\n");
    hs_buf_deinit(&b);
    hs_free(a);
    hs_free(z);
}

static void test_ps(void **state)
{
    (void)state;
    hs_watch *w = picture(10, 100, 30, 10, 4000);
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_watch_format_ps(w, 1059, &b);
    assert_string_equal(b.data, "MODEL           STATE       EXPERTS     CACHE    MEMORY  RUN WAIT  HITS       UP\n"
                                "ta\"le           loaded         75/0       0 B   1.0 MiB    0    0  75 %      59s\n"
                                "b               loading         0/0       0 B       0 B    0    0     -      59s\n");
    hs_buf_clear(&b);
    w->models[0].warm_bytes = 1 << 20;
    w->models[0].warm_ratio = 0.83;
    w->models[0].warm_hits = 15;
    w->models[0].warm_gain = 1.125;
    hs_watch_format_ps(w, 1059, &b);
    assert_non_null(strstr(b.data, "\n  warm tier: kept compressed to 83 %, 50 % of hits; 1.12 times as fast\n"));
    hs_buf_deinit(&b);
    char up[16];
    hs_watch_uptime(up, -5);
    assert_string_equal(up, "0s");
    hs_watch_uptime(up, 90061);
    assert_string_equal(up, "1d01h");
    hs_watch_uptime(up, INT64_MAX);
    assert_string_equal(up, ">99999d");
    json_t *o = hs_watch_json(w, w, "x", 1059);
    const json_t *m = json_array_get(json_object_get(o, "models"), 0);
    assert_int_equal(json_integer_value(json_object_get(o, "uptime_s")), 59);
    assert_true(json_is_null(json_object_get(json_object_get(m, "rates"), "hit_rate")));
    assert_int_equal(json_array_size(json_object_get(m, "layers")), 2);
    json_decref(o);
    hs_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse),    cmocka_unit_test(test_malformed),
                                       cmocka_unit_test(test_bounds),   cmocka_unit_test(test_rates),
                                       cmocka_unit_test(test_top_fits), cmocka_unit_test(test_ps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

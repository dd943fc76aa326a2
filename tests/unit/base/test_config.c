/* labels: unit */
/* Configuration files, their errors with file and line, precedence, model sections, printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/mem.h"

static const hs_option options[] = {
    {"cache", "size", HS_OPT_CACHE, "auto", 0, 0, NULL, "", "Memory for experts.", false},
    {"cache", "policy", HS_OPT_ENUM, "ewma", 0, 0, "lru|lfu|ewma", "", "Who leaves.", false},
    {"server", "listen", HS_OPT_STRING, "", 0, 0, NULL, "", "Addresses = sockets; see the manual.", false},
    {"server", "max_connections", HS_OPT_INT, "64", 1, 10000, NULL, "connections",
     "How many. "
     "This help is longer than a hundred characters, so that it has to be broken into lines at a blank somewhere.",
     true},
    {"server", "idle_timeout", HS_OPT_SECONDS, "60", 1, 86400, NULL, "seconds", "How long.", true},
};
static const hs_option more[] = {
    {"limits", "factor", HS_OPT_NUMBER, "1.5", 0, 10, NULL, "", "A number.", false},
    {"limits", "body", HS_OPT_SIZE, "4M", 1024, 1e9, NULL, "bytes", "A size.", false},
    {"limits", "memory", HS_OPT_AUTO_SIZE, "auto", 1, 1e15, NULL, "", "Auto or a size.", false},
    {"limits", "on", HS_OPT_ENUM, "yes", 0, 0, "yes|no", "", "A switch.", false},
    {"model", "path", HS_OPT_STRING, "", 0, 0, NULL, "", "Where it is.", false},
    {"model", "context", HS_OPT_INT, "0", 0, 1e7, NULL, "tokens", "How long.", false},
};
static const hs_option_table tables[] = {HS_OPTION_TABLE(options), HS_OPTION_TABLE(more)};

typedef struct world {
    char dir[64], file[100];
    hs_config *c;
    hs_err err;
} world;

static world begin(void)
{
    world w = {.dir = "/tmp/hotset-config-XXXXXX"};
    assert_non_null(mkdtemp(w.dir));
    snprintf(w.file, sizeof w.file, "%s/hotset.conf", w.dir);
    assert_int_equal(hs_config_create(tables, 2, &w.c, NULL), 0);
    return w;
}

static void end(world *w)
{
    char cmd[200];
    snprintf(cmd, sizeof cmd, "rm -rf %s", w->dir);
    assert_int_equal(system(cmd), 0);
    hs_config_destroy(&w->c);
    assert_null(w->c);
}

static void put(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static int load(world *w, const char *text)
{
    put(w->file, text, strlen(text));
    return hs_config_load_file(w->c, w->file, &w->err);
}

static void values_are_read(void **state)
{
    (void)state;
    world w = begin();
    assert_int_equal(load(&w, "# a comment\n; another\n\n[cache]\nsize = 25%\npolicy=lru ; why not\n[server]\n"
                              "  listen = unix:/run/x.sock\n\tidle_timeout = 2min\n[limits]\nbody: 1MiB\non = no\n"
                              "factor = 0.25\nmemory = 3G"),
                     0);
    hs_size_spec s = hs_config_size_spec(w.c, "cache", "size");
    assert_true(s.kind == HS_SIZE_PERCENT && s.percent == 25);
    assert_string_equal(hs_config_str(w.c, "cache", "policy"), "lru");
    assert_string_equal(hs_config_str(w.c, "server", "listen"), "unix:/run/x.sock");
    assert_int_equal(hs_config_seconds(w.c, "server", "idle_timeout"), 120);
    assert_int_equal(hs_config_size(w.c, "limits", "body"), 1 << 20);
    assert_int_equal(hs_config_size(w.c, "limits", "memory"), 3ll << 30);
    assert_string_equal(hs_config_str(w.c, "limits", "on"), "no");
    assert_string_equal(hs_config_str(w.c, "limits", "factor"), "0.25");
    assert_int_equal(hs_config_int(w.c, "server", "max_connections"), 64);
    assert_true(hs_config_is_set(w.c, "cache", "size"));
    assert_false(hs_config_is_set(w.c, "server", "max_connections"));
    end(&w);
}

static void defaults_are_valid(void **state)
{
    (void)state;
    world w = begin();
    assert_true(hs_config_size_spec(w.c, "cache", "size").kind == HS_SIZE_AUTO);
    assert_int_equal(hs_config_size(w.c, "limits", "memory"), 0);
    assert_int_equal(hs_config_size(w.c, "limits", "body"), 4 << 20);
    assert_int_equal(hs_config_n_models(w.c), 0);
    end(&w);
}

static void errors_have_file_and_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
        const char *words;
    } bad[] = {
        {"[cache]\nsize = 25%\nsice = 1G\n", 3, "unknown key 'sice' in [cache]"},
        {"\n\n[cash]\nsize = 1G\n", 4, "unknown section [cash]"},
        {"size = 1G\n", 1, "before any [section]"},
        {"[cache]\npolicy = fifo\n", 2, "'fifo' is not one of lru|lfu|ewma"},
        {"[cache]\nsize = 101%\n", 2, "cache.size"},
        {"[server]\nmax_connections = 0\n", 2, "outside 1 to 10000 connections"},
        {"[server]\nmax_connections = 12x\n", 2, "not an integer"},
        {"[server]\nidle_timeout = 5 days\n", 2, "not seconds"},
        {"[limits]\nbody = 4X\n", 2, "not a size"},
        {"[limits]\non = perhaps\n", 2, "not one of yes|no"},
        {"[limits]\nfactor = nan\n", 2, "not a number"},
        {"[limits]\non = yes\njust words\n", 3, "neither [section], key = value nor a # comment"},
        {"[limits\non = yes\n", 1, "neither"},
        {"[cache]\n  size = 1G\n  policy = fifo\n", 3, "'fifo'"}, /* indented: no continuation of the value before */
        {"[model a]\npath = /m\ncolour = red\n", 3, "unknown key 'colour' in [model a]"},
        {"[model ]\npath = /m\n", 2, "[model"},
        {"[model 12345678901234567890123456789012345678901234567890]\npath = /m\n", 1, "longer than 49"},
        {"[cache]\nsize =\n", 2, "cache.size"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        world w = begin();
        char want[130];
        int r = load(&w, bad[i].text);
        snprintf(want, sizeof want, "%s:%d: ", w.file, bad[i].line);
        if (r >= 0 || strncmp(w.err.text, want, strlen(want)) || !strstr(w.err.text, bad[i].words))
            fail_msg("%d %s; expected %s…%s", r, w.err.text, want, bad[i].words);
        end(&w);
    }
}

static void hostile_files(void **state)
{
    (void)state;
    world w = begin();
    put(w.file, "[cache]\nsize = 1\0G\n", 18);
    assert_int_equal(hs_config_load_file(w.c, w.file, &w.err), -EINVAL);
    assert_non_null(strstr(w.err.text, ":2: "));
    assert_int_equal(hs_config_load_file(w.c, w.dir, &w.err), -EINVAL); /* a folder */
    assert_int_equal(hs_config_load_file(w.c, "/nonexistent.conf", &w.err), -ENOENT);
    char *big = malloc(2 << 20);
    assert_non_null(big);
    memset(big, '#', 2 << 20);
    put(w.file, big, 2 << 20);
    assert_int_equal(hs_config_load_file(w.c, w.file, &w.err), -EFBIG);
    memset(big, 'x', 6000);
    memcpy(big, "[server]\nlisten = ", 18);
    big[5999] = '\n';
    put(w.file, big, 6000);
    assert_int_equal(hs_config_load_file(w.c, w.file, &w.err), -EINVAL);
    assert_non_null(strstr(w.err.text, ":2: the line is too long"));
    free(big);
    /* Random bytes: an error or not, but no crash. */
    uint32_t seed = 1;
    for (int i = 0; i < 300; i++) {
        char junk[400];
        for (size_t k = 0; k < sizeof junk; k++) {
            seed = seed * 1664525u + 1013904223u;
            junk[k] = "[]=;#: \n\tcachesizelisten%10\xff"[(seed >> 16) % 29];
        }
        put(w.file, junk, sizeof junk);
        int r = hs_config_load_file(w.c, w.file, &w.err);
        assert_true(r <= 0);
    }
    end(&w);
}

/* Longer than inih's lines. */
static void long_lines(void **state)
{
    (void)state;
    world w = begin();
    char text[6000], path[1001];
    memset(path, 'p', 1000);
    path[1000] = '\0';
    snprintf(text, sizeof text, "# %s\n   ; %s\n[server]\nlisten =  %s  ; comment\nmax_connections = 7\n", path,
             path + 500, path);
    if (load(&w, text) < 0)
        fail_msg("%s", w.err.text);
    assert_string_equal(hs_config_str(w.c, "server", "listen"), path);
    assert_int_equal(hs_config_int(w.c, "server", "max_connections"), 7);
    snprintf(text, sizeof text, "[server]\nmax_connections = %s\n", path);
    assert_int_equal(load(&w, text), -EINVAL);
    assert_non_null(strstr(w.err.text, ":2: "));
    end(&w);
}

static void conf_d_in_byte_order(void **state)
{
    (void)state;
    world w = begin();
    char path[200];
    assert_int_equal(hs_config_load(w.c, w.file, true, &w.err), 0); /* nothing there */
    assert_int_equal(hs_config_load(w.c, w.file, false, &w.err), -ENOENT);
    assert_int_equal(load(&w, "[cache]\npolicy = lru\n[server]\nmax_connections = 1\n"), 0);
    snprintf(path, sizeof path, "%s.d", w.file);
    assert_int_equal(mkdir(path, 0755), 0);
    static const char *const files[][2] = {{"10-a.conf", "[server]\nmax_connections = 2\nidle_timeout = 2\n"},
                                           {"9-b.conf", "[server]\nmax_connections = 3\n"},
                                           {"B.conf", "[limits]\nfactor = 4\n"},
                                           {"a.conf", "[limits]\nfactor = 5\n"},
                                           {"ignored.conf~", "[nonsense]\n=\n"},
                                           {".hidden.conf", "[nonsense]\n=\n"},
                                           {".conf", "[nonsense]\n=\n"}};
    for (size_t i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "%s.d/%s", w.file, files[i][0]);
        put(path, files[i][1], strlen(files[i][1]));
    }
    if (hs_config_load(w.c, w.file, false, &w.err) < 0)
        fail_msg("%s", w.err.text);
    assert_int_equal(hs_config_int(w.c, "server", "max_connections"), 3);
    assert_int_equal(hs_config_seconds(w.c, "server", "idle_timeout"), 2);
    assert_string_equal(hs_config_str(w.c, "limits", "factor"), "5");
    assert_string_equal(hs_config_str(w.c, "cache", "policy"), "lru");
    snprintf(path, sizeof path, "%s.d/zz.conf", w.file);
    put(path, "[server]\n\nbad = 1\n", 18);
    assert_int_equal(hs_config_load(w.c, w.file, false, &w.err), -EINVAL);
    assert_non_null(strstr(w.err.text, "zz.conf:3: unknown key 'bad'"));
    end(&w);
}

/* flag > environment > file > default, by the order of the calls that main makes. */
static void later_sources_win(void **state)
{
    (void)state;
    world w = begin();
    char one[] = "HOTSET_SERVER_MAX_CONNECTIONS=3", two[] = "HOTSET_CACHE_POLICY=lfu", bad[] = "HOTSET_LIMITS_ON=maybe";
    char other[] = "HOTSET_SERVER_MAX_CONNECTIONS_X=9", *env[] = {other, one, two, NULL}, *bad_env[] = {bad, NULL};
    assert_int_equal(load(&w, "[server]\nmax_connections = 2\n"), 0);
    assert_int_equal(hs_config_int(w.c, "server", "max_connections"), 2);
    assert_int_equal(hs_config_load_environ(w.c, env, &w.err), 0);
    assert_int_equal(hs_config_int(w.c, "server", "max_connections"), 3);
    assert_string_equal(hs_config_str(w.c, "cache", "policy"), "lfu");
    assert_int_equal(hs_config_set(w.c, "server.max_connections=4", "--set", &w.err), 0);
    assert_int_equal(hs_config_int(w.c, "server", "max_connections"), 4);
    assert_int_equal(hs_config_load_environ(w.c, bad_env, &w.err), -EINVAL);
    assert_non_null(strstr(w.err.text, "environment HOTSET_LIMITS_ON: "));
    assert_int_equal(hs_config_set(w.c, "server.max_connections=x", "--set", &w.err), -EINVAL);
    assert_int_equal(hs_config_int(w.c, "server", "max_connections"), 4); /* a refused value changes nothing */
    end(&w);
}

static void assignments(void **state)
{
    (void)state;
    world w = begin();
    static const char *const bad[] = {
        "",         "x",         "=",        "a.b",           "a=b",      ".=",
        "server=1", "cache.x=1", "x.size=1", "model.path=/m", "model.=1", "model..path=/m"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (hs_config_set(w.c, bad[i], "--set", &w.err) != -EINVAL)
            fail_msg("%s was accepted", bad[i]);
        assert_non_null(strstr(w.err.text, "--set: "));
    }
    assert_int_equal(hs_config_set(w.c, "server.listen=unix:/a=b.c", "--set", &w.err), 0);
    assert_string_equal(hs_config_str(w.c, "server", "listen"), "unix:/a=b.c");
    assert_int_equal(hs_config_set(w.c, "server.listen=", "--set", &w.err), 0);
    assert_string_equal(hs_config_str(w.c, "server", "listen"), "");
    end(&w);
}

/* Flags and the environment bring text of any kind; what is printed could not say it again. */
static void what_no_line_holds(void **state)
{
    (void)state;
    world w = begin();
    static const char *const bad[] = {"server.listen= a",   "server.listen=a ",       "server.listen=a\nb",
                                      "server.listen=;a",   "server.listen=a ;",      "model.a]b.path=/m",
                                      "model. a.path=/m",   "model.a .path=/m",       "model.a ;b.path=/",
                                      "model.a\tb.path=/m", "server.listen=\x01\x7f", "server.listen=\v"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hs_config_set(w.c, bad[i], "--set", &w.err) != -EINVAL)
            fail_msg("%s was accepted", bad[i]);
    assert_int_equal(hs_config_set(w.c, "server.listen=a;b\xc3\xa4 c", "--set", &w.err), 0);
    char variable[] = "HOTSET_SERVER_LISTEN=a\n[cache]", *environment[] = {variable, NULL};
    assert_int_equal(hs_config_load_environ(w.c, environment, &w.err), -EINVAL);
    assert_non_null(strstr(w.err.text, "control character"));
    char text[4100];
    int n = snprintf(text, sizeof text, "server.listen=%04000d", 0);
    assert_int_equal(hs_config_set(w.c, text, "--set", &w.err), 0);
    snprintf(text + n, sizeof text - (size_t)n, "0");
    assert_int_equal(hs_config_set(w.c, text, "--set", &w.err), -EINVAL);
    snprintf(text, sizeof text, "model.%043d.path=/m", 0);
    assert_int_equal(hs_config_set(w.c, text, "--set", &w.err), 0);
    snprintf(text, sizeof text, "model.%044d.path=/m", 0);
    assert_int_equal(hs_config_set(w.c, text, "--set", &w.err), -EINVAL);
    hs_buf b;
    hs_buf_init(&b, 1 << 20);
    assert_int_equal(hs_config_print(w.c, &b), 0);
    put(w.file, b.data, b.len);
    if (hs_config_load_file(w.c, w.file, &w.err) < 0)
        fail_msg("%s", w.err.text);
    assert_int_equal(strlen(hs_config_str(w.c, "server", "listen")), 4000);
    assert_int_equal(strlen(hs_config_model_name(w.c, 0)), 43);
    assert_int_equal(hs_config_n_models(w.c), 1);
    hs_buf_deinit(&b);
    end(&w);
}

static void model_sections(void **state)
{
    (void)state;
    world w = begin();
    assert_int_equal(
        load(&w, "[model tale]\npath = /models/tale\n[model big.v3-1]\npath = /models/v3\ncontext = 4096\n"), 0);
    assert_int_equal(hs_config_set(w.c, "model.big.v3-1.context=8192", "--set", &w.err), 0);
    assert_int_equal(hs_config_set(w.c, "model.new.path=/n", "--model", &w.err), 0);
    assert_int_equal(hs_config_n_models(w.c), 3);
    assert_string_equal(hs_config_model_name(w.c, 0), "tale");
    assert_string_equal(hs_config_model_name(w.c, 1), "big.v3-1");
    assert_string_equal(hs_config_model_str(w.c, 1, "context"), "8192");
    assert_string_equal(hs_config_model_str(w.c, 2, "path"), "/n");
    assert_null(hs_config_model_str(w.c, 0, "context"));
    char text[40];
    for (int i = 3; i <= 16; i++) {
        snprintf(text, sizeof text, "model.m%d.path=/m", i);
        assert_int_equal(hs_config_set(w.c, text, "--set", &w.err), i < 16 ? 0 : -E2BIG);
    }
    end(&w);
}

/* What is printed reads back as the same configuration. */
static void printing_reads_back(void **state)
{
    (void)state;
    world w = begin();
    assert_int_equal(load(&w, "[cache]\nsize = 10%\n[server]\nlisten = unix:/a b\n[model m]\npath = /m\n"), 0);
    assert_int_equal(hs_config_set(w.c, "limits.on=no", "--set", &w.err), 0);
    hs_buf a, b;
    hs_buf_init(&a, 1 << 20);
    hs_buf_init(&b, 1 << 20);
    assert_int_equal(hs_config_print(w.c, &a), 0);
    assert_non_null(strstr(a.data, "hotset.conf:2\nsize = 10%\n"));
    assert_non_null(strstr(a.data, "# --set\non = no\n"));
    assert_non_null(strstr(a.data, "# default\npolicy = ewma\n"));
    hs_config *again = NULL;
    assert_int_equal(hs_config_create(tables, 2, &again, NULL), 0);
    put(w.file, a.data, a.len);
    if (hs_config_load_file(again, w.file, &w.err) < 0)
        fail_msg("%s", w.err.text);
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < tables[t].n; i++) {
            const hs_option *o = &tables[t].options[i];
            if (strcmp(o->section, "model"))
                assert_string_equal(hs_config_str(again, o->section, o->key), hs_config_str(w.c, o->section, o->key));
        }
    assert_int_equal(hs_config_n_models(again), 1);
    assert_string_equal(hs_config_model_str(again, 0, "path"), "/m");
    hs_config_destroy(&again);
    hs_buf_deinit(&a);
    hs_buf_deinit(&b);
    end(&w);
}

/* The reference is all comments; with its "# key = value" lines uncommented it sets every default. */
static void reference_reads_back(void **state)
{
    (void)state;
    world w = begin();
    hs_buf ref, live;
    hs_buf_init(&ref, 1 << 20);
    hs_buf_init(&live, 1 << 20);
    assert_int_equal(hs_config_print_reference(tables, 2, &ref), 0);
    put(w.file, ref.data, ref.len);
    if (hs_config_load_file(w.c, w.file, &w.err) < 0)
        fail_msg("%s", w.err.text);
    assert_false(hs_config_is_set(w.c, "cache", "policy"));
    size_t set = 0;
    for (char *line = strtok(ref.data, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 120);
        for (size_t t = 0; t < 2; t++)
            for (size_t i = 0; i < tables[t].n; i++) {
                char want[60];
                snprintf(want, sizeof want, "# %s =", tables[t].options[i].key);
                if (!strncmp(line, want, strlen(want)) && ++set)
                    line += 2;
            }
        if (!strcmp(line, "# [model NAME]"))
            line += 2;
        hs_buf_printf(&live, "%s\n", line);
    }
    assert_int_equal(set, tables[0].n + tables[1].n);
    put(w.file, live.data, live.len);
    if (hs_config_load_file(w.c, w.file, &w.err) < 0)
        fail_msg("%s", w.err.text);
    assert_true(hs_config_is_set(w.c, "cache", "policy"));
    assert_string_equal(hs_config_str(w.c, "limits", "body"), "4M");
    hs_buf_deinit(&ref);
    hs_buf_deinit(&live);
    end(&w);
}

static void out_of_memory(void **state)
{
    (void)state;
    world w = begin();
    int r = -1;
    for (int n = 0; r < 0 && n < 200; n++) {
        hs_config *c = NULL;
        hs_mem_fail_after(n);
        r = hs_config_create(tables, 2, &c, &w.err);
        if (r == 0)
            r = hs_config_set(c, "model.m.path=/m", "--set", &w.err);
        if (r == 0)
            r = hs_config_set(c, "cache.policy=lru", "--set", &w.err);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || r == -ENOMEM);
        hs_config_destroy(&c);
    }
    assert_int_equal(r, 0);
    end(&w);
}

static void changes_that_need_a_restart(void **state)
{
    (void)state;
    static const char *const before = "[cache]\nsize = 25%\n[server]\nidle_timeout = 5\n[model a]\npath = /a\n"
                                      "[model b]\npath = /b\ncontext = 7\n";
    static const struct {
        const char *text, *changes;
    } cases[] = {
        {"[cache]\nsize = 25%\npolicy = ewma\n"
         "[model b]\npath = /b\ncontext = 7\n[model a]\npath = /a\ncontext = 0\n",
         ""},
        {"[cache]\nsize = 26%\npolicy = lru\n[server]\nmax_connections = 9\n"
         "[model a]\npath = /c\n[model b]\npath = /b\n",
         "cache.size, cache.policy, model.a.path, model.b.context"},
        {"[cache]\nsize = 25%\n[model a]\npath = /a\n[model c]\npath = /c\n", "[model b], [model c]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        world a = begin(), b = begin();
        hs_buf out;
        hs_buf_init(&out, 1000);
        assert_int_equal(load(&a, before), 0);
        assert_int_equal(load(&b, cases[i].text), 0);
        hs_config_fixed_changes(a.c, b.c, &out);
        assert_string_equal(out.len ? out.data : "", cases[i].changes);
        hs_buf_deinit(&out);
        end(&a);
        end(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read),      cmocka_unit_test(changes_that_need_a_restart),
        cmocka_unit_test(defaults_are_valid),   cmocka_unit_test(errors_have_file_and_line),
        cmocka_unit_test(hostile_files),        cmocka_unit_test(long_lines),
        cmocka_unit_test(conf_d_in_byte_order), cmocka_unit_test(later_sources_win),
        cmocka_unit_test(assignments),          cmocka_unit_test(what_no_line_holds),
        cmocka_unit_test(model_sections),       cmocka_unit_test(printing_reads_back),
        cmocka_unit_test(reference_reads_back), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * cmd_serve.c - the daemon: configuration, memory plans, and a loader thread that brings the models up while the server
 * already answers /health.
 *
 * Threads: main runs the server's loop; the loader creates engines and hands them over, then it keeps them: it ticks
 * the governor and reports preloading, and touches no drive any more. The saver writes now and then which experts are
 * used. Both end before the engines are destroyed; a saver that stands still leaves them in place.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/planned.h"
#include "cli/report.h"
#include "cli/saver.h"
#include "cli/verbs.h"
#include "server/server.h"

typedef struct served {
    hs_server_model model;
    hs_engine *engine;
} served;

typedef struct daemon_state {
    const hs_args *args;
    hs_config *config;
    served *models;
    hs_planned *planned; /* [n], of the same models */
    size_t n;
    hs_server *server;
    pthread_t loader;
    size_t loading; /* index of the model that is being loaded; loader thread only */
    uint64_t server_bytes;
    uint64_t limit;                  /* memory.limit as it is applied; loop thread */
    _Atomic(hs_governor *) governor; /* the loader makes it; NULL: models load, or there is none */
    atomic_bool is_loaded;           /* all models; their engines stay from then on */
    atomic_bool over;                /* the server has ended */
    hs_saver *saver;                 /* the loader starts it; NULL: models load */
    bool is_left;                    /* the saver stands still, and may go on at any time with what it uses */
} daemon_state;

/* ---- configuration ---- */

/* --model NAME=PATH and --listen on top of files, environment and --set. */
static int apply_flags(const hs_args *a, hs_config *c, hs_err *err)
{
    const char *v;
    int r = 0;
    for (size_t i = 0; r == 0 && (v = hs_args_list(a, "model", i)); i++) {
        const char *eq = strchr(v, '=');
        if (!eq || eq == v || !eq[1])
            return hs_err_set(err, -EINVAL, "--model needs NAME=PATH, not '%s'", v);
        for (size_t k = 0; k < i; k++)
            if (!strncmp(hs_args_list(a, "model", k), v, (size_t)(eq - v) + 1))
                return hs_err_set(err, -EINVAL, "--model: two models are called %.*s", (int)(eq - v), v);
        char *assignment = hs_asprintf("model.%.*s.path=%s", (int)(eq - v), v, eq + 1);
        r = assignment ? hs_config_set(c, assignment, "--model", err) : hs_err_set(err, -ENOMEM, "out of memory");
        hs_free(assignment);
    }
    hs_buf listen;
    hs_buf_init(&listen, 65536);
    hs_buf_puts(&listen, "server.listen=");
    for (size_t i = 0; (v = hs_args_list(a, "listen", i)); i++)
        hs_buf_printf(&listen, "%s%s", i ? " " : "", v);
    if (r == 0 && hs_args_has(a, "listen"))
        r = listen.failed ? hs_err_set(err, listen.failed, "--listen: too many addresses")
                          : hs_config_set(c, listen.data, "--listen", err);
    if (r == 0 && hs_args_has(a, "listen"))
        r = hs_server_check_listen(hs_config_str(c, "server", "listen"), err);
    hs_buf_deinit(&listen);
    return r;
}

static const char *env(const hs_args *a, const char *name)
{
    size_t n = strlen(name);
    for (char *const *v = a->env; *v; v++)
        if (!strncmp(*v, name, n) && (*v)[n] == '=')
            return *v + n + 1;
    return NULL;
}

/* Does the journal read our standard error? JOURNAL_STREAM is "DEVICE:INODE" of it then. */
static bool is_journal(const hs_args *a)
{
    const char *stream = env(a, "JOURNAL_STREAM");
    struct stat st;
    unsigned long long dev, ino;
    return stream && fstat(STDERR_FILENO, &st) == 0 && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
           dev == st.st_dev && ino == st.st_ino;
}

static void setup_log(const hs_args *a, const hs_config *c)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    const char *level = hs_config_str(c, "log", "level"), *format = hs_config_str(c, "log", "format");
    hs_log_level l = HS_LOG_INFO;
    for (int i = 0; i < 4; i++)
        l = !strcmp(level, levels[i]) ? (hs_log_level)i : l;
    hs_log_format f = HS_LOG_TEXT;
    if (!strcmp(format, "json"))
        f = HS_LOG_JSON;
    else if (!strcmp(format, "systemd") || (!strcmp(format, "auto") && is_journal(a)))
        f = HS_LOG_SYSTEMD;
    hs_log_setup(l, f);
}

static int apply_limit(daemon_state *d, uint64_t limit, hs_err *err)
{
    hs_governor *g = atomic_load(&d->governor);
    if (limit == d->limit)
        return 0;
    if (!d->planned[0].options.governed)
        return hs_err_set(err, -EINVAL, "memory.limit cannot change while memory.governor is off: restart hotset");
    if (!g)
        return hs_err_set(err, -EAGAIN, "memory.limit cannot change before all models are loaded: reload then");
    int r = hs_governor_set_limit(g, limit, err);
    if (r == 0)
        d->limit = limit;
    return r;
}

/* The profile that model i has in c; one that is no longer there keeps its own. */
static const char *profile_in(const daemon_state *d, const hs_config *c, size_t i)
{
    const char *name;
    hs_engine_options e = {.profile = d->planned[i].options.profile};
    for (size_t k = 0; (name = hs_config_model_name(c, k)); k++)
        if (!strcmp(name, d->models[i].model.name))
            hs_engine_options_for_model(c, k, &e);
    return e.profile;
}

/* only_check: takes the names, so that nothing fails when they are applied. */
static int apply_profiles(daemon_state *d, const hs_config *c, bool only_check, hs_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < d->n; i++) {
        const char *profile = profile_in(d, c, i);
        bool is_loaded = atomic_load(&d->is_loaded);
        if (!is_loaded && strcmp(profile, d->planned[i].options.profile) != 0)
            r = hs_err_set(err, -EAGAIN, "expert_profile cannot change before all models are loaded: reload then");
        else if (is_loaded)
            r = only_check ? hs_engine_add_profile(d->models[i].engine, profile, err)
                           : hs_engine_set_profile(d->models[i].engine, profile, err);
        if (r < 0)
            hs_err_prefix(err, "model %s", d->models[i].model.name);
    }
    return r;
}

/* What has been applied says nothing of what was not. */
static void warn_of_fixed(const daemon_state *d, const hs_config *fresh)
{
    hs_buf b;
    hs_buf_init(&b, 4096);
    hs_config_fixed_changes(d->config, fresh, &b);
    if (b.len)
        hs_warn("the configuration has another %s%s, which only a restart applies", b.data, b.failed ? "..." : "");
    hs_buf_deinit(&b);
}

/* SIGHUP, on the loop thread. The models and what belongs to them stay as they are, but for the limit and profiles. */
static int reload(void *ctx, hs_err *err)
{
    daemon_state *d = ctx;
    hs_config *fresh = NULL;
    hs_server_options o;
    int r = hs_reread_config(d->args, &fresh, err);
    if (r == 0)
        r = apply_flags(d->args, fresh, err);
    if (r == 0)
        r = hs_server_options_from_config(fresh, &o, err);
    uint64_t before = d->limit;
    hs_engine_options e;
    if (r == 0) {
        hs_engine_options_from_config(fresh, &e);
        r = apply_profiles(d, fresh, true, err);
        if (r == 0)
            r = apply_limit(d, e.memory_limit, err);
    }
    if (r == 0) {
        r = hs_server_apply(d->server, &o, err);
        if (r < 0)
            (void)apply_limit(d, before, &(hs_err){0});
    }
    if (r == 0)
        r = apply_profiles(d, fresh, false, err);
    if (r == 0) {
        setup_log(d->args, fresh);
        warn_of_fixed(d, fresh);
    }
    hs_config_destroy(&fresh);
    return r;
}

static int print_text(hs_buf *b)
{
    fputs(b->len ? b->data : "", stdout);
    int failed = b->failed;
    hs_buf_deinit(b);
    return failed ? 1 : 0;
}

static int print_reference(void)
{
    hs_option_table tables[HS_N_OPTION_TABLES];
    hs_option_tables(tables);
    hs_buf b;
    hs_buf_init(&b, 1 << 20);
    hs_buf_puts(&b,
                "# hotset.conf - every option with its default. Made by: hotset serve --print-reference\n"
                "#\n"
                "# Read from " HS_DEFAULT_CONFIG ", then hotset.conf.d/*.conf beside it in the order of their names.\n"
                "# The environment (HOTSET_SECTION_KEY=value) and flags (--set section.key=value) override files.\n"
                "# Sizes: 4096, 8G, 3.5M: bytes, or k, M, G or T of them (powers of 1024; iB may follow). Times: "
                "seconds, or an\n"
                "# integer with s, min or h. An unknown section or key is an error. Options marked reloadable are\n"
                "# applied by SIGHUP (systemctl reload hotset); all others need a restart.\n");
    hs_config_print_reference(tables, HS_N_OPTION_TABLES, &b);
    return print_text(&b);
}

static int print_config(const hs_config *c)
{
    hs_buf b;
    hs_buf_init(&b, 1 << 20);
    hs_config_print(c, &b);
    return print_text(&b);
}

/* The plan, line by line, into the log. */
static void log_plan(const hs_planned *m)
{
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_plan_format(&m->plan, m->options.path, &b);
    hs_info("memory plan of model %s:", m->name);
    for (char *line = b.len ? b.data : NULL; line && *line;) {
        size_t n = strcspn(line, "\n");
        hs_info("%.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
    hs_buf_deinit(&b);
}

/* ---- loading ---- */

static int on_load(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
    daemon_state *d = ctx;
    char line[200];
    snprintf(line, sizeof line, "%s %s: %d %%", stage, d->models[d->loading].model.name,
             total ? (int)(100.0 * (double)done / (double)total) : 0);
    hs_server_set_progress(d->server, line);
    return hs_server_is_stopping(d->server);
}

/* ---- keeping ---- */

#define SAVE_MS      60000 /* what a crash costs; files of profiles that were not used meanwhile are not written */
#define LAST_SAVE_MS 5000
#define KEEP_MS      250

static int start_governor(daemon_state *d, hs_err *err)
{
    hs_engine *engines[HS_SERVER_MAX_MODELS];
    for (size_t i = 0; i < d->n; i++)
        engines[i] = d->models[i].engine;
    hs_governor_options o = {
        .engines = engines, .n_engines = d->n, .limit = d->planned[0].options.memory_limit, .outside = d->server_bytes};
    hs_governor *g = NULL;
    int r = hs_governor_create(&o, &g, err);
    atomic_store(&d->governor, g);
    return r;
}

/* Whether models are being preloaded; says how far they are. */
static bool report_preload(daemon_state *d)
{
    for (size_t i = 0; i < d->n; i++) {
        hs_engine_stats s = hs_engine_get_stats(d->models[i].engine);
        char line[200];
        if (!s.is_preloading)
            continue;
        snprintf(line, sizeof line, "preloading %s: %u of %u experts", d->models[i].model.name, s.preload_done,
                 s.preload_total);
        hs_server_set_progress(d->server, line);
        return true;
    }
    return false;
}

static void log_preload(const daemon_state *d)
{
    for (size_t i = 0; i < d->n; i++) {
        hs_engine_stats s = hs_engine_get_stats(d->models[i].engine);
        if (s.preload_done)
            hs_info("model %s: %u of %u experts that were used most before have been read ahead",
                    d->models[i].model.name, s.preload_done, s.preload_total);
    }
}

/* Of all models; the first error. The saver's thread. */
static int save_heat(void *ctx, hs_err *err)
{
    const daemon_state *d = ctx;
    int r = 0;
    for (size_t i = 0; i < d->n; i++) {
        hs_err of_one = {0};
        int one = hs_engine_save_learnt(d->models[i].engine, &of_one);
        if (one < 0 && r == 0)
            r = one, *err = of_one;
    }
    return r;
}

static void keep(daemon_state *d)
{
    hs_err err = {0};
    bool is_ready = false;
    if (d->planned[0].options.governed && start_governor(d, &err) < 0)
        hs_warn("%s", err.text);
    if (hs_saver_start(save_heat, d, "which experts are used", SAVE_MS, &d->saver, &err) < 0)
        hs_warn("%s", err.text);
    while (!atomic_load(&d->over)) {
        hs_governor *g = atomic_load(&d->governor);
        uint32_t ms = g ? hs_governor_tick(g, hs_now_ns()) : KEEP_MS;
        if (!is_ready && !report_preload(d)) {
            is_ready = true;
            log_preload(d);
            hs_server_set_ready(d->server);
        }
        struct timespec t = {0, ms * 1000000l};
        nanosleep(&t, NULL);
    }
}

static void *load(void *ctx)
{
    daemon_state *d = ctx;
    for (size_t i = 0; i < d->n; i++) {
        served *m = &d->models[i];
        hs_err err = {0};
        d->loading = i;
        d->planned[i].options.progress = on_load;
        d->planned[i].options.progress_ctx = d;
        int r = hs_engine_create(&d->planned[i].options, &m->engine, &err);
        if (r == 0)
            r = hs_engine_start(m->engine, &err);
        if (r < 0) {
            if (hs_server_is_stopping(d->server))
                return NULL;
            hs_err_prefix(&err, "model %s", m->model.name);
            hs_server_set_failed(d->server, r, err.text);
            return NULL;
        }
        hs_info("model %s: %s kernels, reads through %s, %s", m->model.name, hs_engine_kernels_name(m->engine),
                hs_engine_io_name(m->engine), hs_engine_io_note(m->engine));
        hs_server_set_engine(d->server, i, m->engine);
    }
    atomic_store(&d->is_loaded, true);
    keep(d);
    return NULL;
}

static void list_models(const daemon_state *d, hs_server_model ret_models[HS_SERVER_MAX_MODELS])
{
    for (size_t i = 0; i < d->n; i++)
        ret_models[i] = d->models[i].model;
}

static int serve(daemon_state *d, const hs_server_options *so, hs_err *err)
{
    hs_server_model models[HS_SERVER_MAX_MODELS];
    list_models(d, models);
    int r = hs_server_create(so, models, d->n, &d->server, err);
    if (r < 0)
        return r;
    r = -pthread_create(&d->loader, NULL, load, d);
    if (r < 0) {
        hs_err_set(err, r, "cannot start a thread: %s", hs_strerror(r));
    } else {
        r = hs_server_run(d->server, err);
        atomic_store(&d->over, true);
        pthread_join(d->loader, NULL);
        hs_governor *g = atomic_exchange(&d->governor, NULL);
        hs_governor_destroy(&g);
        d->is_left = !hs_saver_stop(&d->saver, LAST_SAVE_MS);
        if (d->is_left)
            hs_warn("which experts are used is not remembered: the drive of state.dir does not answer");
    }
    hs_server_destroy(&d->server);
    return r;
}

static int read_models(daemon_state *d, hs_server_options *so, hs_err *err)
{
    d->n = hs_config_n_models(d->config);
    if (d->n == 0)
        return hs_err_set(err, -EINVAL,
                          "no model to serve: give --model NAME=PATH, or a [model NAME] section with path");
    if (d->n > HS_SERVER_MAX_MODELS)
        return hs_err_set(err, -E2BIG, "%zu models; at most %d are possible", d->n, HS_SERVER_MAX_MODELS);
    d->models = hs_calloc(d->n, sizeof *d->models);
    d->planned = hs_calloc(d->n, sizeof *d->planned);
    if (!d->models || !d->planned)
        return hs_err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < d->n; i++) {
        int r = hs_server_model_from_config(d->config, i, &d->models[i].model, err);
        if (r < 0)
            return r;
    }
    hs_server_model models[HS_SERVER_MAX_MODELS];
    list_models(d, models);
    int r = hs_server_check(so, models, d->n, err); /* before minutes of loading */
    return r < 0 ? r : hs_planned_describe(d->config, so, d->planned, err);
}

static int start(daemon_state *d, hs_err *err)
{
    const hs_args *a = d->args;
    hs_server_options so;
    size_t at;
    int r = hs_server_options_from_config(d->config, &so, err);
    so.service = (hs_service_env){.notify_socket = env(a, "NOTIFY_SOCKET"),
                                  .watchdog_usec = env(a, "WATCHDOG_USEC"),
                                  .watchdog_pid = env(a, "WATCHDOG_PID"),
                                  .listen_fds = env(a, "LISTEN_FDS"),
                                  .listen_pid = env(a, "LISTEN_PID")};
    if (r == 0)
        r = read_models(d, &so, err);
    d->server_bytes = hs_server_memory_bytes(&so);
    if (r == 0)
        r = hs_planned_make(d->planned, d->n, d->server_bytes, &at, err);
    if (r < 0)
        return r;
    d->limit = d->planned[0].options.memory_limit;
    for (size_t i = 0; i < d->n; i++)
        log_plan(&d->planned[i]);
    if (hs_args_has(a, "check-config"))
        return 0;
    so.reload = reload;
    so.reload_ctx = d;
    return serve(d, &so, err);
}

static int run_serve(const hs_args *a)
{
    if (hs_args_has(a, "print-reference"))
        return print_reference();
    hs_server_hold_signals();
    static daemon_state d; /* not on the stack: it may be left */
    d.args = a;
    int status = hs_load_config(a, &d.config);
    if (status)
        return status;
    hs_err err = {0};
    if (apply_flags(a, d.config, &err) < 0) {
        status = hs_fail_usage(a->verb, "%s", err.text);
    } else if (hs_args_has(a, "print-config")) {
        status = print_config(d.config);
    } else {
        setup_log(a, d.config);
        if (start(&d, &err) < 0) {
            hs_error("%s", err.text);
            status = 1;
        }
    }
    if (d.is_left)
        return status;
    for (size_t i = 0; i < d.n && d.models; i++)
        hs_engine_destroy(&d.models[i].engine);
    hs_free(d.models);
    hs_free(d.planned);
    hs_config_destroy(&d.config);
    return status;
}

static const hs_flag flags[] = {
    {"model", HS_FLAG_LIST, "NAME=PATH", 0, 0, "serve the model folder PATH under NAME; as [model NAME] path = PATH"},
    {"listen", HS_FLAG_LIST, "ADDRESS", 0, 0,
     "unix:PATH or tcp:127.0.0.1:PORT, instead of server.listen; sockets that systemd hands over replace both"},
    HS_FLAGS_CONFIG,
    {"print-config", HS_FLAG_SWITCH, NULL, 0, 0,
     "print the effective configuration, each value with its origin; do not serve"},
    {"check-config", HS_FLAG_SWITCH, NULL, 0, 0, "check configuration, models and memory plan; do not serve"},
    {"print-reference", HS_FLAG_SWITCH, NULL, 0, 0,
     "print a configuration file with every option explained; do not serve"},
    HS_FLAGS_END};

const hs_verb hs_verb_serve = {
    .name = "serve",
    .synopsis = "",
    .summary = "The daemon: serves models over HTTP on a Unix socket.",
    .details =
        "Memory is planned before anything is loaded; a limit under the floor is refused with the figures. SIGTERM "
        "lets running answers finish (20 s at most), SIGHUP reloads the options that are marked reloadable.",
    .flags = flags,
    .run = run_serve};

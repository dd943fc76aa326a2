/* cmd_ps.c - what the daemon has loaded. */
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/verbs.h"
#include "cli/watch.h"

static int show(const hs_args *a, const hs_daemon *d, hs_watch *w, hs_err *err)
{
    int r = hs_watch_take(d, w, err);
    if (r < 0)
        return hs_fail(err);
    if (hs_args_has(a, "json"))
        return hs_print_json(hs_watch_json(NULL, w, d->address, (int64_t)time(NULL)));
    hs_buf b;
    hs_buf_init(&b, 1 << 16);
    hs_watch_format_ps(w, (int64_t)time(NULL), &b);
    fputs(b.len ? b.data : "", stdout);
    hs_buf_deinit(&b);
    return 0;
}

static int run_ps(const hs_args *a)
{
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    hs_daemon d = {0};
    hs_err err = {0};
    hs_signals_setup();
    hs_watch *w = hs_calloc(1, sizeof *w);
    int r = w ? hs_daemon_find(a, config, &d, &err) : hs_err_set(&err, -ENOMEM, "out of memory");
    status = r < 0 ? hs_fail(&err) : show(a, &d, w, &err);
    hs_daemon_deinit(&d);
    hs_free(w);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {HS_FLAG_SOCKET, HS_FLAGS_CONFIG, HS_FLAG_JSON, HS_FLAGS_END};

const hs_verb hs_verb_ps = {
    .name = "ps",
    .synopsis = "",
    .summary = "What the running daemon has loaded: models, experts in memory, requests.",
    .details =
        "EXPERTS are those in memory, of how many memory has room for now; CACHE is their memory, MEMORY all that "
        "the model may take. RUN and WAIT are requests. HITS is the hit rate since the daemon's start.",
    .flags = flags,
    .run = run_ps};

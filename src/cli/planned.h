/*
 * planned.h - the models of a configuration as hotset serve loads them: their options, [model NAME] sections included,
 * and plans that share memory.limit. Each is planned, in the order of the configuration, with what the earlier ones
 * take and the floors of the later ones counted as outside. One thread.
 */
#ifndef HS_CLI_PLANNED_H
#define HS_CLI_PLANNED_H

#include "base/config.h"
#include "hotset/hotset.h"
#include "server/server.h"

typedef struct hs_planned {
    const char *name;          /* of its section; borrowed from the configuration, as all of options */
    hs_engine_options options; /* memory_outside: the server and the other models, once it is planned */
    hs_plan plan;
    bool is_planned; /* the plan is not refused */
} hs_planned;

/* m[hs_config_n_models(c)]: names and options. -EINVAL: a section has no path; also hs_files_check's errors. */
int hs_planned_describe(const hs_config *c, const hs_server_options *so, hs_planned *m, hs_err *err) HS_MUST_CHECK;
/* Plans m[n], until one is refused: errors as of hs_plan_make, with its name before them; *ret_at is its place. */
int hs_planned_make(hs_planned *m, size_t n, uint64_t server_bytes, size_t *ret_at, hs_err *err) HS_MUST_CHECK;

#endif

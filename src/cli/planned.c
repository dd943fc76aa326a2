/* planned.c - see planned.h. */
#include "cli/planned.h"

#include <string.h>

#include "cli/options.h"
#include "cli/shapes.h"

int hs_planned_describe(const hs_config *c, const hs_server_options *so, hs_planned *m, hs_err *err)
{
    const char *calibrate = hs_config_str(c, "io", "calibrate");
    for (size_t i = 0; i < hs_config_n_models(c); i++) {
        hs_engine_options *o = &m[i].options;
        m[i] = (hs_planned){.name = hs_config_model_name(c, i)};
        hs_engine_options_from_config(c, o);
        hs_engine_options_for_model(c, i, o);
        if (o->io_calibrate != HS_CALIBRATE_OFF)
            o->io_calibrate = strcmp(calibrate, "always") ? HS_CALIBRATE_ONCE : HS_CALIBRATE_ALWAYS;
        o->parallel = so->parallel;
        o->max_queue = so->max_queue;
        if (!o->path || !*o->path)
            return hs_err_set(err, -EINVAL, "[model %s] has no path", m[i].name);
        int r = hs_files_check(o->path, HS_NEEDED_MODEL, err);
        if (r < 0)
            return hs_err_prefix(err, "model %s", m[i].name), r;
    }
    return 0;
}

/* What models other than i take: the earlier ones as planned, the later ones at least. */
static uint64_t taken_by_others(const hs_planned *m, size_t n, size_t i)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < n; k++)
        if (k != i)
            sum += (k < i ? m[k].plan.total : m[k].plan.floor) - m[k].plan.outside;
    return sum;
}

int hs_planned_make(hs_planned *m, size_t n, uint64_t server_bytes, size_t *ret_at, hs_err *err)
{
    /* First the floors: a plan that is refused for the limit has them too. */
    for (size_t i = 0; i < n; i++) {
        int r = hs_plan_make(&m[i].options, &m[i].plan, err);
        if (r < 0 && !(r == -ENOMEM && m[i].plan.floor)) {
            hs_err_prefix(err, "model %s", m[i].name);
            *ret_at = i;
            return r;
        }
        m[i].plan.outside = 0;
    }
    for (size_t i = 0; i < n; i++) {
        m[i].options.memory_outside = server_bytes + taken_by_others(m, n, i);
        int r = hs_plan_make(&m[i].options, &m[i].plan, err);
        if (r < 0) {
            hs_err_prefix(err, "model %s", m[i].name);
            *ret_at = i;
            return r;
        }
        m[i].is_planned = true;
    }
    return 0;
}

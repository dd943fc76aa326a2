/* replay_fit.c - see replay_fit.h. Pure. */
#include "cli/replay_fit.h"

#include <math.h>

void hs_replay_fit_add(hs_replay_fit *f, const hs_replay_token *t)
{
    double m = t->misses, l = t->layers;
    f->n++;
    f->misses += m;
    f->layers += l;
    f->warm_hits += t->warm_hits;
    f->busy_s += t->busy_s;
    f->expert_s += t->expert_s;
    f->expand_s += t->expand_s;
    f->rest_s += t->rest_s;
    f->layers_layers += l * l;
    f->layers_misses += l * m;
    f->misses_misses += m * m;
    f->busy_layers += t->busy_s * l;
    f->busy_misses += t->busy_s * m;
}

#define MOST_LATE 0.5 /* of the drive's time: few tokens or a busy machine make the lines' slopes anything */

static double within(double x, double least, double most)
{
    return x >= least ? fmin(x, most) : least; /* least also for what is not a number */
}

hs_replay_costs hs_replay_fit_solve(const hs_replay_fit *f)
{
    hs_replay_costs c = {0};
    if (f->n == 0)
        return c;
    c.experts_s = f->expert_s / f->n;
    c.dense_s = f->rest_s / f->n;
    if (f->misses + f->warm_hits > 0)
        c.expand_s = f->expand_s / (f->misses + f->warm_hits);
    if (f->misses == 0)
        return c;
    double det = f->layers_layers * f->misses_misses - f->layers_misses * f->layers_misses;
    double latency = (f->busy_layers * f->misses_misses - f->busy_misses * f->layers_misses) / det;
    c.each_s = (f->busy_s - within(latency, 0, MOST_LATE * f->busy_s / f->layers) * f->layers) / f->misses;
    return c;
}

/* learn.c - see learn.h. */
#include "cache/learn.h"

#include <math.h>
#include <string.h>

#include "cache/heap.h"

#define N           HS__N_FEATURES
#define HORIZON     4 /* steps */
#define RIDGE       100.0
#define SHARED      2000.0 /* samples of all layers that a layer's own are added to */
#define HALF_LIFE   2000.0 /* of the sums, in steps */
#define SOLVE_EVERY 4      /* tokens */

#define RARE    0.1f  /* a rate that counts half as much as the rarest, and, as a typical one, */
#define TYPICAL 0.05f /* this counts as one sample */

static const float first_w[N] = {0.1f, 0.3f, 0, 0.2f, 0, 0, 0.4f};

size_t hs__learner_bytes(uint32_t n_objects, uint32_t n_layers)
{
    return hs__pad(n_layers * sizeof(hs__lesson)) + hs__pad(n_objects * N * sizeof(float)) +
           hs__pad(n_objects * sizeof(float)) + hs__pad(n_objects * sizeof(uint16_t));
}

void hs__learner_init(hs__learner *l, void *mem, uint32_t n_objects, uint32_t n_layers)
{
    *l = (hs__learner){.n_layers = n_layers, .lesson = mem};
    l->x = (float *)((uint8_t *)mem + hs__pad(n_layers * sizeof(hs__lesson)));
    l->y = (float *)((uint8_t *)l->x + hs__pad(n_objects * N * sizeof(float)));
    l->cell = (uint16_t *)((uint8_t *)l->y + hs__pad(n_objects * sizeof(float)));
    hs__hazard_init(&l->hazard);
    for (uint32_t i = 0; i < N; i++) {
        l->all.xx[i][i] = RIDGE;
        l->all.xy[i] = RIDGE * first_w[i];
    }
    for (uint32_t i = 0; i < n_layers; i++) {
        l->lesson[i] = (hs__lesson){.step = i % HORIZON}; /* not all layers are due at once */
        memcpy(l->lesson[i].w, first_w, sizeof first_w);
    }
}

/* to = to * keep + add * part */
static void blend(hs__sums *to, double keep, const hs__sums *add, double part)
{
    for (uint32_t i = 0; i < N; i++) {
        to->xy[i] = to->xy[i] * keep + add->xy[i] * part;
        for (uint32_t j = 0; j < N; j++)
            to->xx[i][j] = to->xx[i][j] * keep + add->xx[i][j] * part;
    }
    to->n = to->n * keep + add->n * part;
}

static void take_in(hs__learner *l, hs__lesson *lesson, uint32_t first, uint32_t end)
{
    hs__sums s = {.n = end - first};
    float m[N][N + 1] = {{0}};
    for (uint32_t o = first; o < end; o++) {
        const float *x = hs__learner_features(l, o);
        float weight = (RARE + TYPICAL) / (RARE + x[N - 1]);
        for (uint32_t i = 0; i < N; i++) {
            float part = weight * x[i];
            for (uint32_t j = 0; j <= i; j++)
                m[i][j] += part * x[j];
            m[i][N] += part * l->y[o];
        }
        hs__hazard_learn(&l->hazard, l->cell[o], l->y[o]);
    }
    for (uint32_t i = 0; i < N; i++) {
        s.xy[i] = m[i][N];
        for (uint32_t j = 0; j < N; j++)
            s.xx[i][j] = m[i > j ? i : j][i > j ? j : i];
    }
    blend(&lesson->sums, exp2(-HORIZON / HALF_LIFE), &s, 1);
    double keep = exp2(-HORIZON / HALF_LIFE / l->n_layers);
    for (uint32_t i = 0; i < N; i++) { /* the ridge does not fade */
        s.xx[i][i] += (1 - keep) * RIDGE;
        s.xy[i] += (1 - keep) * RIDGE * first_w[i];
    }
    blend(&l->all, keep, &s, 1);
}

bool hs__learner_step(hs__learner *l, uint32_t layer, uint32_t first, uint32_t end, uint32_t span)
{
    hs__lesson *lesson = &l->lesson[layer];
    if (span > HS__MOST_SPAN) {
        lesson->is_written = false;
        return false;
    }
    lesson->step = (uint8_t)((lesson->step + 1) % HORIZON);
    if (lesson->step)
        return false;
    if (lesson->is_written)
        take_in(l, lesson, first, end);
    lesson->is_written = true;
    memset(l->y + first, 0, (end - first) * sizeof *l->y);
    return true;
}

void hs__learner_use(hs__learner *l, uint32_t layer, uint32_t object, float rate)
{
    static const float worth[HORIZON] = {0.33875f, 0.271f, 0.2168f, 0.17344f}; /* 0.8^step, of a sum of 1 */
    if (l->lesson[layer].is_written)
        l->y[object] += worth[l->lesson[layer].step] * rate;
}

/* By elimination; the sums are positive definite, because all began with the ridge. */
static void solve(const hs__sums *s, float ret_w[N])
{
    double m[N][N + 1], w[N];
    for (uint32_t i = 0; i < N; i++) {
        memcpy(m[i], s->xx[i], sizeof s->xx[i]);
        m[i][N] = s->xy[i];
    }
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t r = i + 1; r < N; r++)
            for (uint32_t j = N + 1; j-- > i;)
                m[r][j] -= m[r][i] / m[i][i] * m[i][j];
    for (uint32_t i = N; i-- > 0;) {
        w[i] = m[i][N];
        for (uint32_t j = i + 1; j < N; j++)
            w[i] -= m[i][j] * w[j];
        w[i] /= m[i][i];
        ret_w[i] = (float)w[i];
    }
}

bool hs__learner_solve(hs__learner *l)
{
    if (++l->unsolved < SOLVE_EVERY)
        return false;
    l->unsolved = 0;
    hs__hazard_settle(&l->hazard);
    double part = l->all.n > SHARED ? SHARED / l->all.n : 1;
    for (uint32_t i = 0; i < l->n_layers; i++) {
        hs__sums s = l->lesson[i].sums;
        blend(&s, 1, &l->all, part);
        solve(&s, l->lesson[i].w);
    }
    return true;
}

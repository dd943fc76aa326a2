/* labels: unit */
/* The score is the formula with the weights that least squares give, and the victim is the least of it, at every
 * moment, for every set of objects that must stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "canary.h"

#define LAYERS  2u
#define EXPERTS 20u
#define OBJECTS (LAYERS * EXPERTS)
#define SLOTS   12u
#define N       7
#define TOKENS  600
#define UNSURE  3
#define AGES    16
#define RATES   8

static const double half_life[3] = {2, 12, 60}, first_w[N] = {0.1, 0.3, 0, 0.2, 0, 0, 0.4};

/* Everything by its definition: frequencies decayed token by token, sums faded lesson by lesson, weights by elimination
 * with pivots; what follows what counted by hand; the hazard from sums over all that fall together. */
typedef struct plain {
    double f[OBJECTS][3], uses[OBJECTS], tokens[LAYERS];
    double since[LAYERS]; /* f[2] of a use at every token of the topic */
    double told, doubt;
    int n_told, topics;
    int age[OBJECTS], wide[LAYERS];
    bool used[OBJECTS], through[LAYERS];
    double seen[AGES][RATES][RATES][2], hazard[AGES][RATES][RATES];
    int cell[OBJECTS][3];
    double x[OBJECTS][N], y[OBJECTS], w[LAYERS][N];
    double own[LAYERS][N][N + 1], all[N][N + 1], n_all;
    int step[LAYERS], solved;
    bool written[LAYERS];
    int times[OBJECTS][OBJECTS], steps[OBJECTS];
    uint32_t now[LAYERS][EXPERTS], before[LAYERS][EXPERTS], n_now[LAYERS], n_before[LAYERS];
} plain;

static void plain_init(plain *p)
{
    *p = (plain){.solved = 0};
    for (int i = 0; i < N; i++) {
        p->all[i][i] = 100;
        p->all[i][N] = 100 * first_w[i];
        for (uint32_t l = 0; l < LAYERS; l++)
            p->w[l][i] = first_w[i];
    }
    for (uint32_t l = 0; l < LAYERS; l++)
        p->step[l] = (int)l;
}

/* The mean over the experts of the step, those not yet known at the fallback. */
static double plain_following(const plain *p, uint32_t o, double fallback)
{
    uint32_t l = o / EXPERTS, n = p->n_now[l], wide = n > p->n_before[l] ? n : p->n_before[l];
    double sum = wide ? (wide - n) * fallback : fallback;
    for (uint32_t i = 0; i < n; i++)
        sum += (p->times[p->now[l][i]][o] + UNSURE * fallback) / (p->steps[p->now[l][i]] + UNSURE);
    return sum / (wide ? wide : 1);
}

static int halves(double rate)
{
    int i = RATES - 1;
    for (double from = 0.5; i > 0 && rate < from; from /= 2)
        i--;
    return i;
}

static double plain_overall(const plain *p, uint32_t o)
{
    return p->uses[o] / fmax(p->tokens[o / EXPERTS], 1);
}

static double plain_topic(const plain *p, uint32_t o, double f)
{
    return (f + 0.09 * plain_overall(p, o)) / (p->since[o / EXPERTS] + 0.09);
}

static void plain_cell(const plain *p, uint32_t o, double overall, int cell[3])
{
    static const int from[AGES] = {0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
    int a = AGES - 1;
    while (p->uses[o] > 0 && p->age[o] < from[a])
        a--;
    cell[0] = a;
    cell[1] = halves(overall);
    cell[2] = halves(p->f[o][1]);
}

static void plain_features(const plain *p, uint32_t o, double x[N])
{
    int cell[3];
    memcpy(x, p->f[o], sizeof p->f[o]);
    x[2] = plain_topic(p, o, p->f[o][2]);
    x[3] = plain_overall(p, o);
    x[4] = plain_following(p, o, x[3]);
    x[5] = p->uses[o] > 0 ? 1 / (1 + p->age[o] / 8.0) : 0;
    plain_cell(p, o, x[3], cell);
    x[6] = p->hazard[cell[0]][cell[1]][cell[2]];
}

static double plain_score(const plain *p, uint32_t o)
{
    double x[N], sum = 0;
    plain_features(p, o, x);
    for (int i = 0; i < N; i++)
        sum += p->w[o / EXPERTS][i] * x[i];
    return sum;
}

/* m * ret = b, which is m's last column. */
static void eliminate(double m[N][N + 1], double ret[N])
{
    for (int c = 0; c < N; c++) {
        int pivot = c;
        for (int i = c; i < N; i++)
            pivot = fabs(m[i][c]) > fabs(m[pivot][c]) ? i : pivot;
        for (int j = 0; j <= N; j++) {
            double other = m[c][j];
            m[c][j] = m[pivot][j];
            m[pivot][j] = other;
        }
        for (int i = 0; i < N; i++)
            for (int j = N; i != c && j >= c; j--)
                m[i][j] -= m[i][c] / m[c][c] * m[c][j];
    }
    for (int i = 0; i < N; i++)
        ret[i] = m[i][N] / m[i][i];
}

/* Sums, filled up with 20 samples of the coarser sum's mean. */
static double plain_mean(const double sum[2], double coarser)
{
    return (sum[1] + 20 * coarser) / (sum[0] + 20);
}

static void plain_solve(plain *p)
{
    double all[2] = {0}, by_age[AGES][2] = {{0}}, by_both[AGES][RATES][2] = {{{0}}};
    for (int i = 0; i < AGES * RATES * RATES * 2; i++) {
        int a = i / 2 / RATES / RATES, o = i / 2 / RATES % RATES, f = i / 2 % RATES;
        all[i % 2] += p->seen[a][o][f][i % 2];
        by_age[a][i % 2] += p->seen[a][o][f][i % 2];
        by_both[a][o][i % 2] += p->seen[a][o][f][i % 2];
    }
    for (int i = 0; i < AGES * RATES * RATES; i++) {
        int a = i / RATES / RATES, o = i / RATES % RATES, f = i % RATES;
        double of_both = plain_mean(by_both[a][o], plain_mean(by_age[a], plain_mean(all, 0)));
        p->hazard[a][o][f] = plain_mean(p->seen[a][o][f], of_both);
    }
    double part = p->n_all > 2000 ? 2000 / p->n_all : 1;
    for (uint32_t l = 0; l < LAYERS; l++) {
        double m[N][N + 1];
        for (int i = 0; i < N; i++)
            for (int j = 0; j <= N; j++)
                m[i][j] = p->own[l][i][j] + part * p->all[i][j];
        eliminate(m, p->w[l]);
    }
}

static void plain_lesson(plain *p, uint32_t l)
{
    double keep_own = exp2(-4 / 2000.0), keep_all = exp2(-4 / 2000.0 / LAYERS);
    double weight[OBJECTS];
    for (uint32_t o = l * EXPERTS; o < (l + 1) * EXPERTS; o++) {
        double *seen = p->seen[p->cell[o][0]][p->cell[o][1]][p->cell[o][2]];
        seen[0] = seen[0] * 0.9999 + 1;
        seen[1] = seen[1] * 0.9999 + p->y[o];
        weight[o] = 0.15 / (0.1 + p->x[o][N - 1]);
    }
    p->n_all = p->n_all * keep_all + EXPERTS;
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= N; j++) {
            double sum = 0, ridge = j == i ? 100 : j == N ? 100 * first_w[i] : 0;
            for (uint32_t o = l * EXPERTS; o < (l + 1) * EXPERTS; o++)
                sum += weight[o] * p->x[o][i] * (j == N ? p->y[o] : p->x[o][j]);
            p->own[l][i][j] = p->own[l][i][j] * keep_own + sum;
            p->all[i][j] = p->all[i][j] * keep_all + sum + (1 - keep_all) * ridge;
        }
}

/* The step under way is through, and has followed the one before. */
static void plain_follow(plain *p, uint32_t l)
{
    for (uint32_t i = 0; i < p->n_before[l]; i++) {
        uint32_t o = p->before[l][i];
        for (uint32_t e = 0; p->steps[o] == 255 && e < OBJECTS; e++)
            p->times[o][e] /= 2;
        p->steps[o] = (p->steps[o] == 255 ? 127 : p->steps[o]) + 1;
        for (uint32_t k = 0; k < p->n_now[l]; k++)
            p->times[o][p->now[l][k]]++;
    }
    p->n_before[l] = p->n_now[l];
    memcpy(p->before[l], p->now[l], sizeof p->now[l]);
    p->n_now[l] = 0;
}

static void plain_decay(plain *p, uint32_t o)
{
    p->age[o]++;
    for (int r = 0; r < 3; r++)
        p->f[o][r] *= exp2(-1 / half_life[r]);
}

/* The token is through with the layer: what it has not used has been passed over. */
static void plain_pass(plain *p, uint32_t l)
{
    for (uint32_t o = l * EXPERTS; !p->through[l] && o < (l + 1) * EXPERTS; o++)
        if (!p->used[o])
            plain_decay(p, o);
    if (!p->through[l] && p->tokens[l] > 0)
        p->since[l] = 1 - (1 - p->since[l]) * exp2(-1 / half_life[2]);
    p->through[l] = true;
}

static void plain_begin(plain *p)
{
    for (uint32_t o = 0; o < OBJECTS; o++)
        p->f[o][2] = 0;
    memset(p->since, 0, sizeof p->since);
    p->doubt = 0;
}

static void plain_judge(plain *p)
{
    if (p->n_told)
        p->doubt = fmax(0, p->doubt - p->told / p->n_told);
    p->told = p->n_told = 0;
    p->topics += p->doubt > 0.15;
    if (p->doubt > 0.15)
        plain_begin(p);
}

/* The next token comes to the layer. */
static void plain_enter(plain *p, uint32_t l)
{
    plain_pass(p, 1 - l);
    plain_pass(p, l);
    if (l == 0)
        plain_judge(p);
    p->step[l] = (p->step[l] + 1) % 4;
    if (p->step[l] == 0) {
        if (p->written[l])
            plain_lesson(p, l);
        p->written[l] = true;
        for (uint32_t o = l * EXPERTS; o < (l + 1) * EXPERTS; o++) {
            plain_features(p, o, p->x[o]);
            plain_cell(p, o, p->x[o][3], p->cell[o]);
            p->y[o] = 0;
        }
    }
    if (l == 0 && ++p->solved % 4 == 0)
        plain_solve(p);
    p->wide[l] = (int)p->n_now[l];
    plain_follow(p, l);
    p->tokens[l]++;
    p->through[l] = false;
    memset(p->used + l * EXPERTS, 0, EXPERTS);
}

static void plain_use(plain *p, uint32_t o)
{
    uint32_t l = o / EXPERTS;
    if (!p->through[l])
        plain_decay(p, o);
    double topic = plain_topic(p, o, p->f[o][2]) + 1e-4, overall = plain_overall(p, o) + 1e-4;
    p->told += (topic - overall) / (topic + overall);
    p->n_told++;
    for (int r = 0; r < 3; r++)
        p->f[o][r] += 1 - exp2(-1 / half_life[r]);
    p->uses[o]++;
    p->age[o] = 0;
    p->used[o] = true;
    p->now[l][p->n_now[l]++] = o;
    if ((int)p->n_now[l] >= p->wide[l])
        plain_pass(p, l);
    p->y[o] += pow(0.8, p->step[o / EXPERTS]) * 0.2 / (1 - pow(0.8, 4));
}

static bool is_kept(void *ctx, uint32_t object)
{
    return ((const bool *)ctx)[object];
}

static void follow_the_formula(uint32_t seed)
{
    const hs_policy_shape shape = {.n_objects = OBJECTS, .n_slots = SLOTS, .layer_objects = EXPERTS};
    caged c = caged_new(&hs_policy_ewma, &shape);
    static plain p;
    bool resident[OBJECTS] = {false}, kept[OBJECTS];
    uint32_t rng = seed, n = 0, sessions = 0;
    plain_init(&p);
    print_message("seed %u\n", seed);
    for (uint32_t now = 1; now < TOKENS; now++) {
        if (roll(&rng, 100) == 0) {
            c.policy->session(c.state, now);
            sessions++;
            for (uint32_t o = 0; o < OBJECTS; o++)
                for (int r = 0; r < 2; r++)
                    p.f[o][r] *= 0.3;
            plain_begin(&p);
        }
        for (uint32_t k = 0; k < 6; k++) {
            uint32_t l = k / 3, o = l * EXPERTS;
            if (k % 3 == 0)
                plain_enter(&p, l);
            o += (roll(&rng, 1 + roll(&rng, EXPERTS / 3)) + now / 200 * 5) % (EXPERTS / 3) * 3 + k % 3;
            plain_use(&p, o);
            c.policy->access(c.state, o, 1, 1, now);
            double is = c.policy->score(c.state, o, now), should = plain_score(&p, o);
            assert_true(fabs(is - should) < 1e-3 * fabs(should) + 1e-5);
            if (resident[o])
                continue;
            for (uint32_t i = 0; i < OBJECTS; i++)
                kept[i] = roll(&rng, 3) == 0;
            uint32_t victim = c.policy->victim(c.state, 0, now, is_kept, kept), least = HS_POLICY_NONE;
            for (uint32_t i = 0; i < OBJECTS; i++)
                if (resident[i] && !kept[i] && (least == HS_POLICY_NONE || plain_score(&p, i) < plain_score(&p, least)))
                    least = i;
            if (least == HS_POLICY_NONE) {
                assert_int_equal(victim, HS_POLICY_NONE);
            } else {
                assert_true(resident[victim] && !kept[victim]);
                assert_true(plain_score(&p, victim) < plain_score(&p, least) + 1e-4);
            }
            if (n == SLOTS && victim != HS_POLICY_NONE) {
                bool better = plain_score(&p, o) > plain_score(&p, victim) + 1e-4;
                assert_true(!better || c.policy->admit(c.state, o, victim, false, now));
                c.policy->evict(c.state, victim);
                resident[victim] = false;
                n--;
            }
            if (n < SLOTS) {
                c.policy->insert(c.state, o, now);
                resident[o] = true;
                n++;
            }
        }
    }
    assert_true(sessions > 0 && p.topics > 0);
    double learnt = 0;
    for (int i = 0; i < N; i++)
        learnt += fabs(p.w[0][i] - first_w[i]);
    assert_true(learnt > 0.05);
    caged_free(&c);
}

static void scores_and_victims(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 5; seed++)
        follow_the_formula(seed);
}

/* n uses of a chunk count like n uses spread over its tokens. */
static void chunks(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 4, .n_slots = 2, .layer_objects = 2};
    caged a = caged_new(&hs_policy_ewma, &shape), b = caged_new(&hs_policy_ewma, &shape);
    a.policy->access(a.state, 0, 2, 3, 3); /* so few tokens that nothing is learnt on the way */
    for (uint64_t now = 1; now <= 3; now++)
        b.policy->access(b.state, now == 2, 1, 1, now);
    double in_chunk = a.policy->score(a.state, 0, 3), spread = b.policy->score(b.state, 0, 3);
    assert_true(fabs(in_chunk - spread) < 0.05 * spread);
    /* A use at every token of a sweep is a frequency of 1 in all four. */
    a.policy->access(a.state, 2, 4096, 4096, 4096);
    double always = a.policy->score(a.state, 2, 4096);
    assert_true(fabs(always - (first_w[0] + first_w[1] + first_w[2] + first_w[3])) < 0.001);
    caged_free(&a);
    caged_free(&b);
}

/* A use long ago counts less than one just now; time that wraps does no harm. */
static void recency(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 4, .n_slots = 4};
    caged c = caged_new(&hs_policy_ewma, &shape);
    uint64_t start = UINT32_MAX - 5ull;
    c.policy->access(c.state, 0, 1, 1, start);
    c.policy->access(c.state, 1, 1, 1, start + 10);
    assert_true(c.policy->score(c.state, 0, start + 10) < c.policy->score(c.state, 1, start + 10));
    assert_true(c.policy->admit(c.state, 1, 0, false, start + 10));
    assert_false(c.policy->admit(c.state, 0, 1, false, start + 10));
    caged_free(&c);
}

/* The token under way has passed over the experts of the layers behind it, not of those to come. */
static void layers_to_come(void **state)
{
    (void)state;
    const hs_policy_shape shape = {.n_objects = 6, .n_slots = 4, .layer_objects = 2};
    caged c = caged_new(&hs_policy_ewma, &shape);
    for (uint32_t l = 0; l < 3; l++)
        c.policy->access(c.state, 2 * l, 1, 1, 1);
    double before = c.policy->score(c.state, 4, 1);
    c.policy->access(c.state, 1, 1, 1, 2);
    c.policy->access(c.state, 3, 1, 1, 2);
    c.policy->insert(c.state, 4, 2);
    c.policy->insert(c.state, 2, 2);
    assert_true(c.policy->score(c.state, 2, 2) < c.policy->score(c.state, 4, 2));
    assert_true(c.policy->score(c.state, 4, 2) == before);
    assert_int_equal(c.policy->victim(c.state, 0, 2, NULL, NULL), 2);
    caged_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scores_and_victims), cmocka_unit_test(chunks),
                                       cmocka_unit_test(recency), cmocka_unit_test(layers_to_come)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * governor.c - how many experts memory has room for, again and again while the engines run.
 *
 *   budget   what the process may hold now (memory.c)          need    what it may come to hold with its slots
 *   spare    budget - need                                     reserve what was spare at the start, an eighth at most
 *
 *   spare below half of the reserve, or about to be     -> give back until the reserve is there again
 *   need over the limit                                 -> give back as much
 *   tasks stand still, and less than 1/4 is spare       -> give back one step: MemAvailable promised too much
 *   none of these, but room for a step, for `patience`  -> take one step, again every GROW_NS
 *
 * What was short soon after a step up doubles the patience. A step is a sixteenth of the planned cache. The engines'
 * slots follow on their own threads; need counts the slots as they are to be, so that nothing is asked for twice.
 * Owns: the targets. Leaves to others: which experts go (residency), and when to look (the caller).
 * Threads: ticking belongs to one; the limit may be set by any.
 */
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/option.h"
#include "engine/engine_int.h"
#include "engine/memory.h"

#define SECOND       1000000000ull
#define LOOK_MS      250u
#define LOOK_SOON_MS 50u /* while memory goes fast */
#define STEPS        16u
#define PRESSED      0.1 /* share of the last second */
#define PATIENCE_NS  (10 * SECOND)
#define PATIENCE_MAX (300 * SECOND)
#define GROW_NS      SECOND
#define FLIP_NS      (60 * SECOND) /* short again so soon after a step up: the step was a mistake */

struct hs_governor {
    hs_engine **engines;
    uint32_t *slots; /* [n] as they are to be */
    size_t n;
    char *root;
    _Atomic uint64_t limit; /* UINT64_MAX = none */
    uint64_t outside, step; /* bytes */
    uint64_t slack;         /* what was spare at the start */
    uint64_t budget, look_ns;
    uint64_t stalled_us[2], stalled_ns; /* at the beginning of the second that pressure is measured over */
    double pressure;
    uint64_t calm_ns, patience; /* nothing has been short since */
    uint64_t grew_ns, pressed_ns;
    bool is_grown_since, is_at_floor;
};

static const hs_classes *sizes(const hs_governor *g, size_t i)
{
    return &g->engines[i]->opened.classes;
}

/* What n slots of engine i take; as the engine's thread and its plan see it. */
static uint64_t slots_bytes(const hs_governor *g, size_t i, uint32_t n)
{
    return hs_classes_bytes(sizes(g, i), n);
}

/* What the process may come to hold with n_slots[i] slots in engine i; NULL: with as few as there can be. */
static uint64_t need_of(const hs_governor *g, const uint32_t *n_slots)
{
    uint64_t sum = g->outside;
    for (size_t i = 0; i < g->n; i++) {
        const hs_plan *p = &g->engines[i]->plan;
        sum += p->total - p->outside - p->cache + slots_bytes(g, i, n_slots ? n_slots[i] : p->min_slots);
    }
    return sum;
}

int hs_governor_create(const hs_governor_options *opt, hs_governor **ret_governor, hs_err *err)
{
    hs_governor *g = hs_calloc(1, sizeof *g);
    if (!g)
        return hs_err_set(err, -ENOMEM, "governor: out of memory");
    g->engines = hs_calloc(opt->n_engines, sizeof(hs_engine *));
    g->slots = hs_calloc(opt->n_engines, sizeof *g->slots);
    g->root = hs_strdup(opt->root ? opt->root : "");
    if (!g->engines || !g->slots || !g->root) {
        hs_governor_destroy(&g);
        return hs_err_set(err, -ENOMEM, "governor: out of memory");
    }
    g->n = opt->n_engines;
    g->outside = opt->outside;
    g->limit = opt->limit ? opt->limit : UINT64_MAX;
    g->patience = PATIENCE_NS;
    for (size_t i = 0; i < g->n; i++) {
        g->engines[i] = opt->engines[i];
        g->slots[i] = opt->engines[i]->plan.n_slots;
        g->step += opt->engines[i]->plan.cache / STEPS + 1;
    }
    hs__memory m;
    hs__memory_look(g->root, &m);
    uint64_t need = need_of(g, g->slots);
    g->slack = m.budget > need ? m.budget - need : 0;
    *ret_governor = g;
    return 0;
}

void hs_governor_destroy(hs_governor **governor)
{
    hs_governor *g = *governor;
    if (!g)
        return;
    *governor = NULL;
    hs_free(g->engines);
    hs_free(g->slots);
    hs_free(g->root);
    hs_free(g);
}

int hs_governor_set_limit(hs_governor *g, uint64_t limit, hs_err *err)
{
    uint64_t least = need_of(g, NULL);
    if (limit && limit < least) {
        char a[32], b[32];
        return hs_err_set(err, -ENOMEM,
                          "memory.limit of %s is under what the models that are loaded need at least, %s (their floor "
                          "with the contexts and batches that were planned at the start)",
                          hs_format_size(limit, a, sizeof a), hs_format_size(least, b, sizeof b));
    }
    atomic_store(&g->limit, limit ? limit : UINT64_MAX);
    return 0;
}

/* ---- looking ---- */

static void note_pressure(hs_governor *g, const hs__memory *m, uint64_t now)
{
    if (g->look_ns && now - g->stalled_ns < SECOND)
        return;
    double most = 0;
    for (int i = 0; i < 2 && g->look_ns; i++) {
        double share = g->stalled_us[i] && m->stalled_us[i] > g->stalled_us[i]
                           ? (double)(m->stalled_us[i] - g->stalled_us[i]) * 1e3 / (double)(now - g->stalled_ns)
                           : 0;
        most = share > most ? share : most;
    }
    memcpy(g->stalled_us, m->stalled_us, sizeof g->stalled_us);
    g->stalled_ns = now;
    g->pressure = most > 1 ? 1 : most;
}

/* How much less there will be at the next look if it goes on like this; the reserve at most, because a limit that has
 * been lowered does not fall on. */
static uint64_t falling(const hs_governor *g, const hs__memory *m, uint64_t reserve, uint64_t now)
{
    if (!g->look_ns || now <= g->look_ns || m->budget >= g->budget)
        return 0;
    double ahead = LOOK_MS * 1e6 / (double)(now - g->look_ns);
    double fall = (double)(g->budget - m->budget) * ahead;
    return fall < (double)reserve ? (uint64_t)fall : reserve;
}

/* ---- acting ---- */

static void set_slots(hs_governor *g, size_t i, uint32_t n)
{
    if (n == g->slots[i])
        return;
    hs_debug("%s: room for %u experts instead of %u", hs_source_checkpoint(g->engines[i]->opened.source)->path, n,
             g->slots[i]);
    g->slots[i] = n;
    hs__engine_resize(g->engines[i], n);
}

/* Takes `bytes` off the caches, from each by what it could give; returns how much it is. */
static uint64_t shrink(hs_governor *g, uint64_t bytes)
{
    uint64_t all = need_of(g, g->slots) - need_of(g, NULL);
    if (!all)
        return 0;
    uint64_t before = need_of(g, g->slots);
    bytes = bytes < all ? bytes : all;
    for (size_t i = 0; i < g->n; i++) {
        uint32_t least = g->engines[i]->plan.min_slots;
        uint64_t has = slots_bytes(g, i, g->slots[i]), could = has - slots_bytes(g, i, least);
        double share = ceil((double)bytes / (double)all * (double)could);
        uint32_t n = hs_classes_fit(sizes(g, i), has - (share < (double)could ? (uint64_t)share : could));
        set_slots(g, i, n > least ? n : least);
    }
    return before - need_of(g, g->slots);
}

/* How many slots engine i should have: as planned, or if nobody lacks that, the most it can have. */
static uint32_t most_of(const hs_governor *g, size_t i, bool to_plan)
{
    uint32_t most = to_plan ? g->engines[i]->plan.n_slots : g->engines[i]->plan.max_slots;
    return most > g->slots[i] ? most : g->slots[i];
}

/* Bytes that engine i lacks for that. */
static uint64_t lack_of(const hs_governor *g, size_t i, bool to_plan)
{
    return slots_bytes(g, i, most_of(g, i, to_plan)) - slots_bytes(g, i, g->slots[i]);
}

static uint64_t lack_bytes(const hs_governor *g, bool to_plan)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < g->n; i++)
        sum += lack_of(g, i, to_plan);
    return sum;
}

/* Bytes by which the next step goes up; 0 = nothing is lacking, or there is no room. Back to the plan takes a quarter
 * of the reserve, so that it is reached although the machine is never twice the same. */
static uint64_t next_step(const hs_governor *g, uint64_t budget, uint64_t reserve, bool *ret_to_plan,
                          uint64_t *ret_room)
{
    bool to_plan = lack_bytes(g, true) > 0;
    uint64_t need = need_of(g, g->slots), limit = atomic_load(&g->limit), lack = lack_bytes(g, to_plan);
    uint64_t most = budget - (to_plan ? reserve - reserve / 4 : reserve);
    most = most < limit ? most : limit;
    uint64_t give = lack < g->step ? lack : g->step, room = most > need ? most - need : 0;
    *ret_to_plan = to_plan;
    *ret_room = room;
    return room < give ? 0 : give;
}

/* At least a slot if there is room for one. */
static void grow(hs_governor *g, uint64_t give, bool to_plan, uint64_t room)
{
    uint64_t lack = lack_bytes(g, to_plan);
    for (size_t i = 0; i < g->n; i++) {
        uint64_t has = slots_bytes(g, i, g->slots[i]), could = lack_of(g, i, to_plan);
        uint32_t most = most_of(g, i, to_plan);
        uint32_t n = hs_classes_fit(sizes(g, i), has + (uint64_t)((double)give / (double)lack * (double)could));
        n = give == lack || n > most ? most : n;
        if (n <= g->slots[i])
            n = g->slots[i] + (could && has + room >= slots_bytes(g, i, g->slots[i] + 1));
        room -= slots_bytes(g, i, n) - has;
        set_slots(g, i, n);
    }
    if (to_plan && lack_bytes(g, true) == 0)
        hs_info("memory is there again: the caches have their planned size");
}

/* Bytes to give back; 0 = nothing is short. */
static uint64_t shortage(hs_governor *g, const hs__memory *m, uint64_t need, uint64_t reserve, uint64_t now)
{
    uint64_t limit = atomic_load(&g->limit), missing = need > limit ? need - limit : 0;
    uint64_t ahead = need + falling(g, m, reserve, now), spare = m->budget > need ? m->budget - need : 0;
    uint64_t eighth = m->budget - hs__memory_auto_limit(m->budget);
    if (m->budget < ahead || m->budget - ahead < reserve / 2) {
        uint64_t lacks = ahead + reserve - m->budget;
        missing = lacks > missing ? lacks : missing;
    } else if (g->pressure >= PRESSED && spare < 2 * eighth && now - g->pressed_ns >= SECOND) {
        g->pressed_ns = now;
        missing = g->step > missing ? g->step : missing;
    }
    return missing && missing < g->step ? g->step : missing;
}

static void give_back(hs_governor *g, const hs__memory *m, uint64_t bytes, uint64_t now)
{
    g->calm_ns = now;
    if (g->is_grown_since && now - g->grew_ns < FLIP_NS)
        g->patience = 2 * g->patience < PATIENCE_MAX ? 2 * g->patience : PATIENCE_MAX;
    g->is_grown_since = false;
    char a[32], b[32];
    uint64_t given = shrink(g, bytes);
    if (given)
        hs_info("memory is short: the process may hold %s, and tasks stand still for it %.0f %% of the time; %s of "
                "experts' memory are given back",
                m->budget == UINT64_MAX ? "its limit" : hs_format_size(m->budget, a, sizeof a), 100 * g->pressure,
                hs_format_size(given, b, sizeof b));
    else if (!g->is_at_floor)
        hs_warn("memory is short, and the caches are at their floor");
    g->is_at_floor = need_of(g, g->slots) == need_of(g, NULL);
}

/* Nothing is short. */
static void take_again(hs_governor *g, const hs__memory *m, uint64_t reserve, uint64_t now)
{
    bool to_plan;
    uint64_t room, give = next_step(g, m->budget, reserve, &to_plan, &room);
    bool is_full = lack_bytes(g, false) == 0;
    if (g->pressure >= PRESSED || (!give && !is_full)) {
        g->calm_ns = now;
        return;
    }
    if (now - g->calm_ns >= PATIENCE_MAX)
        g->patience = PATIENCE_NS;
    if (!give || now - g->calm_ns < g->patience || now - g->grew_ns < GROW_NS)
        return;
    grow(g, give, to_plan, room);
    g->grew_ns = now;
    g->is_grown_since = true;
    g->is_at_floor = false;
}

uint32_t hs_governor_tick(hs_governor *g, uint64_t now)
{
    hs__memory m;
    hs__memory_look(g->root, &m);
    note_pressure(g, &m, now);
    uint64_t need = need_of(g, g->slots), reserve = m.budget - hs__memory_auto_limit(m.budget);
    reserve = reserve < g->slack ? reserve : g->slack;
    uint64_t bytes = shortage(g, &m, need, reserve, now), fall = falling(g, &m, reserve, now);
    g->calm_ns = g->look_ns ? g->calm_ns : now;
    if (bytes)
        give_back(g, &m, bytes, now);
    else
        take_again(g, &m, reserve, now);
    for (size_t i = 0; i < g->n; i++)
        atomic_store_explicit(&g->engines[i]->pressure_ppm, (uint32_t)(g->pressure * 1e6), memory_order_relaxed);
    g->budget = m.budget;
    g->look_ns = now;
    bool is_soon = fall && m.budget < need + reserve / 2 + 4 * fall;
    return is_soon ? LOOK_SOON_MS : LOOK_MS;
}

/* fixture.h - a residency over the fake store, and the calls that every test makes. Include after fake_store.h. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "residency/residency_int.h"

typedef struct fixture {
    hs_objects objects;
    hs_pool *pool;
    hs_residency *r;
    hs_experts x;
    uint32_t n_experts;
} fixture;

#define EXPERTS 16u
#define LAYERS  4u

/* 4 layers of 16 experts, top 4; reads are pumped by hand unless the test calls fake_start. */
static inline void fixture_open_as(fixture *f, int kind, const char *policy, uint32_t n_slots, uint64_t budget,
                                   bool warm)
{
    hs_err err = {0};
    fake_reset(kind, 7);
    *f = (fixture){.objects.n = LAYERS * EXPERTS, .n_experts = EXPERTS};
    assert_int_equal(hs_pool_create(2, &f->pool, &err), 0);
    hs_residency_config cfg = {.objects = &f->objects,
                               .pool = f->pool,
                               .n_layers = LAYERS,
                               .n_experts = EXPERTS,
                               .top_k = 4,
                               .n_slots = n_slots,
                               .policy = policy,
                               .n_staging = 8,
                               .warm_tier = warm,
                               .prefetch = budget > 0,
                               .prefetch_budget = budget};
    if (hs_residency_create(&cfg, &f->r, &err) < 0)
        fail_msg("%s", err.text);
    f->x = hs_residency_experts(f->r);
}

static inline void fixture_open(fixture *f, int kind, const char *policy, uint32_t n_slots, uint64_t budget)
{
    fixture_open_as(f, kind, policy, n_slots, budget, false);
}

static inline void fixture_check(fixture *f)
{
    const char *wrong = hs_residency_check(f->r);
    if (wrong)
        fail_msg("%s", wrong);
}

static inline void fixture_close(fixture *f)
{
    fixture_check(f);
    if (!fake.running)
        fake_start(); /* destroy waits for what it cancels */
    hs_residency_destroy(&f->r);
    fake_stop();
    hs_pool_destroy(&f->pool);
}

static inline void step(fixture *f, hs_phase phase, uint32_t n)
{
    f->x.ops->step(f->x.self, phase, n);
}

/* Begins a layer with experts first..first+n-1, each used once; returns how many were resident. */
static inline uint32_t begin(fixture *f, uint32_t layer, uint32_t first, uint32_t n)
{
    hs_expert_want wants[EXPERTS];
    uint8_t resident[EXPERTS];
    hs_err err = {0};
    uint32_t hits = 0;
    for (uint32_t i = 0; i < n; i++)
        wants[i] = (hs_expert_want){.expert = first + i, .n_tokens = 1};
    if (f->x.ops->begin(f->x.self, layer, wants, n, resident, &err) < 0)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < n; i++)
        hits += resident[i];
    fixture_check(f);
    return hits;
}

/* One wait for at most max; the number delivered, or the error. */
static inline int wait_for(fixture *f, uint32_t max, uint32_t *index, hs_err *err)
{
    hs_expert e[EXPERTS];
    uint32_t n = 0;
    int r = f->x.ops->wait(f->x.self, max, index, e, &n, err);
    fixture_check(f);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < n; i++)
        assert_true(fake_is(&e[i], f->r->wants[index[i]].object));
    return (int)n;
}

/* Takes and releases everything that is left, one at a time. */
static inline void finish(fixture *f, uint32_t n)
{
    hs_err err = {0};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index;
        if (wait_for(f, 1, &index, &err) != 1)
            fail_msg("%s", err.text);
        f->x.ops->release(f->x.self, index);
    }
    f->x.ops->end(f->x.self);
    fixture_check(f);
}

/* A whole decode layer with a store that answers at once; returns the hits. */
static inline uint32_t run_layer(fixture *f, uint32_t layer, uint32_t first, uint32_t n)
{
    uint32_t hits = begin(f, layer, first, n);
    if (!fake.running)
        fake_pump(1000);
    finish(f, n);
    return hits;
}

static inline void hint(fixture *f, uint32_t layer, uint32_t first, uint32_t n)
{
    hs_expert_guess g[EXPERTS];
    for (uint32_t i = 0; i < n; i++)
        g[i] = (hs_expert_guess){.expert = first + i, .margin = (float)(n - i)};
    f->x.ops->hint(f->x.self, layer, g, n);
    fixture_check(f);
}

static inline bool is_resident(const fixture *f, uint32_t layer, uint32_t expert)
{
    uint32_t slot = f->r->slot_of[layer * EXPERTS + expert];
    return slot != HS__NONE && f->r->slots[slot].state == HS__READY;
}

#endif

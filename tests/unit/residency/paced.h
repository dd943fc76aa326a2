/*
 * paced.h - a model of made-up objects and routes that decodes and computes over the virtual drive and clock. Policy
 * and residency are real; only the objects and time are not, so that every figure is the same on any machine. One file
 * per program includes it.
 */
#ifndef TESTS_RESIDENCY_PACED_H
#define TESTS_RESIDENCY_PACED_H

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/virtual_drive.h"

#include "base/mem.h"
#include "fake_decoder.h"
#include "residency/residency_int.h"

#define LAYERS  6u
#define EXPERTS 64u
#define TOP_K   4u
#define SCALE   1024 /* real bytes for one in this program */
#define FRAME   256u /* bytes */

/* What a machine is like, in real bytes; and how small a packed record is. */
typedef struct machine {
    double drive, decode, memory; /* bytes/s: of reading, of decoding to, of weights computed with */
    double ratio;
    double latency_ns, wake_ns, frame_ns;
} machine;

struct hs_objects {
    uint64_t raw_bytes, stored_bytes; /* in this program's bytes */
    uint32_t n_frames;
};

static machine now_is;
static int zeros; /* a file of them: nobody looks at what is read */

/* ---- objects ---- */

uint32_t hs_objects_copies(const hs_objects *o)
{
    (void)o;
    return 1;
}
const char *hs_objects_copy_path(const hs_objects *o, uint32_t copy)
{
    (void)o, (void)copy;
    return "";
}
bool hs_objects_has_raw(const hs_objects *o)
{
    (void)o;
    return true;
}
uint32_t hs_objects_count(const hs_objects *o)
{
    (void)o;
    return LAYERS * EXPERTS;
}
uint64_t hs_objects_slot_bytes(const hs_objects *o)
{
    return o->raw_bytes;
}
uint64_t hs_object_slot_bytes(const hs_objects *o, uint32_t object)
{
    (void)object;
    return o->raw_bytes;
}
uint64_t hs_object_raw_bytes(const hs_objects *o, uint32_t object)
{
    (void)object;
    return o->raw_bytes;
}
uint64_t hs_objects_staging_bytes(const hs_objects *o)
{
    return o->stored_bytes;
}
bool hs_object_is_staged(const hs_objects *o, uint32_t object)
{
    (void)o;
    return !(object & HS_OBJECT_RAW);
}
uint64_t hs_object_read_bytes(const hs_objects *o, uint32_t object)
{
    return object & HS_OBJECT_RAW ? o->raw_bytes : o->stored_bytes;
}
uint32_t hs_object_ranges(const hs_objects *o, uint32_t object, hs_range ranges[HS_OBJECT_MAX_RANGES])
{
    ranges[0] = (hs_range){0, 0, hs_object_read_bytes(o, object), 0};
    return 1;
}
uint32_t hs_object_frames(const hs_objects *o, uint32_t object)
{
    return object & HS_OBJECT_RAW ? 0 : o->n_frames;
}
bool hs_object_next_frame(const hs_objects *o, uint32_t object, hs_frame_iter *it, hs_frame *ret)
{
    if (it->next == hs_object_frames(o, object))
        return false;
    uint64_t n = it->next++, stored = o->stored_bytes / o->n_frames, raw = o->raw_bytes / o->n_frames;
    *ret = (hs_frame){.stored_offset = n * stored,
                      .stored_bytes = (uint32_t)stored,
                      .raw_offset = n * raw,
                      .raw_bytes = (uint32_t)raw,
                      .codec = 1};
    return true;
}
int hs_object_decode_frame(const hs_objects *o, uint32_t object, const hs_frame *f, hs_decoder *d, const void *stored,
                           void *slot, hs_err *err)
{
    (void)o, (void)object, (void)d, (void)stored, (void)slot, (void)err;
    vd_spend(now_is.frame_ns + f->raw_bytes * (double)SCALE / now_is.decode * 1e9);
    return 0;
}
void hs_object_parts(const hs_objects *o, uint32_t object, const void *slot, const void *ret_parts[HS_OBJECT_MAX_PARTS])
{
    (void)o, (void)object;
    for (uint32_t p = 0; p < HS_OBJECT_MAX_PARTS; p++)
        ret_parts[p] = slot;
}
void hs_object_describe(const hs_objects *o, uint32_t object, uint32_t range, char *buf, size_t cap)
{
    (void)o, (void)range;
    snprintf(buf, cap, "object %u", object);
}
/* ---- a model ---- */

typedef struct run {
    hs_objects objects;
    hs_pool *pool;
    hs_residency *r;
    hs_experts x;
    double expert_bytes;
    uint64_t dice;
    uint32_t last[LAYERS][TOP_K]; /* what the token before used */
} run;

static double chance(run *t)
{
    t->dice = t->dice * 6364136223846793005u + 1442695040888963407u;
    return (double)(t->dice >> 11) / 9007199254740992.0;
}

/* Some experts are wanted more than others, and what was used is used again two times of five. */
static uint32_t choose(run *t, uint32_t layer, uint32_t k)
{
    double skewed = pow(chance(t), 1.7) * EXPERTS, again = chance(t);
    uint32_t fresh = ((uint32_t)skewed * 37 + layer * 11) % EXPERTS;
    return again < 0.4 ? t->last[layer][k] : fresh;
}

static void set_machine(const machine *m, uint32_t in_flight, uint32_t read_size)
{
    now_is = *m;
    vd.bytes_per_s = m->drive / SCALE;
    vd.latency_ns = (uint64_t)m->latency_ns;
    vd.wake_ns = (uint64_t)m->wake_ns;
    vd.in_flight = in_flight / SCALE;
    vd.read_size = read_size / SCALE;
}

/* n_slots: of raw experts or, warm, of packed ones. */
static void open_run(run *t, const machine *m, double expert_bytes, uint32_t n_slots, bool warm, uint32_t other_slots)
{
    hs_err err = {0};
    vd = (struct virtual_drive){.fds = &zeros};
    set_machine(m, 16u << 20, 1u << 20);
    uint32_t n = 3 * (uint32_t)ceil(expert_bytes / SCALE / 3 / FRAME); /* of three matrices */
    uint64_t raw = hs_align_up((uint64_t)expert_bytes / SCALE, n);
    *t = (run){.objects = {.raw_bytes = raw,
                           .stored_bytes = hs_align_up((uint64_t)((double)raw * m->ratio), n),
                           .n_frames = n},
               .expert_bytes = expert_bytes,
               .dice = 88172645463325252u};
    assert_int_equal(hs_pool_create(1, &t->pool, &err), 0);
    hs_residency_config cfg = {.objects = &t->objects,
                               .pool = t->pool,
                               .n_layers = LAYERS,
                               .n_experts = EXPERTS,
                               .top_k = TOP_K,
                               .n_slots = n_slots,
                               .warm_tier = warm,
                               .other_slots = other_slots,
                               .policy = "ewma",
                               .n_staging = 2 * TOP_K};
    if (hs_residency_create(&cfg, &t->r, &err) < 0)
        fail_msg("%s", err.text);
    t->x = hs_residency_experts(t->r);
    for (uint32_t l = 0; l < LAYERS; l++)
        for (uint32_t k = 0; k < TOP_K; k++)
            t->last[l][k] = k;
}

static void close_run(run *t)
{
    assert_null(hs_residency_check(t->r));
    while (vd.n_out)
        vd_complete();
    hs_residency_destroy(&t->r);
    hs_pool_destroy(&t->pool);
}

/* The layer of one step: its experts are computed as they come. */
static void pass_layer(run *t, uint32_t layer, uint32_t n_tokens)
{
    hs_expert_want wants[EXPERTS];
    uint8_t resident[EXPERTS];
    uint32_t n = 0, uses[EXPERTS] = {0};
    hs_err err = {0};
    double expert_ns = t->expert_bytes / now_is.memory * 1e9;
    vd_spend(2 * expert_ns + 10000);
    for (uint32_t i = 0; i < n_tokens; i++)
        for (uint32_t k = 0; k < TOP_K; k++) {
            uint32_t e = choose(t, layer, k), free = e;
            for (uint32_t before = 0; before < k; before++) /* all of a token's are different */
                if (t->last[layer][before] == free) {
                    free = (free + 1) % EXPERTS;
                    before = UINT32_MAX;
                }
            t->last[layer][k] = free;
            uses[free]++;
        }
    for (uint32_t e = 0; e < EXPERTS; e++)
        if (uses[e])
            wants[n++] = (hs_expert_want){.expert = e, .n_tokens = uses[e]};
    if (t->x.ops->begin(t->x.self, layer, wants, n, resident, &err) < 0)
        fail_msg("%s", err.text);
    for (uint32_t i = 0, index, got; i < n; i++) {
        hs_expert e;
        if (t->x.ops->wait(t->x.self, 1, &index, &e, &got, &err) < 0)
            fail_msg("%s", err.text);
        vd_spend(expert_ns);
        t->x.ops->release(t->x.self, index);
    }
    t->x.ops->end(t->x.self);
}

/* Returns what it took. */
static double pass(run *t, hs_phase phase, uint32_t n_tokens)
{
    uint64_t t0 = vd.now;
    t->x.ops->step(t->x.self, phase, n_tokens);
    for (uint32_t l = 0; l < LAYERS; l++)
        pass_layer(t, l, n_tokens);
    return (double)(vd.now - t0);
}

static double decode(run *t, uint32_t n)
{
    double ns = 0;
    for (uint32_t i = 0; i < n; i++)
        ns += pass(t, HS_PHASE_DECODE, 1);
    return ns;
}

#endif

/*
 * expand.c - frames are checked and decoded by whoever waits: the engine thread, with the pool's help.
 *
 * Frames of a record are taken in order as its bytes arrive, so that decoding overlaps with the rest of the read. A
 * task touches its own frame, its thread's decoder, and bytes of staging and slot that no other frame has. In the warm
 * tier it is from slot to staging, and only for what is asked for.
 * Frames of a raw record are checksums and nothing else: of records that were right before a sample is checked by the
 * engine thread, one by one, and only instead of sleeping.
 */
#include "base/clock.h"
#include "residency/residency_int.h"

#define ALONE (128u << 10) /* raw bytes that the engine thread decodes by itself */

static void run_task(void *ctx, uint32_t index, uint32_t thread)
{
    hs_residency *r = ctx;
    hs__task *t = &r->tasks[index];
    const hs__load *l = t->load;
    uint8_t *slot = hs__slot_memory(r, l->slot);
    uint8_t *staging = l->staging == HS__NONE ? slot : hs__staging_memory(r, l->staging);
    t->result = hs_object_decode_frame(r->cfg.objects, l->from, &t->frame, r->decoders[thread],
                                       r->cfg.warm_tier ? slot : staging, r->cfg.warm_tier ? staging : slot, &t->err);
}

/* Waking a thread takes longer than decoding a little. */
static void run_tasks(hs_residency *r, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += r->tasks[i].frame.raw_bytes;
    if (bytes > ALONE) {
        hs_pool_run(r->cfg.pool, n, run_task, r);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        run_task(r, i, 0);
}

/* In the warm tier a load takes its buffer when the first frame is there: reads may be waited for without. */
static bool has_room(hs_residency *r, hs__load *l)
{
    if (l->staging == HS__NONE && hs__rests_stored(r, l->object))
        l->staging = hs__staging_take(r);
    return l->staging != HS__NONE || !hs__rests_stored(r, l->object);
}

/* Appends the load's frames that have arrived; returns the new number of tasks. */
static uint32_t take_frames(hs_residency *r, hs__load *l, uint32_t n, uint32_t most)
{
    while (n < most && l->has_frame && l->frame.stored_offset + l->frame.stored_bytes <= l->usable && has_room(r, l)) {
        r->tasks[n].load = l;
        r->tasks[n++].frame = l->frame;
        l->has_frame = hs_object_next_frame(r->cfg.objects, l->from, &l->it, &l->frame);
    }
    return n;
}

static bool is_meant(const hs_residency *r, const hs__load *l, hs__whose whose)
{
    bool wanted = r->slots[l->slot].want != HS__NONE;
    return !l->damaged && !l->cancelled && !l->is_known &&
           (whose == HS__GUESSES ? !wanted && !hs__rests_stored(r, l->object)
                                 : wanted && (whose == HS__WANTED || l->over));
}

/* Raw bytes of a round of compressed frames; 0: some are checksums alone, or failed. */
static uint64_t decoded_bytes(const hs_residency *r, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!hs_object_is_staged(r->cfg.objects, r->tasks[i].load->from) || r->tasks[i].result < 0)
            return 0;
        bytes += r->tasks[i].frame.raw_bytes;
    }
    return bytes;
}

bool hs__expand(hs_residency *r, hs__whose whose)
{
    uint32_t n = 0, most = whose == HS__GUESSES ? r->n_decoders
                                                : 4 * r->n_decoders; /* short rounds: what lands is delivered soon */
    most = most < HS__MAX_TASKS ? most : HS__MAX_TASKS;
    hs__load_look(r);
    for (hs__load *l = r->active_first; l && n < most; l = l->next)
        if (is_meant(r, l, whose))
            n = take_frames(r, l, n, most);
    if (!n)
        return false;
    uint64_t t0 = hs_now_ns();
    run_tasks(r, n);
    uint64_t took = hs_now_ns() - t0, decoded = decoded_bytes(r, n);
    hs__count(&r->count.decode_ns, took);
    if (decoded)
        hs__ways_decoded(r, decoded, took);
    for (uint32_t i = 0; i < n; i++) {
        hs__load *l = r->tasks[i].load;
        l->frames_left--;
        if (r->tasks[i].result < 0 && !l->damaged) {
            l->damaged = true;
            l->damage = r->tasks[i].err;
        }
    }
    for (uint32_t i = 0; i < n; i++) { /* tasks of a load are neighbours: it is settled behind its last */
        hs__load *l = r->tasks[i].load;
        bool last = i + 1 == n || r->tasks[i + 1].load != l;
        if (last && l->over && (l->damaged || !l->frames_left))
            hs__load_settle(r, l);
    }
    hs__load_submit(r);
    return true;
}

bool hs__check_known(hs_residency *r)
{
    uint32_t n = 0;
    hs__load_look(r);
    for (hs__load *l = r->active_first; l && !n; l = l->next)
        if (l->is_sample && !l->damaged && !l->cancelled && !l->over)
            n = take_frames(r, l, 0, 1);
    if (!n)
        return false;
    uint64_t t0 = hs_now_ns();
    hs__task *t = &r->tasks[0];
    run_task(r, 0, 0);
    t->load->frames_left--;
    if (t->result < 0) {
        t->load->damaged = true;
        t->load->damage = t->err;
    }
    hs__count(&r->count.wait_ns, hs_now_ns() - t0); /* the thread would have slept */
    return true;
}

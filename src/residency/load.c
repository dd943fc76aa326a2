/*
 * load.c - reads under way: starting, hearing of them, ending them.
 *
 * A load owns its request, and a staging buffer if the object is compressed, from hs__load_start until its slot is
 * READY or EMPTY again. In the warm tier the record lands in the slot, the buffer is what it is decoded into, if it is
 * asked for, and stays with the slot; hs__load_decode begins where the read of such a record has ended. The I/O thread
 * reports progress and the end into the load under the lock; the engine thread takes the ended ones in with
 * hs__load_drain. A failed read or a damaged frame is read once more if somebody asks for the object, where there are
 * mirrors once more from each copy, then the other way if there is one (ways.c), then its want fails; the slot becomes
 * EMPTY in any case.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "residency/residency_int.h"

#define TELL_NS 1000000000ull /* between warnings about damage */
#define SAMPLE  16u           /* reads of known records for one that is checked again if there is time */

void hs__loads_init(hs_residency *r)
{
    for (uint32_t i = r->n_loads; i-- > 0;) {
        r->loads[i].r = r;
        r->loads[i].next = r->unused;
        r->unused = &r->loads[i];
    }
    r->n_unused = r->n_loads;
}

bool hs__load_possible(const hs_residency *r, uint32_t object, bool guess)
{
    uint32_t keep_loads = guess ? r->n_loads / 2 : 0, keep_staging = guess ? r->n_staging / 2 : 0;
    if (r->n_unused <= keep_loads)
        return false;
    return r->cfg.warm_tier || r->n_staging_free > keep_staging || hs__way_is_raw(r) ||
           !hs_object_is_staged(r->cfg.objects, object);
}

/* ---- the I/O thread ---- */

/* Bytes [off, end) of the record are there: moves the front on over whatever has arrived before. A piece for which
 * there is no place is forgotten; then the rest waits for the end of the read. */
static void note_arrival(hs__load *l, uint64_t off, uint64_t end)
{
    l->arrived_bytes += end - off;
    if (off > l->arrived_contiguous) {
        if (l->n_gaps < HS__MAX_GAPS) {
            l->arrived_gaps[l->n_gaps].off = off;
            l->arrived_gaps[l->n_gaps++].end = end;
        }
        return;
    }
    if (end > l->arrived_contiguous)
        l->arrived_contiguous = end;
    for (uint32_t i = 0; i < l->n_gaps;) {
        if (l->arrived_gaps[i].off > l->arrived_contiguous) {
            i++;
            continue;
        }
        if (l->arrived_gaps[i].end > l->arrived_contiguous)
            l->arrived_contiguous = l->arrived_gaps[i].end;
        l->arrived_gaps[i] = l->arrived_gaps[--l->n_gaps];
        i = 0;
    }
}

/* Under the lock. */
static void wake_engine(hs_residency *r)
{
    atomic_fetch_add_explicit(&r->n_event, 1, memory_order_release);
    if (r->sleeping)
        pthread_cond_signal(&r->wake);
}

static void on_progress(hs_io_req *req, uint32_t range, uint64_t off, uint64_t len)
{
    hs__load *l = req->user;
    hs_residency *r = l->r;
    hs_mutex_lock(&r->lock);
    r->heard_ns = hs_now_ns();
    uint64_t before = l->arrived_contiguous;
    off += req->ranges[range].dst_offset;
    note_arrival(l, off, off + len);
    if (l->arrived_contiguous > before && l->in_frames && l->arrived_bytes < l->whole_bytes)
        wake_engine(r); /* with the last piece comes on_done, which wakes */
    hs_mutex_unlock(&r->lock);
}

static void on_done(hs_io_req *req, int result)
{
    hs__load *l = req->user;
    hs_residency *r = l->r;
    hs_mutex_lock(&r->lock);
    r->heard_ns = hs_now_ns();
    l->done_result = result;
    l->next_done = r->done;
    r->done = l;
    atomic_fetch_add_explicit(&r->n_done, 1, memory_order_release);
    wake_engine(r);
    hs_mutex_unlock(&r->lock);
}

/* ---- the engine thread ---- */

static uint8_t *landing(const hs_residency *r, const hs__load *l)
{
    return l->staging == HS__NONE || r->cfg.warm_tier ? hs__slot_memory(r, l->slot) : hs__staging_memory(r, l->staging);
}

/* Checksums of a raw record that was right before are no condition. With mirrors they are: another copy may be read. */
static bool is_known(const hs_residency *r, const hs__load *l)
{
    return !r->cfg.verify_always && !hs_object_is_staged(r->cfg.objects, l->from) && hs__is_known(r, l->object) &&
           hs_objects_copies(r->cfg.objects) == 1;
}

static void set_known(hs_residency *r, const hs__load *l, bool known)
{
    uint8_t bit = (uint8_t)(1u << l->object % 8), *byte = &r->known[l->object / 8];
    if (!hs_object_is_staged(r->cfg.objects, l->from) && hs_object_frames(r->cfg.objects, l->from))
        *byte = (uint8_t)(known ? *byte | bit : *byte & ~bit);
}

/* No frame of it is decoded. */
static void begin_frames(const hs_residency *r, hs__load *l)
{
    const hs_objects *o = r->cfg.objects;
    l->it = (hs_frame_iter){0};
    l->frames_left = hs_object_frames(o, l->from);
    l->has_frame = hs_object_next_frame(o, l->from, &l->it, &l->frame);
}

/* Fills the request and queues it for hs__load_submit. Nobody else sees the load now. */
static void prepare(hs_residency *r, hs__load *l, hs_io_class cls)
{
    const hs_objects *o = r->cfg.objects;
    l->over = l->damaged = l->cancelled = l->stalled = l->dropped = false;
    l->speculative = cls == HS_IO_SPECULATIVE;
    l->arrived_contiguous = l->arrived_bytes = l->usable = 0;
    l->n_gaps = 0;
    begin_frames(r, l);
    l->is_known = is_known(r, l);
    l->is_sample = l->is_known && r->known_reads++ % SAMPLE == 0;
    l->in_frames = l->frames_left && !l->is_known;
    memset(&l->req, 0, sizeof l->req);
    l->req.n_ranges = hs_object_ranges(o, l->from, l->req.ranges);
    l->whole_bytes = hs_object_read_bytes(o, l->from);
    l->req.cls = cls;
    l->req.dst = landing(r, l);
    l->req.user = l;
    l->req.on_progress = on_progress;
    l->req.on_done = on_done;
    r->slots[l->slot].state = HS__READING;
    if (l->speculative)
        r->speculative_flying += hs_object_read_bytes(o, l->from);
    r->batch[r->n_batch++] = &l->req;
}

/* Becomes active. */
static hs__load *take(hs_residency *r, uint32_t slot, uint32_t object)
{
    hs__load *l = r->unused;
    r->unused = l->next;
    r->n_unused--;
    l->next = NULL;
    l->prev = r->active_last;
    if (r->active_last)
        r->active_last->next = l;
    else
        r->active_first = l;
    r->active_last = l;
    l->slot = slot;
    l->object = l->from = object;
    l->attempts = 0;
    l->is_other_way = false;
    l->staging = HS__NONE;
    return l;
}

void hs__load_start(hs_residency *r, uint32_t slot, uint32_t object, hs__kind kind, hs_io_class cls)
{
    hs__load *l = take(r, slot, object);
    bool raw = hs__way_is_raw(r);
    l->from = raw ? object | HS_OBJECT_RAW : object;
    r->slots[slot].raw = raw;
    hs__count(&r->count.unpacked, raw);
    if (!r->cfg.warm_tier && hs_object_is_staged(r->cfg.objects, l->from))
        l->staging = hs__staging_take(r);
    hs__slot_fill(r, slot, object, kind, (uint32_t)(l - r->loads));
    prepare(r, l, cls);
}

bool hs__load_decode(hs_residency *r, uint32_t slot)
{
    if (!r->n_unused || !r->n_staging_free)
        return false;
    hs__load *l = take(r, slot, r->slots[slot].object);
    l->staging = hs__staging_take(r);
    l->over = true;
    l->result = 0;
    l->damaged = l->cancelled = l->stalled = l->dropped = l->speculative = l->is_known = l->is_sample = false;
    l->req.used = 0; /* what it comes from is forgotten */
    l->req.only = 0;
    begin_frames(r, l);
    hs__slot_decode(r, slot, (uint32_t)(l - r->loads));
    hs__count(&r->count.warm_hits, 1);
    return true;
}

void hs__load_submit(hs_residency *r)
{
    if (r->n_batch)
        hs_io_submit_many(r->cfg.io, r->batch, r->n_batch);
    r->n_batch = 0;
}

static void no_longer_speculative(hs_residency *r, hs__load *l)
{
    if (l->speculative)
        r->speculative_flying -= hs_object_read_bytes(r->cfg.objects, l->from);
    l->speculative = false;
}

void hs__load_promote(hs_residency *r, hs__load *l)
{
    if (!l->speculative || l->over || l->cancelled)
        return;
    no_longer_speculative(r, l);
    hs_io_promote(r->cfg.io, &l->req);
}

static void free_load(hs_residency *r, hs__load *l)
{
    if (l->prev)
        l->prev->next = l->next;
    else
        r->active_first = l->next;
    if (l->next)
        l->next->prev = l->prev;
    else
        r->active_last = l->prev;
    if (l->staging != HS__NONE)
        hs__staging_give(r, l->staging);
    l->next = r->unused;
    r->unused = l;
    r->n_unused++;
}

/* The load has failed for good: its want, if there is one, hears of it. */
static void give_up(hs_residency *r, hs__load *l, int code, const hs_err *err)
{
    uint32_t slot = l->slot, want = r->slots[slot].want;
    free_load(r, l);
    hs__slot_clear(r, slot);
    if (want != HS__NONE)
        hs__want_failed(r, want, code, err);
}

void hs__load_abandon(hs_residency *r, hs__load *l)
{
    if (l->over && hs__rests_stored(r, l->object)) {
        hs__load_settle(r, l);
    } else if (l->over) {
        give_up(r, l, -ECANCELED, NULL);
    } else if (!l->cancelled) {
        l->cancelled = true;
        if (r->cfg.warm_tier && l->staging != HS__NONE) {
            hs__staging_give(r, l->staging);
            l->staging = HS__NONE;
            begin_frames(r, l);
        }
        l->attempts = 0; /* whoever asks for it next has tries of its own */
        l->is_other_way = false;
        hs_io_cancel(r->cfg.io, &l->req);
    }
}

/* What is wrong with the load. */
static void explain(const hs_residency *r, const hs__load *l, hs_err *ret)
{
    *ret = l->damage;
    if (l->damaged)
        return;
    char what[300];
    hs_object_describe(r->cfg.objects, l->from, l->req.bad_range, what, sizeof what);
    hs_err_set(ret, l->result, "%s: cannot be read: %s", what, hs_strerror(l->result));
}

/* In the log, since the request hears nothing of it; not all of it where a whole drive is bad. */
static void tell(hs_residency *r, const hs__load *l, const hs_err *err, const char *instead)
{
    const hs_objects *o = r->cfg.objects;
    uint64_t now = hs_now_ns();
    if (r->told_ns && now - r->told_ns < TELL_NS)
        return;
    r->told_ns = now;
    uint32_t copies = hs_objects_copies(o), c = 0;
    while (c < copies && l->req.used != 1u << c && l->req.only != c + 1 && copies > 1)
        c++;
    if (c == copies)
        hs_warn("%s, in one of its copies; %s", err->text, instead);
    else if (copies == 1 || !l->damaged)
        hs_warn("%s: %s; %s", hs_objects_copy_path(o, c), err->text, instead);
    else
        hs_warn("%s: %s; %s ('hotset verify %s --repair --mirror %s' mends it)", hs_objects_copy_path(o, c), err->text,
                instead, hs_objects_copy_path(o, c), hs_objects_copy_path(o, c == 0));
}

/* Where there are two ways to the expert, the other one, once, if there is a buffer for it. */
static bool try_other_way(hs_residency *r, hs__load *l, const hs_err *err)
{
    bool raw = !(l->from & HS_OBJECT_RAW);
    if (!raw)
        hs__ways_failed(r, err);
    if (l->is_other_way || (raw && !r->ways.is_possible))
        return false;
    uint32_t from = l->from ^ HS_OBJECT_RAW;
    bool staged = hs_object_is_staged(r->cfg.objects, from);
    if (staged && l->staging == HS__NONE && !r->n_staging_free)
        return false;
    if (raw)
        tell(r, l, err, "raw bytes are read in its place");
    if (staged && l->staging == HS__NONE)
        l->staging = hs__staging_take(r);
    if (!staged && l->staging != HS__NONE) {
        hs__staging_give(r, l->staging);
        l->staging = HS__NONE;
    }
    l->from = from;
    l->is_other_way = true;
    l->attempts = 0;
    r->slots[l->slot].raw = raw;
    hs__count(&r->count.unpacked, raw);
    prepare(r, l, HS_IO_DEMAND);
    return true;
}

/* Once more if somebody asks for it, from each copy; then the end, with a sentence. */
static void fail(hs_residency *r, hs__load *l)
{
    bool wanted = r->slots[l->slot].want != HS__NONE;
    uint32_t copies = hs_objects_copies(r->cfg.objects);
    hs_err err;
    hs__count(&r->count.errors, 1);
    hs__count(&r->count.damaged, l->damaged);
    explain(r, l, &err);
    set_known(r, l, false);
    if (wanted && l->attempts < copies) {
        if (copies > 1)
            tell(r, l, &err, "another copy is read");
        prepare(r, l, HS_IO_DEMAND);
        l->attempts++;
        l->req.only = copies > 1 ? l->attempts : 0;
        return;
    }
    if (wanted && try_other_way(r, l, &err))
        return;
    give_up(r, l, err.code, &err);
}

void hs__load_settle(hs_residency *r, hs__load *l)
{
    uint32_t slot = l->slot, want = r->slots[slot].want;
    bool whole = l->result == 0 && !l->damaged, rests = want == HS__NONE && hs__rests_stored(r, l->object);
    bool is_left = l->frames_left && !l->is_known && !rests;
    if (l->cancelled && want == HS__NONE && (!whole || is_left)) {
        give_up(r, l, -ECANCELED, NULL);
    } else if (l->cancelled && l->result == -ECANCELED) {
        prepare(r, l, HS_IO_DEMAND); /* asked for again in the meantime */
    } else if (!whole) {
        fail(r, l);
    } else if (is_left) {
        l->cancelled = false;
        r->slots[slot].state = HS__DECODING;
    } else {
        if (!l->frames_left)
            set_known(r, l, true);
        if (r->cfg.warm_tier && want != HS__NONE) {
            r->slots[slot].staging = l->staging;
            l->staging = HS__NONE;
        }
        free_load(r, l);
        hs__slot_ready(r, slot);
        if (want != HS__NONE)
            hs__want_ready(r, want);
    }
}

static void take_in(hs_residency *r, hs__load *l)
{
    uint64_t bytes = l->arrived_bytes;
    hs__count(&r->count.bytes_read, bytes);
    hs__count(l->speculative ? &r->count.speculative_bytes : &r->count.demand_bytes, bytes);
    if (!l->speculative)
        r->demand_ns = hs_now_ns();
    if (l->dropped)
        hs__prefetch_dropped(r, l->object, bytes);
    no_longer_speculative(r, l);
    l->over = true;
    l->result = l->done_result;
    hs__load_settle(r, l);
}

void hs__load_drain(hs_residency *r)
{
    uint32_t n = atomic_load_explicit(&r->n_done, memory_order_acquire);
    if (n == r->seen_done)
        return;
    hs_mutex_lock(&r->lock);
    hs__load *done = r->done;
    r->done = NULL;
    r->seen_done = atomic_load_explicit(&r->n_done, memory_order_relaxed);
    hs_mutex_unlock(&r->lock);
    hs__load *oldest = NULL;
    while (done) {
        hs__load *l = done;
        done = l->next_done;
        l->next_done = oldest;
        oldest = l;
    }
    while (oldest) {
        hs__load *l = oldest;
        oldest = l->next_done;
        take_in(r, l);
    }
    hs__load_submit(r);
}

void hs__load_look(hs_residency *r)
{
    hs_mutex_lock(&r->lock);
    for (hs__load *l = r->active_first; l; l = l->next)
        l->usable = l->over ? UINT64_MAX : l->arrived_contiguous;
    hs_mutex_unlock(&r->lock);
}

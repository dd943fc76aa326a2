/*
 * fake_store.h - a store that exists only in the test: objects with known bytes, and an I/O "thread" that is either
 * pumped by hand or runs by itself, in a seeded random order, with scripted failures.
 *
 * It defines the hs_object*, hs_decoder* and hs_io* functions that the residency calls, so that the real ones are not
 * linked. Include it in one file per test binary.
 *
 * Object i is plain (lands as it is), checked (frames without a codec) or staged (bytes are stored inverted), by i % 3,
 * or all of one kind if fake.kind is set. With fake.layer_objects, every other layer's objects are FAKE_TAIL bytes
 * bigger.
 */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_decoder.h"
#include "residency/residency.h"

#define FAKE_RAW    20000u /* bytes of an object */
#define FAKE_PADDED 20480u
#define FAKE_FRAME  4096u /* every frame but the last */
#define FAKE_FRAMES 5u
#define FAKE_TAIL   8192u
#ifndef FAKE_MAX
#define FAKE_MAX 512u /* objects, and requests queued */
#endif

enum { FAKE_PLAIN, FAKE_CHECKED, FAKE_STAGED, FAKE_MIXED };

struct hs_objects {
    uint32_t n;
};

/* What a test sets while there is no thread. */
static struct fake {
    int kind;
    uint32_t copies;          /* 0 = 1 */
    uint32_t bad_copies;      /* bit c: reads that go to copy c (the first, unless told otherwise) fail */
    bool bad_by_damage;       /* they bring damaged bytes instead */
    uint32_t layer_objects;   /* 0 = all objects are of one size */
    bool has_raw;             /* objects can be had unpacked: they land as they are */
    _Atomic uint32_t frames;  /* checked or decoded */
    uint64_t told_bytes;      /* hs_io_get_stats; 0 = the drive's speed is not known */
    uint64_t max_speculative; /* hs_io_max_speculative; 0 = no limit */
    bool running;
} fake = {.kind = FAKE_MIXED};

/* Since fake_reset, or fake_forget. */
typedef struct fake_counts {
    uint32_t queued; /* now */
    uint32_t reads, promoted, cancels;
} fake_counts;

/* The thread's, under its lock; tests use the functions below. */
static struct fake_drive {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stop;
    uint32_t rng;
    hs_io_req *queue[FAKE_MAX];
    bool cancelled[FAKE_MAX]; /* of queue */
    fake_counts n;
    uint8_t fail_reads[FAKE_MAX]; /* per object: so many next reads fail */
    uint8_t damage[FAKE_MAX];     /* per object: so many next reads bring damaged bytes */
    uint32_t order[4 * FAKE_MAX]; /* objects in the order of their reads */
    uint8_t order_class[4 * FAKE_MAX];
} fake_drive = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .rng = 1};

static inline uint32_t fake_random(uint32_t *rng, uint32_t below)
{
    *rng = *rng * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)*rng * below) >> 32);
}

/* The FAKE_PADDED bytes that are the object. fake_reset fills the noise. */
static uint8_t fake_noise[FAKE_PADDED + 13 * FAKE_MAX];
static inline const uint8_t *fake_bytes(uint32_t object)
{
    return fake_noise + 13 * object;
}

static inline int fake_kind(uint32_t object)
{
    return object & HS_OBJECT_RAW ? FAKE_PLAIN : fake.kind == FAKE_MIXED ? (int)(object % 3) : fake.kind;
}

static inline uint32_t fake_tail_bytes(uint32_t object)
{
    return fake.layer_objects && (object & ~HS_OBJECT_RAW) / fake.layer_objects % 2 == 0 ? FAKE_TAIL : 0;
}

/* What a big object has behind the bytes of the others. */
static inline void fake_add_tail(uint8_t *slot, uint32_t object)
{
    memset(slot + FAKE_PADDED, (int)(object % 251), fake_tail_bytes(object));
}

/* ---- objects ---- */

uint32_t hs_objects_copies(const hs_objects *o)
{
    (void)o;
    return fake.copies ? fake.copies : 1;
}

const char *hs_objects_copy_path(const hs_objects *o, uint32_t copy)
{
    (void)o;
    return copy ? "mirror" : "model";
}

bool hs_objects_has_raw(const hs_objects *o)
{
    (void)o;
    return fake.has_raw;
}
uint32_t hs_objects_count(const hs_objects *o)
{
    return o->n;
}
uint64_t hs_objects_slot_bytes(const hs_objects *o)
{
    (void)o;
    return FAKE_PADDED + (fake.layer_objects ? FAKE_TAIL : 0);
}
uint64_t hs_object_slot_bytes(const hs_objects *o, uint32_t object)
{
    (void)o;
    return FAKE_PADDED + fake_tail_bytes(object);
}
uint64_t hs_object_raw_bytes(const hs_objects *o, uint32_t object)
{
    (void)o;
    return FAKE_RAW + fake_tail_bytes(object);
}
uint64_t hs_objects_staging_bytes(const hs_objects *o)
{
    (void)o;
    return fake.kind == FAKE_STAGED || fake.kind == FAKE_MIXED ? FAKE_PADDED : 0;
}
uint32_t hs_object_ranges(const hs_objects *o, uint32_t object, hs_range ranges[HS_OBJECT_MAX_RANGES])
{
    (void)o;
    ranges[0] =
        (hs_range){object & HS_OBJECT_RAW ? 1 : 0, (uint64_t)(object & ~HS_OBJECT_RAW) * FAKE_PADDED, FAKE_PADDED, 0};
    return 1;
}
bool hs_object_is_staged(const hs_objects *o, uint32_t object)
{
    (void)o;
    return fake_kind(object) == FAKE_STAGED;
}
uint64_t hs_object_read_bytes(const hs_objects *o, uint32_t object)
{
    (void)o, (void)object;
    return FAKE_PADDED;
}
uint32_t hs_object_frames(const hs_objects *o, uint32_t object)
{
    (void)o;
    return fake_kind(object) == FAKE_PLAIN ? 0 : FAKE_FRAMES;
}
bool hs_object_next_frame(const hs_objects *o, uint32_t object, hs_frame_iter *it, hs_frame *ret_frame)
{
    if (it->next >= hs_object_frames(o, object))
        return false;
    uint32_t at = it->next++ * FAKE_FRAME, left = FAKE_RAW - at;
    uint32_t len = left < FAKE_FRAME ? left : FAKE_FRAME;
    *ret_frame = (hs_frame){.stored_offset = at, .stored_bytes = len, .raw_offset = at, .raw_bytes = len};
    return true;
}
void hs_object_describe(const hs_objects *o, uint32_t object, uint32_t range, char *buf, size_t cap)
{
    (void)o, (void)range;
    snprintf(buf, cap, "fake shard, record %u", object);
}
int hs_object_decode_frame(const hs_objects *o, uint32_t object, const hs_frame *f, hs_decoder *d, const void *stored,
                           void *slot, hs_err *err)
{
    (void)o, (void)d;
    fake.frames++;
    const uint8_t *from = (const uint8_t *)stored + f->stored_offset, *is = fake_bytes(object) + f->raw_offset;
    uint8_t *to = (uint8_t *)slot + f->raw_offset;
    bool staged = fake_kind(object) == FAKE_STAGED;
    for (uint32_t i = 0; staged && i < f->raw_bytes; i++)
        to[i] = from[i] ^ 0xff;
    if (memcmp(to, is, f->raw_bytes))
        return hs_err_set(err, -EBADMSG, "fake shard, record %u: damaged", object);
    if (staged && f->raw_offset + f->raw_bytes == FAKE_RAW)
        fake_add_tail(slot, object);
    return 0;
}
void hs_object_parts(const hs_objects *o, uint32_t object, const void *slot, const void *ret_parts[HS_OBJECT_MAX_PARTS])
{
    (void)o, (void)object;
    for (uint32_t p = 0; p < HS_OBJECT_MAX_PARTS; p++)
        ret_parts[p] = (const uint8_t *)slot + p;
}

/* Whether a delivered expert is the object, all of it. */
static inline bool fake_is(const hs_expert *x, uint32_t object)
{
    const uint8_t *at = x->part[0];
    for (uint32_t i = 0; i < fake_tail_bytes(object); i++)
        if (at[FAKE_PADDED + i] != object % 251)
            return false;
    return memcmp(at, fake_bytes(object), FAKE_RAW) == 0;
}

/* ---- io ---- */

static uint32_t object_of(const hs_io_req *req)
{
    return (uint32_t)(req->ranges[0].offset / FAKE_PADDED);
}

static void land(const hs_io_req *req, uint32_t object, uint32_t off, uint32_t len, bool damaged)
{
    uint8_t *dst = req->dst;
    memcpy(dst + off, fake_bytes(object) + off, len);
    bool inverted = fake_kind(object) == FAKE_STAGED && req->ranges[0].file == 0;
    for (uint32_t i = off; inverted && i < off + len; i++)
        dst[i] ^= 0xff;
    if (damaged && off <= 5000 && 5000 < off + len)
        dst[5000] ^= 1;
}

/* Carries request i of the queue out: pieces of 4096 in random order, then on_done. Takes and leaves the lock held. */
static void carry_out(uint32_t i)
{
    hs_io_req *req = fake_drive.queue[i];
    bool cancelled = fake_drive.cancelled[i];
    uint32_t object = object_of(req);
    fake_drive.queue[i] = fake_drive.queue[--fake_drive.n.queued];
    fake_drive.cancelled[i] = fake_drive.cancelled[fake_drive.n.queued];
    if (!cancelled) {
        fake_drive.order_class[fake_drive.n.reads % (4 * FAKE_MAX)] = (uint8_t)req->cls;
        fake_drive.order[fake_drive.n.reads++ % (4 * FAKE_MAX)] = object;
    }
    bool fails = fake_drive.fail_reads[object] > 0, damaged = !fails && fake_drive.damage[object] > 0;
    bool bad = fake.bad_copies >> (req->only ? req->only - 1 : 0) & 1;
    uint32_t piece[FAKE_PADDED / 4096], n = FAKE_PADDED / 4096;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t j = fake_random(&fake_drive.rng, k + 1);
        piece[k] = piece[j];
        piece[j] = k;
    }
    if (!cancelled) {
        fake_drive.fail_reads[object] -= fails;
        fake_drive.damage[object] -= damaged;
    }
    fails |= bad && !fake.bad_by_damage;
    damaged |= bad && fake.bad_by_damage;
    pthread_mutex_unlock(&fake_drive.lock);
    for (uint32_t k = 0; !cancelled && k < n - fails; k++) {
        land(req, object, piece[k] * 4096, 4096, damaged);
        req->on_progress(req, 0, piece[k] * 4096, 4096);
    }
    if (!cancelled && (fake_kind(object) != FAKE_STAGED || req->ranges[0].file == 1))
        fake_add_tail(req->dst, object);
    req->on_done(req, cancelled ? -ECANCELED : fails ? -EIO : 0);
    pthread_mutex_lock(&fake_drive.lock);
}

/* A random one of the demands, or of the rest if there is none. */
static uint32_t pick(void)
{
    uint32_t found = 0, n = 0;
    for (int cls = HS_IO_DEMAND; cls <= HS_IO_SPECULATIVE && !n; cls++)
        for (uint32_t i = 0; i < fake_drive.n.queued; i++)
            if ((int)fake_drive.queue[i]->cls == cls && fake_random(&fake_drive.rng, ++n) == 0)
                found = i;
    return found;
}

/* ---- what a test asks and orders, at any time ---- */

static inline fake_counts fake_now(void)
{
    pthread_mutex_lock(&fake_drive.lock);
    fake_counts n = fake_drive.n;
    pthread_mutex_unlock(&fake_drive.lock);
    return n;
}

/* The object of read i, and its class. */
static inline uint32_t fake_read(uint32_t i, hs_io_class *ret_class)
{
    pthread_mutex_lock(&fake_drive.lock);
    uint32_t all = fake_drive.n.reads, object = fake_drive.order[i % (4 * FAKE_MAX)];
    if (ret_class)
        *ret_class = (hs_io_class)fake_drive.order_class[i % (4 * FAKE_MAX)];
    pthread_mutex_unlock(&fake_drive.lock);
    assert_true(i < all && all <= 4 * FAKE_MAX);
    return object;
}

/* Reads are counted from 0 anew. */
static inline void fake_forget(void)
{
    pthread_mutex_lock(&fake_drive.lock);
    fake_drive.n.reads = 0;
    pthread_mutex_unlock(&fake_drive.lock);
}

/* So many next reads of the object fail; others after them bring damaged bytes. */
static inline void fake_spoil(uint32_t object, uint8_t fail, uint8_t damage)
{
    pthread_mutex_lock(&fake_drive.lock);
    fake_drive.fail_reads[object] = fail;
    fake_drive.damage[object] = damage;
    pthread_mutex_unlock(&fake_drive.lock);
}

/* How many of them are still to come. */
static inline uint32_t fake_spoilt(uint32_t object)
{
    pthread_mutex_lock(&fake_drive.lock);
    uint32_t n = fake_drive.fail_reads[object] + fake_drive.damage[object];
    pthread_mutex_unlock(&fake_drive.lock);
    return n;
}

/* The only request that waits; taken from the drive it is the test's to answer. */
static inline hs_io_req *fake_waiting(bool take)
{
    pthread_mutex_lock(&fake_drive.lock);
    uint32_t n = fake_drive.n.queued;
    fake_drive.n.queued -= take;
    hs_io_req *req = fake_drive.queue[0];
    pthread_mutex_unlock(&fake_drive.lock);
    assert_int_equal(n, 1);
    return req;
}

/* By hand: carries out at most n requests. */
static inline void fake_pump(uint32_t n)
{
    pthread_mutex_lock(&fake_drive.lock);
    for (; n > 0 && fake_drive.n.queued; n--)
        carry_out(pick());
    pthread_mutex_unlock(&fake_drive.lock);
}

static void *fake_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&fake_drive.lock);
    while (!fake_drive.stop) {
        if (fake_drive.n.queued)
            carry_out(pick());
        else
            pthread_cond_wait(&fake_drive.wake, &fake_drive.lock);
    }
    pthread_mutex_unlock(&fake_drive.lock);
    return NULL;
}

static inline void fake_start(void)
{
    fake_drive.stop = false;
    fake.running = pthread_create(&fake_drive.thread, NULL, fake_main, NULL) == 0;
}

static inline void fake_stop(void)
{
    if (!fake.running)
        return;
    pthread_mutex_lock(&fake_drive.lock);
    fake_drive.stop = true;
    pthread_cond_signal(&fake_drive.wake);
    pthread_mutex_unlock(&fake_drive.lock);
    pthread_join(fake_drive.thread, NULL);
    fake.running = false;
}

/* Everything as at the start of a test. */
static inline void fake_reset(int kind, uint32_t seed)
{
    fake = (struct fake){.kind = kind};
    fake_drive.rng = seed;
    fake_drive.n = (fake_counts){0};
    memset(fake_drive.fail_reads, 0, sizeof fake_drive.fail_reads);
    memset(fake_drive.damage, 0, sizeof fake_drive.damage);
    uint32_t rng = 99;
    for (uint32_t i = 0; i < sizeof fake_noise; i++)
        fake_noise[i] = (uint8_t)fake_random(&rng, 256);
}

void hs_io_submit_many(hs_io *io, hs_io_req **reqs, uint32_t n)
{
    (void)io;
    pthread_mutex_lock(&fake_drive.lock);
    for (uint32_t i = 0; i < n; i++) {
        fake_drive.cancelled[fake_drive.n.queued] = false;
        fake_drive.queue[fake_drive.n.queued++] = reqs[i];
    }
    pthread_cond_signal(&fake_drive.wake);
    pthread_mutex_unlock(&fake_drive.lock);
}
/* A drive of 1 ns for a byte, as far as anybody has been told. */
hs_io_stats hs_io_get_stats(hs_io *io)
{
    (void)io;
    return (hs_io_stats){.bytes = fake.told_bytes, .busy_ns = fake.told_bytes};
}

uint64_t hs_io_max_speculative(const hs_io *io)
{
    (void)io;
    return fake.max_speculative ? fake.max_speculative : UINT64_MAX;
}

uint64_t hs_io_patience_ns(const hs_io *io)
{
    (void)io;
    return 30000000000ull;
}
void hs_io_promote(hs_io *io, hs_io_req *req)
{
    (void)io;
    pthread_mutex_lock(&fake_drive.lock);
    for (uint32_t i = 0; i < fake_drive.n.queued; i++)
        if (fake_drive.queue[i] == req)
            req->cls = HS_IO_DEMAND;
    fake_drive.n.promoted++;
    pthread_mutex_unlock(&fake_drive.lock);
}
void hs_io_cancel(hs_io *io, hs_io_req *req)
{
    (void)io;
    pthread_mutex_lock(&fake_drive.lock);
    for (uint32_t i = 0; i < fake_drive.n.queued; i++)
        if (fake_drive.queue[i] == req)
            fake_drive.cancelled[i] = true;
    fake_drive.n.cancels++;
    pthread_cond_signal(&fake_drive.wake);
    pthread_mutex_unlock(&fake_drive.lock);
}

#endif

/* labels: unit fault */
/* When frames are checked: compressed ones always, raw ones the first time, after trouble, and a
 * sample of them instead of sleeping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fixture.h"

/* Frames that were looked at while experts 0 to 3 of the layer were read, everything having arrived before the wait. */
static uint32_t frames_of(fixture *f, uint32_t layer)
{
    uint32_t before = fake.frames;
    assert_int_equal(run_layer(f, layer, 0, 4), 0);
    return fake.frames - before;
}

static fixture open_four(int kind)
{
    fixture f;
    fixture_open(&f, kind, "lru", 4, 0);
    step(&f, HS_PHASE_DECODE, 1);
    return f;
}

static void raw_records_are_checked_once(void **state)
{
    (void)state;
    fixture f = open_four(FAKE_CHECKED);
    assert_int_equal(frames_of(&f, 0), 4 * FAKE_FRAMES);
    assert_int_equal(frames_of(&f, 1), 4 * FAKE_FRAMES);
    assert_int_equal(frames_of(&f, 0), 0);
    f.r->cfg.verify_always = true;
    assert_int_equal(frames_of(&f, 1), 4 * FAKE_FRAMES);
    f.r->cfg.verify_always = false;
    fake.copies = 2; /* who knows which one is read */
    assert_int_equal(frames_of(&f, 0), 4 * FAKE_FRAMES);
    fixture_close(&f);
}

static void compressed_records_are_always_decoded(void **state)
{
    (void)state;
    fixture f = open_four(FAKE_STAGED);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(frames_of(&f, i % 2), 4 * FAKE_FRAMES);
    fixture_close(&f);
}

static void after_trouble_they_are_checked_again(void **state)
{
    (void)state;
    fixture f = open_four(FAKE_CHECKED);
    hs_err err = {0};
    frames_of(&f, 0);
    frames_of(&f, 1);
    fake_start();
    fake_spoil(2, 1, 0);
    uint32_t before = fake.frames;
    begin(&f, 0, 2, 1);
    finish(&f, 1); /* compares */
    assert_true(fake.frames - before >= FAKE_FRAMES);
    fake_stop();
    f.r->cfg.verify_always = true;
    run_layer(&f, 1, 0, 4);
    fake_spoil(1, 0, 2);
    begin(&f, 0, 0, 4);
    fake_start();
    uint32_t index[4];
    int r;
    while ((r = wait_for(&f, 1, index, &err)) > 0)
        ;
    assert_int_equal(r, -EBADMSG);
    assert_non_null(strstr(err.text, "record 1: damaged"));
    f.x.ops->end(f.x.self);
    assert_false(hs__is_known(f.r, 1));
    fixture_close(&f);
}

/* A read of a known record is under way and some of it has arrived: the thread has nothing else to do. */
static void waiting_is_checking(void **state)
{
    (void)state;
    fixture f = open_four(FAKE_CHECKED);
    frames_of(&f, 0);
    frames_of(&f, 1);
    begin(&f, 0, 3, 1);
    assert_false(hs__check_known(f.r)); /* nothing has arrived */
    hs_io_req *req = fake_waiting(false);
    land(req, 3, 0, 8192, true);
    req->on_progress(req, 0, 0, 8192);
    assert_false(hs__expand(f.r, HS__WANTED));
    assert_true(hs__check_known(f.r)); /* byte 5000 is in the second frame */
    assert_true(hs__check_known(f.r));
    assert_false(hs__check_known(f.r));
    uint32_t before = fake.frames;
    fake_start(); /* all of it is read, but for what is known already: once more */
    finish(&f, 1);
    assert_int_equal(fake.frames - before, FAKE_FRAMES);
    assert_int_equal(hs_residency_get_stats(f.r).errors, 1);
    fixture_close(&f);
}

/* What has arrived is decoded while the drive reads the rest; without a front there is nothing to decode. */
static void decoding_goes_along_with_reading(void **state)
{
    (void)state;
    fixture f = open_four(FAKE_STAGED);
    begin(&f, 0, 3, 1);
    hs_io_req *req = fake_waiting(false);
    land(req, 3, 8192, 4096, false);
    req->on_progress(req, 0, 8192, 4096);
    assert_false(hs__expand(f.r, HS__WANTED)); /* what is before it is not there */
    land(req, 3, 0, 4096, false);
    req->on_progress(req, 0, 0, 4096);
    assert_true(hs__expand(f.r, HS__WANTED));
    assert_int_equal(fake.frames, 1);
    land(req, 3, 4096, 4096, false);
    req->on_progress(req, 0, 4096, 4096); /* closes the gap */
    assert_true(hs__expand(f.r, HS__WANTED));
    assert_int_equal(fake.frames, 3);
    assert_int_equal(f.r->slots[f.r->slot_of[3]].state, HS__READING);
    fake_start();
    finish(&f, 1); /* compares */
    assert_int_equal(fake.frames, FAKE_FRAMES);
    fixture_close(&f);
}

/* Who waits for a big record is woken for each piece of it that lets a frame be decoded, but not for the last. */
static void pieces_wake_who_decodes(void **state)
{
    (void)state;
    fixture f = open_four(FAKE_STAGED);
    begin(&f, 0, 3, 1);
    hs_io_req *req = fake_waiting(false);
    uint32_t events = atomic_load(&f.r->n_event);
    req->on_progress(req, 0, 4096, 4096);
    assert_int_equal(atomic_load(&f.r->n_event), events);
    req->on_progress(req, 0, 0, 4096);
    assert_int_equal(atomic_load(&f.r->n_event), events + 1);
    req->on_progress(req, 0, 8192, FAKE_PADDED - 8192);
    assert_int_equal(atomic_load(&f.r->n_event), events + 1);
    land(req, 3, 0, FAKE_PADDED, false);
    while (hs__expand(f.r, HS__WANTED)) /* before the drive, which knows nothing of this, writes it all once more */
        ;
    assert_int_equal(fake.frames, FAKE_FRAMES);
    fake_start();
    finish(&f, 1);
    fixture_close(&f);
}

static void of_what_is_known_a_sample_is_checked(void **state)
{
    (void)state;
    fixture f = open_four(FAKE_CHECKED);
    frames_of(&f, 0);
    frames_of(&f, 1);
    uint32_t samples = 0;
    for (uint32_t i = 0; i < 16; i++) { /* four reads each time */
        begin(&f, i % 2, 0, 4);
        for (const hs__load *l = f.r->active_first; l; l = l->next)
            samples += l->is_sample;
        fake_start();
        finish(&f, 4);
        fake_stop();
    }
    assert_int_equal(samples, 64 / 16);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_records_are_checked_once),         cmocka_unit_test(compressed_records_are_always_decoded),
        cmocka_unit_test(decoding_goes_along_with_reading),     cmocka_unit_test(pieces_wake_who_decodes),
        cmocka_unit_test(after_trouble_they_are_checked_again), cmocka_unit_test(waiting_is_checking),
        cmocka_unit_test(of_what_is_known_a_sample_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* labels: unit fault */
/* Reads: one more try after a failure, then the want fails and nothing stays stuck; frames are decoded while the rest
 * of the record is still on its way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_store.h"
#include "fixture.h"

static void a_failed_read_is_tried_once_more(void **state)
{
    (void)state;
    for (int kind = FAKE_PLAIN; kind <= FAKE_STAGED; kind++) {
        for (int damage = 0; damage <= (kind != FAKE_PLAIN); damage++) {
            fixture f;
            fixture_open(&f, kind, "lru", 8, 0);
            fake_start();
            step(&f, HS_PHASE_DECODE, 1);
            fake_spoil(5, !damage, damage);
            run_layer(&f, 0, 4, 4);
            hs_residency_stats s = hs_residency_get_stats(f.r);
            assert_int_equal(s.errors, 1);
            assert_int_equal(s.misses, 4);
            assert_true(is_resident(&f, 0, 5));
            fixture_close(&f);
        }
    }
}

static void a_second_failure_is_an_error_of_that_layer(void **state)
{
    (void)state;
    for (int kind = FAKE_PLAIN; kind <= FAKE_STAGED; kind++) {
        for (int damage = 0; damage <= (kind != FAKE_PLAIN); damage++) {
            fixture f;
            hs_err err = {0};
            uint32_t index[4];
            int r;
            fixture_open(&f, kind, "lru", 8, 0);
            step(&f, HS_PHASE_DECODE, 1);
            fake_spoil(5, damage ? 0 : 2, damage ? 2 : 0);
            fake_start();
            begin(&f, 0, 4, 4);
            while ((r = wait_for(&f, 4, index, &err)) >= 0)
                ;
            assert_int_equal(r, damage ? -EBADMSG : -EIO);
            assert_int_equal(err.code, r);
            assert_non_null(strstr(err.text, "record 5"));
            f.x.ops->end(f.x.self);
            fixture_check(&f);
            run_layer(&f, 0, 4, 4); /* the drive has recovered */
            assert_true(is_resident(&f, 0, 5));
            fixture_close(&f);
        }
    }
}

/* Every copy is tried before it is an error; which one is bad does not matter. */
static void a_bad_copy_is_made_good_by_another(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2 * 3 * 8; i++) {
        fixture f;
        hs_err err = {0};
        uint32_t index[4], bad = i % 8;
        int kind = (int)(i / 8 % 3), r = 0;
        if (i >= 24 && kind == FAKE_PLAIN)
            continue; /* no checksum would tell */
        fixture_open(&f, kind, "lru", 8, 0);
        fake.copies = 3;
        fake.bad_copies = bad;
        fake.bad_by_damage = i >= 24;
        fake_start();
        step(&f, HS_PHASE_DECODE, 1);
        if (bad != 7) {
            run_layer(&f, 0, 4, 4);
            assert_true(is_resident(&f, 0, 5));
            /* The first try and the first retry are from the first copy here, then the others'. */
            uint32_t tries = !(bad & 1) ? 1 : !(bad & 2) ? 3 : 4;
            assert_int_equal(fake_now().reads, 4 * tries);
        } else {
            begin(&f, 0, 4, 4);
            while ((r = wait_for(&f, 4, index, &err)) >= 0)
                ;
            assert_int_equal(r, fake.bad_by_damage ? -EBADMSG : -EIO);
            assert_non_null(strstr(err.text, "record "));
            f.x.ops->end(f.x.self);
        }
        fixture_close(&f);
    }
}

static void what_an_error_abandons_can_be_asked_for_again(void **state)
{
    (void)state;
    fixture f;
    hs_err err;
    uint32_t index[4];
    fixture_open(&f, FAKE_MIXED, "lru", 8, 0);
    step(&f, HS_PHASE_DECODE, 1);
    begin(&f, 0, 0, 4);
    f.x.ops->end(f.x.self); /* gives up on reads that have not been issued */
    assert_int_equal(fake_now().cancels, 4);
    fixture_check(&f);
    assert_int_equal(begin(&f, 0, 0, 4), 0); /* their requests have not come back yet */
    fake_pump(4);
    assert_int_equal(fake_now().queued, 0);
    fake_start();
    for (uint32_t got = 0; got < 4;) {
        int n = wait_for(&f, 4, index, &err);
        assert_true(n > 0);
        got += (uint32_t)n;
    }
    f.x.ops->end(f.x.self);
    assert_int_equal(hs_residency_get_stats(f.r).errors, 0);
    fixture_close(&f);
}

/* A read that failed for somebody who has given up since may fail once for the next one, too. */
static void who_asks_next_has_a_try_of_its_own(void **state)
{
    (void)state;
    fixture f;
    hs_err err;
    uint32_t index[4];
    fixture_open(&f, FAKE_PLAIN, "lru", 8, 0);
    step(&f, HS_PHASE_DECODE, 1);
    fake_spoil(5, 2, 0);
    begin(&f, 0, 4, 4);
    fake_pump(4);
    assert_int_equal(wait_for(&f, 4, index, &err), 3); /* the fourth is on its way once more */
    assert_int_equal(fake_now().queued, 1);
    f.x.ops->end(f.x.self);
    assert_int_equal(begin(&f, 0, 4, 4), 3);
    fake_start();
    for (uint32_t got = 0; got < 4;) {
        int n = wait_for(&f, 4, index, &err);
        assert_true(n > 0);
        got += (uint32_t)n;
    }
    f.x.ops->end(f.x.self);
    assert_int_equal(hs_residency_get_stats(f.r).errors, 2);
    fixture_close(&f);
}

/* Progress by hand: frame 0 can be decoded when its bytes are there, whatever else has arrived. */
static void frames_are_taken_as_they_arrive(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_STAGED, "lru", 8, 0);
    step(&f, HS_PHASE_DECODE, 1);
    begin(&f, 0, 0, 1);
    hs_io_req *req = fake_waiting(true);
    land(req, 0, 0, FAKE_PADDED, false);
    assert_false(hs__expand(f.r, HS__WANTED));
    req->on_progress(req, 0, 8192, 4096);
    assert_false(hs__expand(f.r, HS__WANTED));
    req->on_progress(req, 0, 0, 4096);
    assert_true(hs__expand(f.r, HS__WANTED));
    assert_int_equal(f.r->active_first->frames_left, FAKE_FRAMES - 1);
    req->on_progress(req, 0, 4096, 4096); /* joins the third, which came first */
    assert_true(hs__expand(f.r, HS__WANTED));
    assert_int_equal(f.r->active_first->frames_left, FAKE_FRAMES - 3);
    req->on_progress(req, 0, 12288, 8192);
    assert_true(hs__expand(f.r, HS__WANTED));
    assert_int_equal(f.r->active_first->frames_left, 0);
    assert_false(is_resident(&f, 0, 0)); /* the read is not over */
    req->on_done(req, 0);
    finish(&f, 1);
    assert_true(is_resident(&f, 0, 0));
    fixture_close(&f);
}

/* More separate pieces than are remembered: the rest waits for the end of the read. */
static void forgotten_pieces_do_no_harm(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_STAGED, "lru", 8, 0);
    step(&f, HS_PHASE_DECODE, 1);
    begin(&f, 0, 0, 1);
    hs_io_req *req = fake_waiting(true);
    land(req, 0, 0, FAKE_PADDED, false);
    for (uint32_t off = 128; off < FAKE_PADDED; off += 128)
        req->on_progress(req, 0, off, 64);
    assert_int_equal(f.r->active_first->n_gaps, HS__MAX_GAPS);
    for (uint32_t off = 0; off < FAKE_PADDED; off += 128)
        req->on_progress(req, 0, off, off ? 0 : 128);
    req->on_done(req, 0);
    finish(&f, 1);
    fixture_close(&f);
}

static void destroy_waits_for_what_is_under_way(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, FAKE_MIXED, "ewma", 24, 8 * FAKE_PADDED);
    step(&f, HS_PHASE_DECODE, 1);
    begin(&f, 0, 0, 4);
    hint(&f, 1, 0, 4);
    assert_true(fake_now().queued > 4);
    fixture_close(&f);
    assert_int_equal(fake_now().queued, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_read_is_tried_once_more),
        cmocka_unit_test(a_second_failure_is_an_error_of_that_layer),
        cmocka_unit_test(a_bad_copy_is_made_good_by_another),
        cmocka_unit_test(what_an_error_abandons_can_be_asked_for_again),
        cmocka_unit_test(who_asks_next_has_a_try_of_its_own),
        cmocka_unit_test(frames_are_taken_as_they_arrive),
        cmocka_unit_test(forgotten_pieces_do_no_harm),
        cmocka_unit_test(destroy_waits_for_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

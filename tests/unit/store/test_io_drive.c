/* labels: unit */
/* test_io_drive.c - which drive of a striped model holds the others up. Whom mirrors ask: test_io_mirror.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "store/io_int.h"

#define SECOND 1000000000ull

/* So many seconds of reading, tenths, and MB on each of three drives. */
static int pass(hs_io *io, const uint64_t tenths[3], const uint64_t mb[3])
{
    for (int d = 0; d < 3; d++) {
        io->drives[d].stats.busy_ns += tenths[d] * SECOND / 10;
        io->drives[d].stats.bytes += mb[d] * 1000000;
    }
    return hs__io_compare(io);
}

static void only(const hs_io *io, int which)
{
    for (int d = 0; d < 3; d++)
        assert_int_equal(io->drives[d].stats.is_behind, d == which);
}

/* Told once, as long as it stays so; and again when it comes back. */
static void the_one_that_is_waited_for(void **state)
{
    (void)state;
    static const uint64_t even[] = {60, 55, 50}, odd[] = {30, 60, 25}, less[] = {31, 60, 25}, other[] = {60, 20, 10};
    hs_io io = {.n_drives = 3, .n_copies = 1};
    uint64_t mb[] = {600, 100, 300};
    assert_int_equal(pass(&io, even, mb), -1);
    only(&io, -1);
    assert_int_equal(pass(&io, odd, mb), 1);
    only(&io, 1);
    assert_true(io.drives[1].lately > 16.6e6 && io.drives[1].lately < 16.7e6);
    assert_int_equal(pass(&io, odd, mb), -1);
    only(&io, 1);
    assert_int_equal(pass(&io, less, mb), -1);
    only(&io, -1);
    assert_int_equal(pass(&io, odd, mb), 1);
    assert_int_equal(pass(&io, other, mb), 0);
    only(&io, 0);
}

static void nobody_where_little_was_read(void **state)
{
    (void)state;
    static const uint64_t brief[] = {1, 10, 1}, none[] = {0, 60, 0};
    hs_io io = {.n_drives = 3, .n_copies = 1};
    uint64_t mb[] = {100, 100, 100}, one[] = {0, 100, 0};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pass(&io, brief, mb), -1);
    assert_int_equal(pass(&io, brief, mb), 1);  /* five seconds together */
    assert_int_equal(pass(&io, none, one), -1); /* the others hold nothing that was asked for */
    only(&io, -1);
}

static void nobody_among_copies(void **state)
{
    (void)state;
    static const uint64_t odd[] = {10, 100, 10};
    hs_io io = {.n_drives = 3, .n_copies = 3};
    uint64_t mb[] = {100, 100, 100};
    assert_int_equal(pass(&io, odd, mb), -1);
    only(&io, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_one_that_is_waited_for),
        cmocka_unit_test(nobody_where_little_was_read),
        cmocka_unit_test(nobody_among_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* labels: unit fault */
/* Packs whose experts lie in several folders: going on after interruptions, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/source.h"
#include "striped.h"

/* ---- interruptions ---- */

/* Stopped, or killed in a child, at its n-th sign of life, for each n; with and without the folders given again. */
static void goes_on(bool killed)
{
    trip *t = trip_begin(SOURCE_BF16);
    bool stopped = true;
    for (int n = 1; stopped; n++) {
        stopper s = {.stop_at = n, .kill = killed};
        hs_pack_options o = trip_options(t);
        o.n_stripe = n % 3 == 2 && file_exists(t->dst, HS__PK_STATE) ? 0 : 2;
        o.split_bytes = o.n_stripe ? 1 : 0;
        o.keep_raw = true;
        o.monitor = (hs_pack_monitor){.ctx = &s, .progress = stopper_progress, .cancel = &s.cancel};
        pid_t pid = killed ? fork() : 0;
        int r = pid ? 0 : hs_pack(&o, NULL), status = 0;
        if (killed && !pid)
            _exit(r < 0 ? 1 : 0);
        if (killed)
            assert_int_equal(waitpid(pid, &status, 0), pid);
        stopped = killed ? WIFSIGNALED(status) : r < 0;
        assert_true(stopped || status == 0);
        assert_true(!stopped || killed || r == -ECANCELED);
        if (stopped)
            assert_unfinished(t);
        assert_true(n < 300);
    }
    assert_complete(t);
    trip_end(t);
}

static void cancelled_it_goes_on(void **state)
{
    (void)state;
    goes_on(false);
}

static void killed_it_goes_on(void **state)
{
    (void)state;
    goes_on(true);
}

static hs_pack_options stopped_at(trip *t, stopper *s, int n)
{
    *s = (stopper){.stop_at = n};
    hs_pack_options o = trip_options(t);
    o.monitor = (hs_pack_monitor){.ctx = s, .progress = stopper_progress, .cancel = &s->cancel};
    return o;
}

/* An unfinished pack in which folder b has a shard already. */
static hs_pack_options half_done(trip *t)
{
    stopper s;
    for (int n = 1; n < 300; n++) {
        hs_pack_options o = stopped_at(t, &s, n);
        assert_int_equal(hs_pack(&o, NULL), -ECANCELED);
        char link[300];
        struct stat st;
        for (int i = 0; i < 20; i++) {
            snprintf(link, sizeof link, "%s/experts-%05d.hss", t->b, i);
            if (lstat(link, &st) == 0)
                return trip_options(t);
        }
    }
    fail_msg("no shard came to folder b");
    return trip_options(t);
}

/* Killed between a shard and its link: the shard is found, not written again. */
static void a_shard_without_its_link_is_found(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_BF16);
    hs_pack_options o = half_done(t);
    char shard[300], link[300];
    struct stat was, is;
    snprintf(shard, sizeof shard, "%s/%s", t->b, shard_in(t->b));
    snprintf(link, sizeof link, "%s/%s", t->dst, shard_in(t->b));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(stat(shard, &was), 0);
    assert_packs(&o);
    assert_int_equal(stat(shard, &is), 0);
    assert_true(was.st_ino == is.st_ino && was.st_mtim.tv_nsec == is.st_mtim.tv_nsec);
    assert_complete(t);
    trip_end(t);
}

static void out_of_memory_it_goes_on(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_TINY);
    int r = -ENOMEM;
    for (int n = 0; r < 0; n++) {
        hs_err err = {0};
        hs_pack_options o = trip_options(t);
        hs_mem_fail_after(n);
        r = hs_pack(&o, &err);
        hs_mem_fail_after(-1);
        if (r < 0)
            assert_int_equal(r, -ENOMEM);
        if (r < 0)
            assert_false(loads(t->dst));
        assert_true(n < 3000);
    }
    assert_complete(t);
    trip_end(t);
}

/* ---- what is refused ---- */

static void refuses_folders(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_BF16);
    char inside[300], alias[300];
    hs_pack_options o = trip_options(t);
    snprintf(inside, sizeof inside, "%s/sub", t->src);
    snprintf(alias, sizeof alias, "%s/alias", t->out);
    assert_int_equal(symlink(t->b, alias), 0);
    t->folders[1] = inside;
    assert_refused(&o, -EINVAL, "lies inside");
    t->folders[1] = t->src;
    assert_refused(&o, -EINVAL, "same folder");
    t->folders[1] = alias;
    assert_refused(&o, -EINVAL, "is given twice");
    t->folders[1] = t->dst;
    assert_refused(&o, -EINVAL, "is given twice");
    t->folders[1] = "/nonexistent/folder";
    assert_refused(&o, -ENOENT, "/nonexistent");
    t->folders[1] = "/dev/null";
    assert_refused(&o, -ENOTDIR, "/dev/null");
    t->folders[1] = t->c;
    o.shares = (const uint32_t[]){0, 0, 0};
    assert_refused(&o, -EINVAL, "shares");
    o.shares = (const uint32_t[]){1, 1, HS_PACK_MAX_SHARE + 1};
    assert_refused(&o, -EINVAL, "a share of");
    o.n_stripe = 0;
    assert_refused(&o, -EINVAL, "shares");
    o.split_bytes = 0;
    o.n_stripe = HS_PACK_MAX_STRIPE + 1;
    o.shares = NULL;
    assert_refused(&o, -EINVAL, "at most");
    assert_false(loads(t->dst));
    trip_end(t);
}

/* A file with a shard's name that is none of this pack's is never touched, be it a link to who knows what. */
static void refuses_what_is_not_its_own(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_BF16);
    hs_pack_options o = half_done(t);
    char shard[300], aside[300];
    snprintf(shard, sizeof shard, "%s/%s", t->b, shard_in(t->b));
    snprintf(aside, sizeof aside, "%s/aside", t->b);
    assert_int_equal(rename(shard, aside), 0);
    const char *name = strrchr(shard, '/') + 1;
    write_file(t->b, name, "mine", 4);
    assert_refused(&o, -EEXIST, "is not of this pack");
    assert_int_equal(size_of(t->b, name), 4);
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(symlink(aside, shard), 0);
    assert_refused(&o, -EEXIST, "is not of this pack");
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(rename(aside, shard), 0);
    assert_packs(&o);
    assert_complete(t);
    trip_end(t);
}

static void refuses_to_go_on_otherwise(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_BF16);
    hs_pack_options o = half_done(t);
    char aside[300];
    const char *swapped[] = {t->c, t->b};
    o.stripe = swapped;
    assert_refused(&o, -EEXIST, "over other folders");
    o.n_stripe = 1;
    assert_refused(&o, -EEXIST, "over other folders");
    o = trip_options(t);
    o.shares = (const uint32_t[]){1, 1, 2};
    assert_refused(&o, -EEXIST, "with other options");
    o.shares = NULL;
    o.split_bytes = 2;
    assert_refused(&o, -EEXIST, "with other options");
    o.n_stripe = 0;
    assert_refused(&o, -EINVAL, "split_bytes is for the folders of stripe");
    /* Its drive is not mounted: nothing is made in its place. */
    snprintf(aside, sizeof aside, "%s/aside", t->out);
    assert_int_equal(rename(t->b, aside), 0);
    o = trip_options(t);
    o.n_stripe = 0;
    o.split_bytes = 0;
    assert_refused(&o, -ENOENT, "is the drive mounted");
    assert_refused(&o, -ENOENT, t->b);
    assert_false(file_exists(t->b, ""));
    assert_int_equal(rename(aside, t->b), 0);
    assert_packs(&o);
    assert_complete(t);
    o = trip_options(t);
    /* Complete, it is left as it is. */
    o.n_stripe = 1;
    assert_refused(&o, -EEXIST, "complete pack over 3 drives");
    o.n_stripe = 2;
    t->folders[1] = t->back;
    assert_int_equal(mkdir(t->back, 0755), 0);
    assert_refused(&o, -EEXIST, "with shards elsewhere");
    t->folders[1] = t->c;
    o.shares = (const uint32_t[]){1, 1, 2};
    assert_refused(&o, -EEXIST, "in other shares");
    o.check = true;
    assert_refused(&o, -EEXIST, "in other shares");
    trip_end(t);
}

/* ---- what a reader meets ---- */

static void assert_no_reader(const trip *t, const char *words)
{
    hs_source *s = NULL;
    hs_err err = {0};
    assert_true(hs_source_open(t->dst, &s, &err) < 0);
    if (!strstr(err.text, words))
        fail_msg("%s: not with \"%s\"", err.text, words);
    memset(&err, 0, sizeof err);
    assert_true(hs_verify(t->dst, NULL, NULL, NULL, &err) < 0);
    assert_true(hs_unpack(t->dst, t->back, NULL, NULL, NULL) < 0);
    remove_tree(t->back);
}

static void a_missing_drive_is_named(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_BF16);
    hs_pack_options o = trip_options(t);
    char aside[300], words[400];
    hs_err err = {0};
    assert_packs(&o);
    snprintf(aside, sizeof aside, "%s/aside", t->out);
    snprintf(words, sizeof words, "is a link to %s/%s: No such file or directory (is that drive mounted?)", t->b,
             shard_in(t->b));
    assert_int_equal(rename(t->b, aside), 0);
    assert_no_reader(t, words);
    assert_int_equal(hs_verify(t->dst, NULL, NULL, NULL, &err), -EBADMSG);
    assert_non_null(strstr(err.text, words));
    assert_refused(&o, -EBADMSG, words);
    assert_int_equal(rename(aside, t->b), 0);
    assert_complete(t);
    trip_end(t);
}

/* A folder from a stranger: its links may lead anywhere. */
static void hostile_links_are_refused(void **state)
{
    (void)state;
    trip *t = trip_begin(SOURCE_BF16);
    hs_pack_options o = trip_options(t);
    assert_packs(&o);
    char link[300], right[300], other[300], up[300];
    snprintf(link, sizeof link, "%s/%s", t->dst, shard_in(t->b));
    snprintf(right, sizeof right, "%s/%s", t->b, shard_in(t->b));
    snprintf(up, sizeof up, "../b/%s", shard_in(t->b));
    snprintf(other, sizeof other, "%s/%s", t->c, shard_in(t->c));
    const char *const hostile[] = {"/dev/zero",   "/dev/null",           link,  ".",
                                   "..",          "/etc/passwd",         other, "dense-00000.hss",
                                   "config.json", "../../../nonexistent"};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        assert_int_equal(unlink(link), 0);
        assert_int_equal(symlink(hostile[i], link), 0);
        assert_no_reader(t, "");
    }
    /* A relative one, as of folders that move together, is as good as any. */
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink(up, link), 0);
    assert_complete(t);
    trip_end(t);
}

/* Shares are for packing again; a manifest or state that has nonsense for them is refused there. */
static void malformed_shares_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"[]",
                                      "[1]x",
                                      "{}",
                                      "[0, 0]",
                                      "[-1, 2]",
                                      "[1, \"2\"]",
                                      "[1, 1.5]",
                                      "[1, null]",
                                      "[1, 1000001]",
                                      "7",
                                      "[1,1,1,1,1,1,1,1,1]",
                                      "[9223372036854775807, 1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs__pk_recipe recipe;
        const char *source;
        hs_err err = {0};
        char text[300];
        snprintf(text, sizeof text,
                 "{\"options\": {\"codec\": \"raw\", \"level\": 1, \"shard_bytes\": 1048576, \"split_bytes\": 1, "
                 "\"stripe\": %s}}",
                 bad[i]);
        json_t *m = NULL;
        if (hs_json_load(text, strlen(text), "m", &m, NULL) == 0) {
            if (hs__pk_manifest_recipe(m, "m", &recipe, &source, &err) != -EINVAL || !strstr(err.text, "stripe"))
                fail_msg("%s: %s", bad[i], err.text);
        } else {
            assert_int_equal(i, 1); /* no JSON at all */
        }
        json_decref(m);
    }
    trip *t = trip_begin(SOURCE_BF16);
    static const char *const states[] = {"\"stripe\": [1, 1]",
                                         "\"stripe\": [1, 1], \"folders\": []",
                                         "\"stripe\": [1, 1], \"folders\": [\"../b\"]",
                                         "\"stripe\": [1, 1], \"folders\": [7]",
                                         "\"stripe\": [1, 1], \"folders\": [\"/x\", \"/y\"]",
                                         "\"folders\": [\"/x\"]"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char text[400];
        hs_pack_options o = trip_options(t);
        int n = snprintf(text, sizeof text,
                         "{\"format\": \"hotset-pack-state\", \"source_stamp\": \"%032d\", \"compress\": 0, \"level\": "
                         "1, \"split_bytes\": 1, \"shard_bytes\": 1048576, %s}",
                         0, states[i]);
        assert_true(mkdir(t->dst, 0755) == 0 || errno == EEXIST);
        write_file(t->dst, HS__PK_STATE, text, (size_t)n);
        assert_refused(&o, -EINVAL, "folders");
    }
    trip_end(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_it_goes_on),
        cmocka_unit_test(killed_it_goes_on),
        cmocka_unit_test(a_shard_without_its_link_is_found),
        cmocka_unit_test(out_of_memory_it_goes_on),
        cmocka_unit_test(refuses_folders),
        cmocka_unit_test(refuses_what_is_not_its_own),
        cmocka_unit_test(refuses_to_go_on_otherwise),
        cmocka_unit_test(a_missing_drive_is_named),
        cmocka_unit_test(hostile_links_are_refused),
        cmocka_unit_test(malformed_shares_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* striped.c - see striped.h. */
#include "striped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

trip *trip_begin(source_kind kind)
{
    static trip t;
    t.src = temp_folder(0);
    t.out = temp_folder(1);
    make_source(t.src, kind);
    snprintf(t.dst, sizeof t.dst, "%s/packed", t.out);
    snprintf(t.b, sizeof t.b, "%s/b", t.out);
    snprintf(t.c, sizeof t.c, "%s/c", t.out);
    snprintf(t.back, sizeof t.back, "%s/back", t.out);
    t.folders[0] = t.b;
    t.folders[1] = t.c;
    return &t;
}

void trip_end(const trip *t)
{
    remove_tree(t->src);
    remove_tree(t->out);
}

hs_pack_options trip_options(const trip *t)
{
    return (hs_pack_options){.src = t->src,
                             .dst = t->dst,
                             .codec = HS_PACK_EXPONENT,
                             .shard_bytes = MIB,
                             .threads = 1,
                             .stripe = t->folders,
                             .n_stripe = 2,
                             .split_bytes = 1};
}

void assert_packs(const hs_pack_options *o)
{
    hs_err err = {0};
    if (hs_pack(o, &err) < 0)
        fail_msg("%s", err.text);
}

void assert_refused(const hs_pack_options *o, int code, const char *words)
{
    hs_err err = {0};
    int r = hs_pack(o, &err);
    if (r != code || !strstr(err.text, words))
        fail_msg("%d (%s), not %d with \"%s\"", r, err.text, code, words);
}

void assert_complete(const trip *t)
{
    hs_err err = {0};
    const char *const all[] = {t->dst, t->b, t->c};
    if (hs_verify(t->dst, NULL, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(loads(t->dst));
    for (int i = 0; i < 3; i++) {
        assert_false(file_exists(all[i], HS__PK_LOCK));
        assert_false(file_exists(all[i], HS__PK_STATE));
        assert_false(file_exists(all[i], HS__PK_TMP));
    }
    remove_tree(t->back);
    if (hs_unpack(t->dst, t->back, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_same_folder(t->src, t->back);
    remove_tree(t->back);
}

void assert_unfinished(const trip *t)
{
    assert_false(file_exists(t->dst, HS__PK_MANIFEST));
    assert_false(loads(t->dst));
    assert_false(loads(t->b));
    assert_true(hs_verify(t->dst, NULL, NULL, NULL, NULL) < 0);
    assert_true(hs_unpack(t->dst, t->back, NULL, NULL, NULL) < 0);
    remove_tree(t->back);
}

const char *shard_in(const char *folder)
{
    static char name[32];
    struct stat st;
    for (int i = 0; i < 100; i++) {
        char path[300];
        snprintf(name, sizeof name, "experts-%05d.hss", i);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            return name;
    }
    fail_msg("%s has no shard", folder);
    return NULL;
}

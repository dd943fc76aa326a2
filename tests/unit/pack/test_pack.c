/* labels: unit */
/* hs_pack: round trips, sizes, going on after every kind of interruption, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "make.h"

#define MIB (1u << 20)

/* src, dst, back: three folders; dst and back do not exist yet. */
typedef struct trip {
    const char *src;
    char dst[220], back[220];
} trip;

static trip trip_begin(source_kind kind)
{
    trip t = {.src = temp_folder(0)};
    const char *out = temp_folder(1);
    make_source(t.src, kind);
    snprintf(t.dst, sizeof t.dst, "%s/packed", out);
    snprintf(t.back, sizeof t.back, "%s/back", out);
    return t;
}

static void trip_end(trip *t)
{
    remove_tree(t->src);
    *strrchr(t->dst, '/') = '\0';
    remove_tree(t->dst);
}

static void assert_complete(const trip *t)
{
    hs_err err = {0};
    uint64_t problems = 1;
    if (hs_verify(t->dst, NULL, NULL, &problems, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(problems, 0);
    assert_true(loads(t->dst));
    assert_false(file_exists(t->dst, "hotset-pack.lock"));
    assert_false(file_exists(t->dst, "hotset-pack.state"));
    assert_false(file_exists(t->dst, "hotset-pack.tmp"));
    remove_tree(t->back);
    if (hs_unpack(t->dst, t->back, NULL, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_same_folder(t->src, t->back);
    remove_tree(t->back);
}

static void comes_back_bit_for_bit(void **state)
{
    (void)state;
    static const source_kind kinds[] = {SOURCE_TINY, SOURCE_BF16, SOURCE_FP8};
    static const hs_pack_codec codecs[] = {HS_PACK_AUTO, HS_PACK_ZSTD, HS_PACK_EXPONENT, HS_PACK_ANY, HS_PACK_RAW};
    for (int i = 0; i < 15; i++) {
        hs_err err = {0};
        trip t = trip_begin(kinds[i % 3]);
        if (pack(t.src, t.dst, codecs[i / 3], i % 2 ? MIB : 0, &err) < 0)
            fail_msg("%s", err.text);
        assert_complete(&t);
        assert_int_equal(pack(t.src, t.dst, HS_PACK_AUTO, 0, &err), 0); /* complete already */
        hs_pack_options check = {.src = t.src, .dst = t.dst, .threads = 1, .check = true};
        if (hs_pack(&check, &err) < 0)
            fail_msg("%s", err.text);
        trip_end(&t);
    }
}

/* A pack is the same bytes whatever the threads. The recipe is named: auto takes one by what it measures. */
static void bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const hs_pack_codec codecs[] = {HS_PACK_RAW, HS_PACK_ZSTD, HS_PACK_EXPONENT, HS_PACK_ANY};
    for (int i = 0; i < 4; i++) {
        trip t = trip_begin(SOURCE_BF16);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            hs_pack_options o = {
                .src = t.src, .dst = threads == 1 ? t.dst : t.back, .codec = codecs[i], .threads = threads};
            assert_int_equal(hs_pack(&o, NULL), 0);
            if (threads > 1) {
                assert_same_folder(t.dst, t.back);
                remove_tree(t.back);
            }
        }
        trip_end(&t);
    }
}

/* ---- inside a shard ---- */

/* What the packer says it goes on behind. */
typedef struct listener {
    stopper s; /* first: progress casts */
    uint32_t behind;
} listener;

static void hear(void *ctx, const char *text)
{
    listener *l = ctx;
    const char *at = strstr(text, "goes on behind record ");
    if (at)
        l->behind = (uint32_t)strtoul(at + strlen("goes on behind record "), NULL, 10);
}

static int pack_heard(const trip *t, listener *l)
{
    hs_pack_options o = {.src = t->src, .dst = t->dst, .codec = HS_PACK_EXPONENT, .threads = 1};
    o.monitor = (hs_pack_monitor){.ctx = l, .progress = stopper_progress, .note = hear, .cancel = &l->s.cancel};
    return hs_pack(&o, NULL);
}

/* One shard of experts. Stopped after some signs of life, a few more each time, it goes on behind what was written, and
 * comes to the same bytes.
 */
static void goes_on_inside_a_shard(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_BF16), whole = t;
    snprintf(whole.dst, sizeof whole.dst, "%.200s.whole", t.dst);
    assert_int_equal(pack_heard(&whole, &(listener){0}), 0);
    int r = -ECANCELED, n = 0, inside = 0;
    for (uint32_t behind = 0; r < 0; n++) {
        listener l = {.s.stop_at = 7 + n};
        r = pack_heard(&t, &l);
        assert_true(r == 0 || r == -ECANCELED);
        inside += l.behind > behind && behind > 0; /* twice or more in one shard */
        behind = l.behind;
        assert_true(n < 100);
    }
    print_message("%d runs, %d of them further inside the same shard\n", n, inside);
    assert_true(inside > 0);
    assert_complete(&t);
    assert_same_folder(whole.dst, t.dst);
    remove_tree(whole.dst);
    trip_end(&t);
}

/* What lies there of an unfinished shard may be anything: cut, damaged, of another run, no file at all. */
static void what_was_written_is_not_believed(void **state)
{
    (void)state;
    static const char *const names[] = {"experts-00000.hss.tmp", "experts-00000.hss.table.tmp"};
    trip t = trip_begin(SOURCE_BF16), whole = t;
    uint32_t seed = 5, kept = 0, all = 0;
    snprintf(whole.dst, sizeof whole.dst, "%.200s.whole", t.dst);
    assert_int_equal(pack_heard(&whole, &(listener){0}), 0);
    for (int i = 0; i < 18; i++) {
        char path[300];
        listener l = {.s.stop_at = 12 + i % 6};
        assert_int_equal(pack_heard(&t, &l), -ECANCELED);
        assert_true(file_exists(t.dst, names[0]) && file_exists(t.dst, names[1]));
        const char *name = names[i % 2];
        size_t bytes = size_of(t.dst, name);
        seed = seed * 1664525u + 1013904223u;
        snprintf(path, sizeof path, "%s/%s", t.dst, name);
        if (i % 3 == 0)
            flip_bits(t.dst, name, (size_t)((uint64_t)seed * bytes >> 32), 1 << i % 8);
        else if (i % 3 == 1)
            assert_int_equal(truncate(path, (off_t)((uint64_t)seed * bytes >> 32)), 0);
        else if (i % 9 == 2)
            assert_int_equal(unlink(path), 0);
        else if (i % 9 == 5)
            assert_true(unlink(path) == 0 && symlink("/dev/zero", path) == 0);
        else
            write_file(t.dst, name, "other bytes", 11);
        listener then = {0};
        assert_int_equal(pack_heard(&t, &then), 0);
        kept += then.behind;
        all++;
        assert_same_folder(whole.dst, t.dst);
        remove_tree(t.dst);
    }
    print_message("%u records kept in %u damaged runs\n", kept, all);
    assert_true(kept > 0); /* those before the damage */
    remove_tree(whole.dst);
    trip_end(&t);
}

/* A source that changes is never mixed with what was written of it before. */
static void a_changed_source_is_not_gone_on_with(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_BF16);
    listener l = {.s.stop_at = 14};
    assert_int_equal(pack_heard(&t, &l), -ECANCELED);
    flip_bits(t.src, "model-00001-of-00002.safetensors", size_of(t.src, "model-00001-of-00002.safetensors") - 10, 1);
    assert_int_equal(pack_heard(&t, &(listener){0}), -EEXIST);
    remove_tree(t.dst);
    assert_int_equal(pack_heard(&t, &(listener){0}), 0);
    assert_complete(&t);
    trip_end(&t);
}

static void a_trained_model_gets_smaller(void **state)
{
    (void)state;
    hs_err err = {0};
    trip t = {.src = TESTS_DIR "/models/tale-moe-fp8"};
    const char *out = temp_folder(1);
    snprintf(t.dst, sizeof t.dst, "%s/packed", out);
    snprintf(t.back, sizeof t.back, "%s/back", out);
    if (pack(t.src, t.dst, HS_PACK_ZSTD, 0, &err) < 0)
        fail_msg("%s", err.text);
    assert_true((double)folder_bytes(t.dst) <= 0.95 * (double)folder_bytes(t.src));
    assert_complete(&t);
    remove_tree(out);
}

/* Tensors that stack experts are packed, and found again, one by one. */
static void stacked_experts_load(void **state)
{
    (void)state;
    hs_err err = {0};
    trip t = {.src = TESTS_DIR "/data/goldens/gpt_oss_mxfp4"};
    const char *out = temp_folder(1);
    snprintf(t.dst, sizeof t.dst, "%s/packed", out);
    snprintf(t.back, sizeof t.back, "%s/back", out);
    if (pack(t.src, t.dst, HS_PACK_AUTO, 0, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(loads(t.dst));
    assert_complete(&t);
    remove_tree(out);
}

/* ---- interruptions ---- */

static void assert_unfinished(const trip *t)
{
    assert_false(file_exists(t->dst, "manifest.json"));
    assert_false(loads(t->dst));
    assert_true(hs_verify(t->dst, NULL, NULL, NULL, NULL) < 0);
    assert_true(hs_unpack(t->dst, t->back, NULL, NULL, NULL) < 0);
    assert_false(loads(t->back));
    remove_tree(t->back);
}

/* Stopped at its n-th sign of life, for each n in turn, on what the runs before left behind; until one gets through. */
static trip cancel_until_done(bool keep_raw)
{
    trip t = trip_begin(SOURCE_BF16);
    int r = -ECANCELED;
    for (int n = 1; r < 0; n++) {
        hs_err err = {0};
        stopper s = {.stop_at = n};
        hs_pack_options o = {.src = t.src, .dst = t.dst, .shard_bytes = n % 2 ? MIB : 0, .threads = 1};
        o.codec = keep_raw ? HS_PACK_EXPONENT : HS_PACK_AUTO;
        o.keep_raw = keep_raw;
        o.monitor = (hs_pack_monitor){.ctx = &s, .progress = stopper_progress, .cancel = &s.cancel};
        r = hs_pack(&o, &err);
        if (r < 0) {
            assert_int_equal(r, -ECANCELED);
            assert_unfinished(&t);
        }
        assert_true(n < 300);
    }
    assert_complete(&t);
    return t;
}

static void cancelled_it_goes_on(void **state)
{
    (void)state;
    trip t = cancel_until_done(false);
    trip_end(&t);
}

static char *manifest_of(const trip *t)
{
    size_t n;
    char *text = read_file(t->dst, "manifest.json", &n);
    text[n] = '\0';
    return text;
}

/* With raw records a pack is the same but for them, interrupted or not, and every byte of them is looked at. */
static void raw_records_are_kept(void **state)
{
    (void)state;
    hs_err err = {0};
    trip t = cancel_until_done(true), whole = {.src = t.src};
    snprintf(whole.dst, sizeof whole.dst, "%.200s.w", t.dst);
    assert_int_equal(pack_kept(t.src, whole.dst, HS_PACK_EXPONENT, MIB, NULL), 0);
    assert_same_folder(t.dst, whole.dst);
    hs_pack_options check = {.src = t.src, .dst = t.dst, .threads = 1, .check = true};
    if (hs_pack(&check, &err) < 0)
        fail_msg("%s", err.text);
    char *text = manifest_of(&t);
    assert_non_null(strstr(text, "\"version\": 2"));
    free(text);
    static const char raw[] = "raw-00000.hss";
    assert_true(size_of(t.dst, raw) > size_of(t.dst, "experts-00000.hss"));
    for (size_t n = size_of(t.dst, raw), at = 0; at < n; at += n / 13) {
        flip_bits(t.dst, raw, at, 1);
        assert_int_equal(hs_verify(t.dst, NULL, NULL, NULL, &err), -EBADMSG);
        assert_non_null(strstr(err.text, raw));
        flip_bits(t.dst, raw, at, 1);
    }
    assert_int_equal(hs_verify(t.dst, NULL, NULL, NULL, NULL), 0);
    /* Unpacking needs none of them. */
    char path[340];
    snprintf(path, sizeof path, "%s/%s", t.dst, raw);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hs_unpack(t.dst, t.back, NULL, NULL, NULL), 0);
    assert_same_folder(t.src, t.back);
    remove_tree(whole.dst);
    trip_end(&t);
}

static void raw_records_are_kept_where_there_is_a_reason(void **state)
{
    (void)state;
    hs_err err = {0};
    trip t = trip_begin(SOURCE_FP8);
    assert_int_equal(pack_kept(t.src, t.dst, HS_PACK_RAW, 0, &err), -EINVAL);
    assert_non_null(strstr(err.text, "keep_raw would add nothing"));
    /* auto stores raw: there is nothing to keep. */
    hs_pack_options o = {
        .src = t.src, .dst = t.dst, .threads = 1, .keep_raw = true, .disk_bw = 1000000000000, .cores = 1};
    assert_int_equal(hs_pack(&o, NULL), 0);
    char *text = manifest_of(&t);
    assert_non_null(strstr(text, "\"version\": 1"));
    free(text);
    assert_false(file_exists(t.dst, "raw-00000.hss"));
    remove_tree(t.dst);
    /* A pack that is complete without them is left alone. */
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 0, NULL), 0);
    assert_int_equal(pack_kept(t.src, t.dst, HS_PACK_ZSTD, 0, &err), -EEXIST);
    assert_non_null(strstr(err.text, "without raw records"));
    assert_complete(&t);
    trip_end(&t);
}

/* The same with SIGKILL in a child. */
static void killed_it_goes_on(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_BF16);
    int status = 0;
    int n = 1;
    do {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            stopper s = {.stop_at = n, .kill = true};
            hs_pack_options o = {.src = t.src, .dst = t.dst, .shard_bytes = MIB, .threads = 2};
            o.monitor = (hs_pack_monitor){.ctx = &s, .progress = stopper_progress};
            _exit(hs_pack(&o, NULL) < 0 ? 1 : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFSIGNALED(status))
            assert_unfinished(&t);
        else
            assert_int_equal(WEXITSTATUS(status), 0);
        assert_true(n < 300);
    } while (n++, WIFSIGNALED(status));
    assert_complete(&t);
    trip_end(&t);
}

/* Killed from outside, at moments of the clock's choosing: between any two system calls. */
static void killed_at_any_moment(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_BF16);
    int status = 0, alive = 0;
    for (unsigned us = 100; alive < 3 && us < 400000; us += us / 6) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(pack(t.src, t.dst, HS_PACK_ZSTD, MIB, NULL) < 0 ? 1 : 0);
        usleep(us);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (file_exists(t.dst, "manifest.json")) {
            assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, MIB, NULL), 0);
            assert_complete(&t);
            remove_tree(t.dst);
            alive++;
        } else if (file_exists(t.dst, "")) {
            assert_unfinished(&t);
        }
    }
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, MIB, NULL), 0);
    assert_complete(&t);
    trip_end(&t);
}

/* Every allocation fails once. */
static void out_of_memory_it_goes_on(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_TINY);
    int r = -ENOMEM;
    for (int n = 0; r < 0; n++) {
        hs_err err = {0};
        hs_mem_fail_after(n);
        r = pack(t.src, t.dst, HS_PACK_ZSTD, 0, &err);
        hs_mem_fail_after(-1);
        if (r < 0) {
            assert_int_equal(r, -ENOMEM);
            assert_non_null(strstr(err.text, "memory"));
            assert_false(loads(t.dst));
        }
        assert_true(n < 2000);
    }
    assert_complete(&t);
    trip_end(&t);
}

/* A file may not grow beyond n bytes: the error has the path and strerror's text, and a later run succeeds. */
static void full_disk_is_an_error(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_BF16);
    static const rlim_t limits[] = {10, 5000, 300000, 700000};
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            hs_err err = {0};
            struct rlimit lim = {limits[i], limits[i]};
            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &lim);
            int r = pack(t.src, t.dst, HS_PACK_ZSTD, MIB, &err);
            _exit(r == -EFBIG && strstr(err.text, t.dst) && strstr(err.text, "File too large") ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_unfinished(&t);
    }
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, MIB, NULL), 0);
    assert_complete(&t);
    trip_end(&t);
}

/* A file system of 1 MiB, where the process may mount one. */
static void no_space_is_an_error(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_BF16);
    const char *small = temp_folder(2);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        hs_err err = {0};
        char dst[300];
        snprintf(dst, sizeof dst, "%s/packed", small);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", small, "tmpfs", 0, "size=1m") < 0)
            _exit(77);
        int r = pack(t.src, dst, HS_PACK_ZSTD, 0, &err);
        bool said = strstr(err.text, "No space left on device") && strstr(err.text, dst);
        _exit(r == -ENOSPC && said && !loads(dst) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        print_message("no right to mount a small file system: not tested\n");
    else
        assert_int_equal(status, 0);
    remove_tree(small);
    trip_end(&t);
}

/* ---- what is refused ---- */

static void expect(const char *src, const char *dst, int code, const char *words)
{
    hs_err err = {0};
    int r = pack(src, dst, HS_PACK_AUTO, 0, &err);
    if (r != code || !strstr(err.text, words))
        fail_msg("%d (%s), not %d with \"%s\"", r, err.text, code, words);
}

static void refuses_what_it_must_not_touch(void **state)
{
    (void)state;
    hs_err err = {0};
    char inside[300];
    trip t = trip_begin(SOURCE_BF16);
    snprintf(inside, sizeof inside, "%s/sub", t.src);
    expect(t.src, inside, -EINVAL, "lies inside");
    expect(t.src, t.src, -EINVAL, "same folder");
    expect("/nonexistent/model", t.dst, -ENOENT, "/nonexistent/model");
    assert_false(file_exists(t.dst, ""));
    const char *other = temp_folder(2);
    write_file(other, "diary.txt", "mine", 4);
    expect(t.src, other, -EEXIST, "something else");
    write_file(other, "manifest.json", "{}", 2);
    expect(t.src, other, -EEXIST, "something else");
    assert_true(file_exists(other, "diary.txt"));
    remove_tree(other);
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 0, &err), 0);
    expect(t.dst, t.back, -EINVAL, "packed already");
    trip_end(&t);
}

static void knows_another_source(void **state)
{
    (void)state;
    hs_err err = {0};
    trip t = trip_begin(SOURCE_TINY);
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 0, &err), 0);
    write_file(t.src, "config.json", "{\"model_type\":\"other\"}", 22);
    expect(t.src, t.dst, -EEXIST, "config.json");
    hs_pack_options check = {.src = t.src, .dst = t.dst, .threads = 1, .check = true};
    assert_int_equal(hs_pack(&check, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "config.json"));
    /* Weights that differ in one byte. */
    remove_tree(t.src);
    assert_int_equal(mkdir(t.src, 0755), 0);
    make_source(t.src, SOURCE_TINY);
    size_t n;
    char *p = read_file(t.src, "model.safetensors", &n);
    p[n - 100] ^= 1;
    write_file(t.src, "model.safetensors", p, n);
    free(p);
    expect(t.src, t.dst, -EEXIST, "record");
    assert_int_equal(hs_pack(&check, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "record"));
    trip_end(&t);
}

/* Touched, or copied elsewhere: other times, the same bytes. */
static void knows_the_same_source_again(void **state)
{
    (void)state;
    trip t = trip_begin(SOURCE_FP8);
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 0, NULL), 0);
    remove_tree(t.src);
    assert_int_equal(mkdir(t.src, 0755), 0);
    make_source(t.src, SOURCE_FP8);
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 0, NULL), 0);
    assert_complete(&t);
    trip_end(&t);
}

static void options_of_an_unfinished_pack_must_match(void **state)
{
    (void)state;
    hs_err err = {0};
    trip t = trip_begin(SOURCE_BF16);
    stopper s = {.stop_at = 12};
    hs_pack_options o = {.src = t.src, .dst = t.dst, .shard_bytes = MIB, .codec = HS_PACK_ZSTD, .threads = 1};
    o.monitor = (hs_pack_monitor){.ctx = &s, .progress = stopper_progress, .cancel = &s.cancel};
    assert_int_equal(hs_pack(&o, &err), -ECANCELED);
    assert_int_equal(pack(t.src, t.dst, HS_PACK_RAW, 0, &err), -EEXIST);
    assert_non_null(strstr(err.text, "other options"));
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 2 * MIB, &err), -EEXIST);
    assert_int_equal(pack(t.src, t.dst, HS_PACK_AUTO, 0, &err), 0);
    assert_complete(&t);
    trip_end(&t);
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    hs_err err = {0};
    char lock[300];
    trip t = trip_begin(SOURCE_TINY);
    assert_int_equal(mkdir(t.dst, 0755), 0);
    snprintf(lock, sizeof lock, "%s/hotset-pack.lock", t.dst);
    int fd = open(lock, O_RDWR | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 0, &err), -EBUSY);
    assert_non_null(strstr(err.text, t.dst));
    close(fd); /* its owner died: the file stays, the lock is gone */
    assert_int_equal(pack(t.src, t.dst, HS_PACK_ZSTD, 0, &err), 0);
    assert_complete(&t);
    trip_end(&t);
}

static void bad_options_are_named(void **state)
{
    (void)state;
    hs_err err = {0};
    hs_pack_options o = {.src = "a", .dst = "b", .level = 20};
    assert_int_equal(hs_pack(&o, &err), -EINVAL);
    assert_non_null(strstr(err.text, "level 20"));
    o = (hs_pack_options){.src = "a", .dst = "b", .shard_bytes = 5};
    assert_int_equal(hs_pack(&o, &err), -EINVAL);
    o = (hs_pack_options){.src = "a", .dst = "b", .threads = 1000};
    assert_int_equal(hs_pack(&o, &err), -EINVAL);
    o = (hs_pack_options){.src = "a", .dst = ""};
    assert_int_equal(hs_pack(&o, &err), -EINVAL);
}

/* Decoding far slower than the drive: raw. Far faster: compressed. */
static void a_fast_drive_gets_raw_shards(void **state)
{
    (void)state;
    for (int fast = 0; fast < 2; fast++) {
        trip t = trip_begin(SOURCE_BF16);
        hs_pack_options o = {.src = t.src, .dst = t.dst, .threads = 1, .cores = 1};
        o.disk_bw = fast ? 1ull << 50 : 1000;
        assert_int_equal(hs_pack(&o, NULL), 0);
        size_t n;
        char *manifest = read_file(t.dst, "manifest.json", &n);
        manifest[n] = '\0';
        assert_non_null(strstr(manifest, fast ? "\"codec\": \"raw\"" : "\"codec\": \"exponent\""));
        free(manifest);
        assert_complete(&t);
        trip_end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_bit_for_bit),
        cmocka_unit_test(bytes_do_not_depend_on_threads),
        cmocka_unit_test(goes_on_inside_a_shard),
        cmocka_unit_test(what_was_written_is_not_believed),
        cmocka_unit_test(a_changed_source_is_not_gone_on_with),
        cmocka_unit_test(a_trained_model_gets_smaller),
        cmocka_unit_test(stacked_experts_load),
        cmocka_unit_test(cancelled_it_goes_on),
        cmocka_unit_test(killed_it_goes_on),
        cmocka_unit_test(killed_at_any_moment),
        cmocka_unit_test(out_of_memory_it_goes_on),
        cmocka_unit_test(full_disk_is_an_error),
        cmocka_unit_test(no_space_is_an_error),
        cmocka_unit_test(refuses_what_it_must_not_touch),
        cmocka_unit_test(knows_another_source),
        cmocka_unit_test(knows_the_same_source_again),
        cmocka_unit_test(options_of_an_unfinished_pack_must_match),
        cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(a_fast_drive_gets_raw_shards),
        cmocka_unit_test(raw_records_are_kept),
        cmocka_unit_test(raw_records_are_kept_where_there_is_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

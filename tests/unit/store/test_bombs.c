/* labels: unit fault */
/*
 * test_bombs.c - files made to cost much more than they weigh, before a process that may take 256 MiB more than it has.
 */
#include "unit/store/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "store/decode.h"

#define ROOM    (256ull << 20)
#define MILLION 1000000u

static char path[FOLDER_PATH];

static int setup(void **state)
{
    (void)state;
    folder_create(path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_destroy(path);
    return 0;
}

static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* fn in a process of its own with little memory: it fails with a sentence that has the part. NULL: it may succeed. */
static void in_little_memory(int (*fn)(hs_err *err), const char *part)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* shadow memory takes all addresses */
#endif
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit l = {.rlim_cur = address_space() + ROOM, .rlim_max = address_space() + ROOM};
        hs_err err = {0};
        alarm(60);
        int r = setrlimit(RLIMIT_AS, &l) < 0 ? 1 : fn(&err);
        bool ok = r < 0 ? strstr(err.text, part ? part : path) != NULL : !part && r == 0;
        if (!ok)
            fprintf(stderr, "%d: '%s'\n", r, err.text);
        _exit(!ok);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int open_folder(hs_err *err)
{
    hs_source *s = NULL;
    int r = hs_source_open(path, &s, err);
    hs_source_close(&s);
    return r;
}

/* ---- frames ---- */

static uint8_t stored[HS_FRAME_MAX_STORED], out[4096];
static uint32_t n_stored;

static int decode(hs_err *err)
{
    hs_decoder *d = NULL;
    int r = hs_decoder_create(&d, err);
    if (r < 0)
        return 1;
    uint32_t check = (uint32_t)XXH3_64bits(stored, n_stored);
    r = hs__frame_decode(d, HS_CODEC_ZSTD, check, stored, n_stored, out, sizeof out);
    hs_decoder_destroy(&d);
    return r;
}

/* A gibibyte of zeros in some 33 KB, with or without its size in front. */
static void a_frame_that_inflates(void **state)
{
    (void)state;
    static const uint8_t zeros[1 << 20];
    for (int with_size = 0; with_size < 2; with_size++) {
        ZSTD_CCtx *c = ZSTD_createCCtx();
        ZSTD_outBuffer to = {.dst = stored, .size = sizeof stored};
        if (with_size)
            ZSTD_CCtx_setPledgedSrcSize(c, 1ull << 30);
        for (int i = 0; i < 1024; i++) {
            ZSTD_inBuffer from = {.src = zeros, .size = sizeof zeros};
            while (from.pos < from.size)
                assert_false(ZSTD_isError(ZSTD_compressStream2(c, &to, &from, ZSTD_e_continue)));
        }
        ZSTD_inBuffer none = {0};
        assert_int_equal(ZSTD_compressStream2(c, &to, &none, ZSTD_e_end), 0);
        ZSTD_freeCCtx(c);
        n_stored = (uint32_t)to.pos;
        in_little_memory(decode, "");
    }
}

/* Frames that say they need a window of two gibibytes, or that they hold exbibytes. */
static void a_frame_that_claims(void **state)
{
    (void)state;
    static const uint8_t window[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x03, 0x00, 0x80, 0x00};
    static const uint8_t size[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x70, 0x03, 0x00, 0x80, 0x00};
    memcpy(stored, window, sizeof window);
    n_stored = sizeof window;
    in_little_memory(decode, "");
    memcpy(stored, size, sizeof size);
    n_stored = sizeof size;
    in_little_memory(decode, "");
}

/* ---- tables ---- */

/* A header of a million tensors: taken in, or refused for lack of memory. */
static void a_million_tensors(void **state)
{
    (void)state;
    size_t cap = 80ull * MILLION, n = 1;
    char *text = malloc(cap);
    assert_non_null(text);
    text[0] = '{';
    for (uint32_t i = 0; i < MILLION; i++)
        n += (size_t)snprintf(text + n, cap - n, "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                              i ? "," : "", i);
    text[n++] = '}';
    text[n] = '\0';
    folder_safetensors(path, "model.safetensors", text, NULL, 0);
    folder_write(path, "config.json", "{}", 2);
    free(text);
    in_little_memory(open_folder, NULL);
}

/* The experts' shard as a hole with right checksums, whose table has a million records of nothing. */
static void a_million_records(void **state)
{
    (void)state;
    static const char name[] = "experts-00000.hss";
    size_t n;
    tiny_write_packed(&tiny_small, path);
    uint8_t *good = folder_read(path, name, &n);
    hs_shard_header head;
    hs_shard_footer foot = {.version = HS_SHARD_VERSION};
    memcpy(&head, good, sizeof head);
    memcpy(foot.magic, HS_SHARD_FOOTER_MAGIC, sizeof foot.magic);
    free(good);
    head.n_records = MILLION;
    head.n_parts = head.n_frames = MILLION;
    head.table_offset = HS_SHARD_ALIGN;
    head.table_bytes = MILLION * (sizeof(hs_shard_record) + sizeof(hs_shard_part) + sizeof(hs_shard_frame));
    uint64_t end = (head.table_offset + head.table_bytes + HS_SHARD_ALIGN - 1) / HS_SHARD_ALIGN * HS_SHARD_ALIGN;
    head.file_bytes = end + HS_SHARD_ALIGN;
    void *table = calloc(1, head.table_bytes);
    assert_non_null(table);
    head.table_hash = XXH3_64bits(table, head.table_bytes);
    free(table);
    head.header_hash = XXH3_64bits(&head, offsetof(hs_shard_header, header_hash));
    foot.file_bytes = head.file_bytes;
    foot.header_hash = head.header_hash;
    foot.footer_hash = XXH3_64bits(&foot, offsetof(hs_shard_footer, footer_hash));
    int fd = folder_open(path, name, O_RDWR | O_TRUNC);
    assert_int_equal(pwrite(fd, &head, sizeof head, 0), sizeof head);
    assert_int_equal(pwrite(fd, &foot, sizeof foot, (off_t)end), sizeof foot);
    assert_int_equal(ftruncate(fd, (off_t)head.file_bytes), 0);
    close(fd);
    in_little_memory(open_folder, name);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {T(a_frame_that_inflates), T(a_frame_that_claims), T(a_million_tensors),
                                       T(a_million_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

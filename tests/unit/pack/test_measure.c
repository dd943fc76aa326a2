/* labels: unit */
/* The decision whether to compress, and with what: what was measured is told with its figures, what could not be
 * measured with why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "make.h"

#define BIG_BYTES (260ull << 20) /* over the least that is measured; zeros, so the file takes no room */

typedef struct told {
    char note[600]; /* the last one */
    bool measured;  /* the phase was shown */
} told;

static void on_note(void *ctx, const char *text)
{
    snprintf(((told *)ctx)->note, sizeof((told *)ctx)->note, "%s", text);
}

static void on_progress(void *ctx, hs_pack_phase phase, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    ((told *)ctx)->measured |= phase == HS_PACK_PHASE_MEASURE;
}

static told pack_measured(const char *src, const char *dst, uint64_t disk_bw)
{
    told t = {0};
    hs_err err = {0};
    hs_pack_options o = {.src = src, .dst = dst, .threads = 2, .cores = 1, .measure = true, .disk_bw = disk_bw};
    o.monitor = (hs_pack_monitor){.ctx = &t, .note = on_note, .progress = on_progress};
    if (hs_pack(&o, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(t.measured);
    assert_true(loads(dst));
    return t;
}

static void assert_says(const told *t, const char *part)
{
    if (!strstr(t->note, part))
        fail_msg("'%s' lacks '%s'", t->note, part);
}

/* config.json, and one container of an expert and an embedding, all zeros. */
static void make_big_source(const char *folder)
{
    static const char config[] = "{\"model_type\":\"deepseek_v3\",\"architectures\":[\"DeepseekV3ForCausalLM\"]}";
    char all[2048] = {0}, path[600];
    uint64_t at = 0;
    size_t n = (size_t)snprintf(all + 8, sizeof all - 8, "{");
    for (int i = 0; i < 3; i++, at += 256 * 256 * 2)
        n += (size_t)snprintf(all + 8 + n, sizeof all - 8 - n,
                              "\"model.layers.0.mlp.experts.0.%s_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[256,256],"
                              "\"data_offsets\":[%llu,%llu]},",
                              i == 0   ? "gate"
                              : i == 1 ? "up"
                                       : "down",
                              (unsigned long long)at, (unsigned long long)at + 256 * 256 * 2);
    n += (size_t)snprintf(
        all + 8 + n, sizeof all - 8 - n,
        "\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[%llu,1024],\"data_offsets\":[%llu,"
        "%llu]}}",
        (unsigned long long)BIG_BYTES / 2048, (unsigned long long)at, (unsigned long long)(at + BIG_BYTES));
    for (; n % 8; n++)
        all[8 + n] = ' ';
    all[0] = (char)(n & 255);
    all[1] = (char)(n >> 8);
    write_file(folder, "config.json", config, sizeof config - 1);
    write_file(folder, "model.safetensors", all, 8 + n);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(truncate(path, (off_t)(8 + n + at + BIG_BYTES)), 0);
}

static bool reads_directly(const char *folder)
{
    char path[600];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void a_small_source_is_not_measured(void **state)
{
    (void)state;
    const char *src = temp_folder(0), *out = temp_folder(1);
    char dst[300];
    snprintf(dst, sizeof dst, "%s/packed", out);
    make_source(src, SOURCE_TINY);
    told t = pack_measured(src, dst, 0);
    assert_says(&t, "drive 7.00 GB/s (assumed: it was not measured");
    assert_says(&t, "--disk-bw tells it");
    remove_tree(src);
    remove_tree(out);
}

static void a_drive_is_measured_on_the_source(void **state)
{
    (void)state;
    const char *src = temp_folder(0), *out = temp_folder(1);
    char dst[300];
    snprintf(dst, sizeof dst, "%s/packed", out);
    make_big_source(src);
    told t = pack_measured(src, dst, 0);
    if (reads_directly(src)) {
        double drive = 0, raw = 0, ratio = 0, decoding = 0, rate = 0;
        assert_int_equal(
            sscanf(t.note,
                   "drive %lf GB/s (measured), 1 core half of whose time may go into decoding; 4 experts of 384 KiB at "
                   "once come raw at %lf GB/s; exponent to %lf of its size, decoded at %lf GB/s: %lf GB/s",
                   &drive, &raw, &ratio, &decoding, &rate),
            5);
        assert_true(drive > raw && raw > 0 && decoding > rate && ratio < 1);
        if (rate > 1.04 * raw)
            assert_says(&t, "compressing with");
        else if (rate < raw)
            assert_null(strstr(t.note, "compressing with exponent"));
    } else {
        assert_says(&t, "was not measured");
    }
    remove_tree(src);
    remove_tree(out);
}

static void a_given_bandwidth_is_not_measured(void **state)
{
    (void)state;
    const char *src = temp_folder(0), *out = temp_folder(1);
    char dst[300];
    snprintf(dst, sizeof dst, "%s/packed", out);
    make_source(src, SOURCE_TINY);
    told t = pack_measured(src, dst, 1);
    assert_says(&t, "drive 0.00 GB/s (given), 1 core");
    assert_says(&t, "compressing with");
    remove_tree(src);
    remove_tree(out);
}

/* The drive decides, and so does the size of an expert: what is small is there before it is decoded. */
static void small_experts_stay_raw(void **state)
{
    (void)state;
    const char *src = temp_folder(0), *out = temp_folder(1);
    char dst[300];
    snprintf(dst, sizeof dst, "%s/packed", out);
    make_source(src, SOURCE_TINY);
    told t = pack_measured(src, dst, 500000000);
    assert_says(&t, "stored raw");
    remove_tree(src);
    remove_tree(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_source_is_not_measured),
        cmocka_unit_test(a_drive_is_measured_on_the_source),
        cmocka_unit_test(a_given_bandwidth_is_not_measured),
        cmocka_unit_test(small_experts_stay_raw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

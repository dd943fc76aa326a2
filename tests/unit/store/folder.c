/* folder.c - temporary folders and the plain (safetensors) side of the tests' models. */
#include "unit/store/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/source.h"
#include "unit/store/tiny_int.h"

void folder_create(char path[FOLDER_PATH])
{
    snprintf(path, FOLDER_PATH, "/tmp/hotset-store-XXXXXX");
    assert_non_null(mkdtemp(path));
}

void folder_destroy(const char *path)
{
    char name[FOLDER_PATH + 260];
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && unlink(name) < 0)
            assert_int_equal(rmdir(name), 0);
    }
    closedir(d);
    assert_int_equal(rmdir(path), 0);
}

int folder_open(const char *path, const char *name, int flags)
{
    char full[FOLDER_PATH + 260];
    snprintf(full, sizeof full, "%s/%s", path, name);
    int fd = open(full, flags | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    return fd;
}

void folder_write(const char *path, const char *name, const void *data, size_t n)
{
    char full[FOLDER_PATH + 260];
    snprintf(full, sizeof full, "%s/%s", path, name);
    unlink(full); /* truncating instead would make some filesystems write the old file out */
    int fd = folder_open(path, name, O_WRONLY | O_CREAT | O_EXCL);
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, (const char *)data + done, n - done);
        assert_true(k > 0);
        done += (size_t)k;
    }
    close(fd);
}

uint8_t *folder_read(const char *path, const char *name, size_t *ret_n)
{
    int fd = folder_open(path, name, O_RDONLY);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *p = malloc((size_t)st.st_size + 1);
    assert_non_null(p);
    assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_n = (size_t)st.st_size;
    return p;
}

void folder_safetensors(const char *path, const char *name, const char *header, const void *data, size_t n)
{
    size_t len = strlen(header);
    uint8_t *image = calloc(1, 8 + len + n);
    assert_non_null(image);
    for (int i = 0; i < 8; i++)
        image[i] = (uint8_t)((uint64_t)len >> (8 * i));
    memcpy(image + 8, header, len);
    if (data)
        memcpy(image + 8 + len, data, n);
    folder_write(path, name, image, 8 + len + n);
    free(image);
}

void folder_refused(const char *path, const char *part)
{
    hs_source *s = NULL;
    hs_err err = {0};
    int r = hs_source_open(path, &s, &err);
    if (r == 0)
        fail_msg("opened, although '%s' was expected", part);
    assert_null(s);
    assert_int_equal(err.code, r);
    if (!strstr(err.text, part))
        fail_msg("'%s' is not in: %s", part, err.text);
}

void folder_without_memory(const char *path)
{
    int r = -1;
    for (int64_t n = 0; r < 0; n++) {
        hs_source *s = NULL;
        hs_err err = {0};
        hs_mem_fail_after(n);
        r = hs_source_open(path, &s, &err);
        hs_mem_fail_after(-1);
        assert_true(r == 0 || err.text[0]);
        assert_true((r == 0) == (s != NULL));
        hs_source_close(&s);
        assert_true(n < 10000);
    }
}

/* ---- the models ---- */

#define D TINY_DENSE
static const tiny_tensor small_tensors[] = {
    {"embed.weight", "BF16", 16, 10, 2, 0, D, HS_CODEC_RAW},
    {"norm.weight", "F32", 5, 1, 4, 0, D, HS_CODEC_ZSTD},
    {"head.weight", "BF16", 7, 9, 2, 1, D, HS_CODEC_ZSTD_PLANES},
    {"none.weight", "F32", 0, 3, 4, 1, D, HS_CODEC_RAW},
    {"void.weight", "F32", 0, 3, 4, 1, D, HS_CODEC_RAW},
    {"l0.e0.gate", "BF16", 16, 9, 2, 0, 0, HS_CODEC_ZSTD_PLANES},
    {"l0.e0.up", "F8_E4M3", 16, 9, 1, 0, 0, HS_CODEC_ZSTD},
    {"l0.e0.up.scale", "F32", 1, 2, 4, 0, 0, HS_CODEC_RAW},
    {"l0.e0.down", "BF16", 9, 16, 2, 0, 0, HS_CODEC_RAW},
    {"l0.e1.gate", "BF16", 16, 9, 2, 1, 1, HS_CODEC_RAW},
    {"l0.e1.up", "F8_E4M3", 16, 9, 1, 0, 1, HS_CODEC_RAW},
    {"l0.e1.up.scale", "F32", 1, 2, 4, 1, 1, HS_CODEC_RAW},
    {"l0.e1.down", "BF16", 9, 16, 2, 1, 1, HS_CODEC_RAW},
};
static const tiny_tensor wide_tensors[] = {
    {"embed.weight", "BF16", 1000, 333, 2, 0, D, HS_CODEC_ZSTD_PLANES},
    {"head.weight", "BF16", 2048, 256, 2, 1, D, HS_CODEC_RAW},
    {"mid.weight", "F8_E4M3", 1500, 1001, 1, 0, D, HS_CODEC_ZSTD},
    {"norm.weight", "F32", 64, 1, 4, 0, D, HS_CODEC_RAW},
    {"l0.e0.gate", "BF16", 512, 300, 2, 0, 0, HS_CODEC_ZSTD_PLANES},
    {"l0.e0.up", "BF16", 512, 300, 2, 0, 0, HS_CODEC_RAW},
    {"l0.e0.up.scale", "F32", 1, 2, 4, 0, 0, HS_CODEC_RAW},
    {"l0.e0.down", "F8_E4M3", 300, 1024, 1, 1, 0, HS_CODEC_ZSTD},
    {"l0.e1.gate", "BF16", 512, 300, 2, 1, 1, HS_CODEC_RAW},
    {"l0.e1.up", "BF16", 512, 300, 2, 0, 1, HS_CODEC_RAW},
    {"l0.e1.up.scale", "F32", 1, 2, 4, 1, 1, HS_CODEC_RAW},
    {"l0.e1.down", "F8_E4M3", 300, 1024, 1, 1, 1, HS_CODEC_RAW},
};
#undef D
const tiny_model tiny_small = {small_tensors, sizeof small_tensors / sizeof *small_tensors, 2};
const tiny_model tiny_wide = {wide_tensors, sizeof wide_tensors / sizeof *wide_tensors, 2};

uint64_t tiny_nbytes(const tiny_tensor *t)
{
    return (uint64_t)t->rows * t->cols * t->elem;
}

void tiny_bytes(const tiny_tensor *t, uint8_t *out)
{
    uint32_t state = 2166136261u;
    for (const char *c = t->name; *c; c++)
        state = (state ^ (uint8_t)*c) * 16777619u;
    for (uint64_t i = 0, n = tiny_nbytes(t); i < n; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = (uint8_t)(i % 2 ? 0x3c + (state >> 30) : state >> 24);
    }
}

const tiny_tensor *tiny_find(const tiny_model *m, const char *name)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (!strcmp(m->tensors[i].name, name))
            return &m->tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

void tiny__container(const tiny_model *m, int container, tiny__image *ret)
{
    char header[8192];
    size_t at = 0, n = 0;
    at += (size_t)snprintf(header, sizeof header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (uint32_t i = 0; i < m->n; i++) {
        const tiny_tensor *t = &m->tensors[i];
        if (t->container != container)
            continue;
        uint64_t end = n + tiny_nbytes(t);
        at += (size_t)snprintf(header + at, sizeof header - at,
                               ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%u,%u],\"data_offsets\":[%zu,%llu]}", t->name,
                               t->dtype, t->rows, t->cols, n, (unsigned long long)end);
        n = end;
    }
    at += (size_t)snprintf(header + at, sizeof header - at, "}");
    assert_true(at < sizeof header);
    ret->data_start = 8 + at;
    ret->n = 8 + at + n;
    ret->bytes = calloc(1, ret->n + 1);
    assert_non_null(ret->bytes);
    for (int i = 0; i < 8; i++)
        ret->bytes[i] = (uint8_t)((uint64_t)at >> (8 * i));
    memcpy(ret->bytes + 8, header, at);
    n = ret->data_start;
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->tensors[i].container != container)
            continue;
        ret->offset[i] = n;
        tiny_bytes(&m->tensors[i], ret->bytes + n);
        n += tiny_nbytes(&m->tensors[i]);
    }
}

void tiny_write_plain(const tiny_model *m, const char *path)
{
    char index[8192], name[64];
    size_t at = (size_t)snprintf(index, sizeof index, "{\"metadata\":{},\"weight_map\":{");
    for (uint32_t i = 0; i < m->n; i++)
        at += (size_t)snprintf(index + at, sizeof index - at, "%s\"%s\":\"model-0000%d-of-00002.safetensors\"",
                               i ? "," : "", m->tensors[i].name, m->tensors[i].container + 1);
    at += (size_t)snprintf(index + at, sizeof index - at, "}}");
    assert_true(at < sizeof index);
    folder_write(path, "model.safetensors.index.json", index, at);
    folder_write(path, "config.json", "{\"model_type\":\"tiny\"}", 21);
    for (int c = 0; c < 2; c++) {
        tiny__image image = {0};
        tiny__container(m, c, &image);
        snprintf(name, sizeof name, "model-0000%d-of-00002.safetensors", c + 1);
        folder_write(path, name, image.bytes, image.n);
        free(image.bytes);
    }
}

/* make.c - see make.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "make.h"
#include "store/source.h"

static uint64_t seed;

static uint32_t next(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

/* Near enough to normal, with deviation 1. */
static double normal(void)
{
    double s = 0;
    for (int i = 0; i < 12; i++)
        s += (double)next() / 4294967296.0;
    return s - 6;
}

const char *temp_folder(int slot)
{
    static char paths[8][200];
    const char *base = "/tmp";
    snprintf(paths[slot], sizeof paths[slot], "%s/hotset-pack-XXXXXX", base);
    assert_non_null(mkdtemp(paths[slot]));
    return paths[slot];
}

void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    if (d) {
        for (struct dirent *e; (e = readdir(d));) {
            char sub[600];
            struct stat st;
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
                continue;
            snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
            if (lstat(sub, &st) == 0 && S_ISDIR(st.st_mode))
                remove_tree(sub);
            else
                unlink(sub);
        }
        closedir(d);
    }
    rmdir(path);
}

void write_file(const char *folder, const char *name, const void *data, size_t n)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

char *read_file(const char *folder, const char *name, size_t *ret_n)
{
    char path[600];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *p = malloc((size_t)st.st_size + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    *ret_n = (size_t)st.st_size;
    return p;
}

size_t size_of(const char *folder, const char *name)
{
    char path[600];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

void flip_bits(const char *folder, const char *name, size_t at, int bits)
{
    char path[600];
    unsigned char c;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
    c ^= (unsigned char)bits;
    assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

/* ---- a container ---- */

typedef enum look { TRAINED, RANDOM, ZERO } look;

typedef struct container {
    char *header;
    size_t header_len;
    char *data;
    size_t data_len;
    char (*index)[200]; /* "tensor": "file" lines for the index */
    size_t n_index;
    const char *name;
} container;

static void add_tensor(container *c, const char *name, const char *type, size_t rows, size_t cols, look how)
{
    size_t size = !strcmp(type, "F8_E4M3") ? 1 : !strcmp(type, "BF16") ? 2 : !strcmp(type, "F32") ? 4 : 8;
    size_t n = rows * (cols ? cols : 1) * size;
    c->data = realloc(c->data, c->data_len + n + 1);
    c->header = realloc(c->header, c->header_len + 400);
    assert_non_null(c->data);
    assert_non_null(c->header);
    char *p = c->data + c->data_len;
    for (size_t i = 0; i < n; i += size) {
        float f = (float)(normal() * 0.02);
        uint32_t bits;
        memcpy(&bits, &f, 4);
        if (how == ZERO)
            memset(p + i, 0, size);
        else if (how == RANDOM || size == 8)
            for (size_t k = 0; k < size; k++)
                p[i + k] = (char)(next() >> 24);
        else if (size == 4)
            memcpy(p + i, &bits, 4);
        else if (size == 2)
            memcpy(p + i, (char *)&bits + 2, 2);
        else
            p[i] = (char)(next() % 3 ? 0x38 + next() % 16 : (0xb8 + next() % 16)); /* few exponents */
    }
    char shape[64];
    snprintf(shape, sizeof shape, cols ? "[%zu,%zu]" : "[%zu]", rows, cols);
    c->header_len += (size_t)snprintf(c->header + c->header_len, 400,
                                      "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                                      c->header_len ? "," : "", name, type, shape, c->data_len, c->data_len + n);
    c->data_len += n;
    c->index = realloc(c->index, (c->n_index + 1) * sizeof *c->index);
    assert_non_null(c->index);
    snprintf(c->index[c->n_index++], sizeof *c->index, "\"%s\":\"%s\"", name, c->name);
}

static void write_container(container *c, const char *folder)
{
    size_t len = c->header_len + 2, padded = (len + 7) / 8 * 8;
    char *all = malloc(8 + padded + c->data_len);
    assert_non_null(all);
    for (int i = 0; i < 8; i++)
        all[i] = (char)(padded >> (8 * i));
    memset(all + 8, ' ', padded);
    all[8] = '{';
    memcpy(all + 9, c->header, c->header_len);
    all[9 + c->header_len] = '}';
    memcpy(all + 8 + padded, c->data, c->data_len);
    write_file(folder, c->name, all, 8 + padded + c->data_len);
    free(all);
    free(c->header);
    free(c->data);
}

static void add_expert(container *c, int layer, int expert, const char *type, size_t rows, size_t cols)
{
    static const char *const matrix[] = {"gate_proj", "up_proj", "down_proj"};
    for (int m = 0; m < 3; m++) {
        char name[120];
        size_t r = m == 2 ? cols : rows, k = m == 2 ? rows : cols;
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s.weight", layer, expert, matrix[m]);
        add_tensor(c, name, type, r, k, expert == 1 && m == 1 ? RANDOM : expert == 2 && m == 0 ? ZERO : TRAINED);
        if (strcmp(type, "F8_E4M3"))
            continue;
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s.weight_scale_inv", layer, expert, matrix[m]);
        add_tensor(c, name, "F32", (r + 127) / 128, (k + 127) / 128, TRAINED);
    }
}

static void write_index(const container *a, const container *b, const char *folder)
{
    size_t n = 0, cap = (a->n_index + b->n_index) * 220 + 100;
    char *text = malloc(cap);
    assert_non_null(text);
    n += (size_t)snprintf(text, cap, "{\"metadata\":{},\"weight_map\":{");
    for (size_t i = 0; i < a->n_index + b->n_index; i++)
        n += (size_t)snprintf(text + n, cap - n, "%s%s", i ? "," : "",
                              i < a->n_index ? a->index[i] : b->index[i - a->n_index]);
    n += (size_t)snprintf(text + n, cap - n, "}}");
    write_file(folder, "model.safetensors.index.json", text, n);
    free(text);
}

static void make_bf16(const char *path)
{
    container a = {.name = "model-00001-of-00002.safetensors"}, b = {.name = "model-00002-of-00002.safetensors"};
    add_tensor(&a, "model.embed_tokens.weight", "BF16", 700, 301, TRAINED);
    add_tensor(&a, "model.norm.weight", "BF16", 301, 0, TRAINED);
    add_tensor(&a, "model.odd", "F32", 1, 0, TRAINED);
    add_tensor(&a, "model.empty", "F32", 0, 0, TRAINED);
    add_tensor(&b, "model.noise", "BF16", 300, 200, RANDOM);
    add_tensor(&b, "model.ids", "I64", 17, 0, TRAINED);
    for (int layer = 0; layer < 2; layer++)
        for (int expert = 0; expert < 8; expert++)
            add_expert(expert < 5 ? &a : &b, layer, expert, "BF16", 96, 130);
    write_index(&a, &b, path);
    free(a.index);
    free(b.index);
    write_container(&a, path);
    write_container(&b, path);
    write_file(path, "tokenizer.json", "{\"model\":{}}", 12);
    write_file(path, "empty", "", 0);
    write_file(path, "manifest.json", "{\"of\": \"another tool\"}", 22);
    write_file(path, "odd name \xc3\xa9 [1].txt", "x\0y\n", 4);
    write_file(path, "left.tmp", "half", 4);
    write_file(path, "dense-00000.hss", "no shard", 8);
    write_file(path, "model.safetensors.header", "no header", 9);
    write_file(path, "unlisted.safetensors", "not in the index", 16);
    char name[600];
    snprintf(name, sizeof name, "%s/tokenizer.json", path);
    assert_int_equal(chmod(name, 0400), 0);
    snprintf(name, sizeof name, "%s/empty", path);
    assert_int_equal(chmod(name, 0755), 0);
}

void make_source(const char *path, source_kind kind)
{
    static const char config[] = "{\"model_type\":\"deepseek_v3\",\"architectures\":[\"DeepseekV3ForCausalLM\"]}";
    seed = 12345 + kind;
    write_file(path, "config.json", config, sizeof config - 1);
    container c = {.name = "model.safetensors"};
    switch (kind) {
    case SOURCE_TINY:
        add_tensor(&c, "model.norm.weight", "BF16", 65, 0, TRAINED);
        add_expert(&c, 0, 0, "BF16", 40, 60);
        add_expert(&c, 0, 1, "BF16", 40, 60);
        break;
    case SOURCE_BF16:
        make_bf16(path);
        return;
    case SOURCE_FP8:
        add_tensor(&c, "model.embed_tokens.weight", "BF16", 200, 256, TRAINED);
        for (int e = 0; e < 5; e++)
            add_expert(&c, 1, e, "F8_E4M3", 300, 256);
        break;
    }
    free(c.index);
    write_container(&c, path);
}

/* ---- folders ---- */

static size_t count_files(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

void assert_same_folder(const char *a, const char *b)
{
    assert_int_equal(count_files(a), count_files(b));
    DIR *d = opendir(a);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char pa[600], pb[600];
        struct stat sa, sb;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(pa, sizeof pa, "%s/%s", a, e->d_name);
        snprintf(pb, sizeof pb, "%s/%s", b, e->d_name);
        assert_int_equal(stat(pa, &sa), 0);
        if (stat(pb, &sb) < 0)
            fail_msg("%s is missing", pb);
        if (sa.st_mode != sb.st_mode)
            fail_msg("%s has mode %o, not %o", pb, sb.st_mode, sa.st_mode);
        size_t na, nb;
        char *da = read_file(a, e->d_name, &na), *db = read_file(b, e->d_name, &nb);
        if (na != nb || memcmp(da, db, na))
            fail_msg("%s differs", pb);
        free(da);
        free(db);
    }
    closedir(d);
}

bool file_exists(const char *folder, const char *name)
{
    char path[600];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &st) == 0;
}

uint64_t folder_bytes(const char *path)
{
    uint64_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            n += (uint64_t)st.st_size;
    }
    closedir(d);
    return n;
}

bool loads(const char *path)
{
    hs_source *s = NULL;
    int r = hs_source_open(path, &s, NULL);
    hs_source_close(&s);
    return r == 0;
}

int pack(const char *src, const char *dst, hs_pack_codec codec, uint64_t shard_bytes, hs_err *err)
{
    hs_pack_options o = {.src = src, .dst = dst, .codec = codec, .shard_bytes = shard_bytes, .threads = 1};
    return hs_pack(&o, err);
}

int pack_kept(const char *src, const char *dst, hs_pack_codec codec, uint64_t shard_bytes, hs_err *err)
{
    hs_pack_options o = {
        .src = src, .dst = dst, .codec = codec, .shard_bytes = shard_bytes, .threads = 1, .keep_raw = true};
    return hs_pack(&o, err);
}

void stopper_progress(void *ctx, hs_pack_phase phase, uint64_t done, uint64_t total)
{
    stopper *s = ctx;
    assert_true(done <= total || phase == HS_PACK_PHASE_MEASURE);
    if (++s->calls != s->stop_at)
        return;
    if (s->kill)
        raise(SIGKILL);
    atomic_store(&s->cancel, 1);
}

packed_model packed_model_make(source_kind kind, hs_pack_codec codec)
{
    packed_model w = {.src = temp_folder(0), .out = temp_folder(1)};
    snprintf(w.packed, sizeof w.packed, "%s/p", w.out);
    snprintf(w.beside, sizeof w.beside, "%s/b", w.out);
    make_source(w.src, kind);
    assert_int_equal(pack(w.src, w.packed, codec, 0, NULL), 0);
    assert_int_equal(hs_pool_create(1, &w.pool, NULL), 0);
    return w;
}

packed_model packed_twice(source_kind kind, hs_pack_codec codec)
{
    packed_model w = packed_model_make(kind, codec);
    assert_int_equal(pack(w.src, w.beside, codec, 0, NULL), 0);
    assert_same_folder(w.packed, w.beside);
    return w;
}

void packed_model_end(packed_model *w)
{
    hs_pool_destroy(&w->pool);
    remove_tree(w->src);
    remove_tree(w->out);
}

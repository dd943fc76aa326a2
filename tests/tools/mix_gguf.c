/*
 * mix_gguf - writes a GGUF file whose layers have experts of two sizes, as recipes like Q4_K_M give them: layer 0 of a
 * small file again and again, and in every other layer down matrices that are up matrices, in their format. Both must
 * have the same shape.
 *
 *   mix_gguf SRC DST LAYERS
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS 256
#define ALIGN       32u
enum { STRING = 8, ARRAY = 9 };

typedef struct tensor {
    char name[64];
    uint32_t n_dims, type;
    uint64_t dims[4], offset, bytes;
    const struct tensor *like; /* whose type and bytes it has */
} tensor;

static uint8_t *src;
static size_t src_len, at;
static FILE *dst;
static tensor from[MAX_TENSORS], to[MAX_TENSORS];
static uint32_t n_from, n_to;

static void die(const char *what)
{
    fprintf(stderr, "mix_gguf: %s\n", what);
    exit(1);
}

static const void *take(size_t n)
{
    if (n > src_len - at)
        die("the file is cut");
    at += n;
    return src + at - n;
}

static uint64_t number(size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, take(bytes), bytes);
    return v;
}

static void put(const void *p, size_t n)
{
    if (fwrite(p, 1, n, dst) != n)
        die(strerror(errno));
}

static void put_number(uint64_t v, size_t bytes)
{
    put(&v, bytes);
}

static void skip_value(uint32_t type)
{
    static const uint8_t size[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == STRING) {
        take(number(8));
    } else if (type == ARRAY) {
        uint32_t of = (uint32_t)number(4);
        for (uint64_t n = number(8); n > 0; n--)
            skip_value(of);
    } else if (type < sizeof size) {
        take(size[type]);
    } else {
        die("a value of a type that is not known");
    }
}

static bool ends_with(const char *s, size_t len, const char *end)
{
    return len >= strlen(end) && !memcmp(s + len - strlen(end), end, strlen(end));
}

/* Metadata as it is, but for the number of layers. */
static void copy_keys(uint64_t n, uint32_t layers)
{
    for (; n > 0; n--) {
        size_t start = at;
        uint64_t len = number(8);
        const char *key = take(len);
        uint32_t type = (uint32_t)number(4);
        size_t value = at;
        skip_value(type);
        if (ends_with(key, len, ".block_count")) {
            put(src + start, value - start);
            put_number(layers, at - value);
        } else {
            put(src + start, at - start);
        }
    }
}

static void read_tensors(uint32_t n)
{
    if (n > MAX_TENSORS)
        die("too many tensors");
    for (n_from = 0; n_from < n; n_from++) {
        tensor *t = &from[n_from];
        uint64_t len = number(8);
        if (len >= sizeof t->name)
            die("a name is too long");
        memcpy(t->name, take(len), len);
        t->n_dims = (uint32_t)number(4);
        for (uint32_t i = 0; i < t->n_dims && i < 4; i++)
            t->dims[i] = number(8);
        t->type = (uint32_t)number(4);
        t->offset = number(8);
    }
    size_t data = (at + ALIGN - 1) / ALIGN * ALIGN;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t end = src_len - data;
        for (uint32_t k = 0; k < n; k++)
            end = from[k].offset > from[i].offset && from[k].offset < end ? from[k].offset : end;
        from[i].bytes = end - from[i].offset;
    }
    for (uint32_t i = 0; i < n; i++)
        from[i].offset += data;
}

static const tensor *find(const char *name)
{
    for (uint32_t i = 0; i < n_from; i++)
        if (!strcmp(from[i].name, name))
            return &from[i];
    die("there is no up matrix of experts in layer 0");
    return NULL;
}

static void add(const tensor *t, const char *name, const tensor *like)
{
    if (n_to == MAX_TENSORS)
        die("too many tensors");
    tensor *x = &to[n_to++];
    *x = *t;
    if (snprintf(x->name, sizeof x->name, "%s", name) >= (int)sizeof x->name)
        die("a name is too long");
    x->type = like->type;
    x->bytes = like->bytes;
    x->like = like;
}

static void mix(uint32_t layers)
{
    const tensor *up = find("blk.0.ffn_up_exps.weight");
    for (uint32_t i = 0; i < n_from; i++) {
        const tensor *t = &from[i];
        bool is_down = !strcmp(t->name, "blk.0.ffn_down_exps.weight");
        if (strncmp(t->name, "blk.", 4))
            add(t, t->name, t);
        for (uint32_t l = 0; l < layers && !strncmp(t->name, "blk.0.", 6); l++) {
            char name[96];
            snprintf(name, sizeof name, "blk.%u.%s", l, t->name + 6);
            add(t, name, is_down && l % 2 ? up : t);
        }
    }
}

static void write_tensors(void)
{
    static const uint8_t zeros[ALIGN];
    uint64_t offset = 0;
    for (uint32_t i = 0; i < n_to; i++) {
        const tensor *t = &to[i];
        put_number(strlen(t->name), 8);
        put(t->name, strlen(t->name));
        put_number(t->n_dims, 4);
        put(t->dims, t->n_dims * sizeof *t->dims);
        put_number(t->type, 4);
        put_number(offset, 8);
        offset += (t->bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    put(zeros, (ALIGN - (size_t)ftell(dst) % ALIGN) % ALIGN);
    for (uint32_t i = 0; i < n_to; i++) {
        put(src + to[i].like->offset, to[i].bytes);
        put(zeros, (ALIGN - to[i].bytes % ALIGN) % ALIGN);
    }
}

static void load(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END))
        die(strerror(errno));
    src_len = (size_t)ftell(f);
    src = malloc(src_len);
    rewind(f);
    if (!src || fread(src, 1, src_len, f) != src_len)
        die(strerror(errno));
    fclose(f);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage: mix_gguf SRC DST LAYERS");
    uint32_t layers = (uint32_t)strtoul(argv[3], NULL, 10);
    load(argv[1]);
    dst = fopen(argv[2], "wb");
    if (!dst)
        die(strerror(errno));
    const void *magic = take(8);
    uint64_t n_tensors = number(8), n_keys = number(8);
    size_t keys = at;
    for (uint64_t i = 0; i < n_keys; i++) { /* on to the tensors, whose number comes before the keys */
        take(number(8));
        skip_value((uint32_t)number(4));
    }
    read_tensors((uint32_t)n_tensors);
    mix(layers);
    put(magic, 8);
    put_number(n_to, 8);
    put_number(n_keys, 8);
    at = keys;
    copy_keys(n_keys, layers);
    write_tensors();
    if (fclose(dst))
        die(strerror(errno));
    free(src);
    return 0;
}

/*
 * safetensors.c - the safetensors container: header parser and folder reader. Read-only; the format's rules are
 * enforced, not assumed: header at most 100 MB, no duplicate name, no hole, no overlap, shape x type = size, the file
 * ends where its last tensor does. A header may name half a million tensors, so it is scanned, not made into a DOM.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/store_int.h"

typedef struct scan {
    const char *p, *end;
    const char *where;
    hs_err *err;
    const char *begin;
} scan;

static int bad(scan *s, const char *what)
{
    return hs_err_set(s->err, -EINVAL, "%s: header, byte %zu: %s", s->where, (size_t)(s->p - s->begin), what);
}

static void skip_space(scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
}

static bool accept(scan *s, char c)
{
    skip_space(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* Four hex digits after \u, as UTF-8 into out; surrogates are refused: no tensor is named with an emoji. */
static int scan_unicode(scan *s, char *out, size_t *n)
{
    if (s->end - s->p < 4)
        return bad(s, "unfinished \\u escape");
    uint64_t c;
    if (!hs__parse_hex(s->p, 4, &c) || c == 0 || (c >= 0xd800 && c < 0xe000))
        return bad(s, "unusable \\u escape");
    s->p += 4;
    if (c < 0x80) {
        out[(*n)++] = (char)c;
    } else if (c < 0x800) {
        out[(*n)++] = (char)(0xc0 | c >> 6);
        out[(*n)++] = (char)(0x80 | (c & 63));
    } else {
        out[(*n)++] = (char)(0xe0 | c >> 12);
        out[(*n)++] = (char)(0x80 | (c >> 6 & 63));
        out[(*n)++] = (char)(0x80 | (c & 63));
    }
    return 0;
}

/* Bytes of the UTF-8 sequence of more than one byte at s->p, 0 if it is malformed or cut. */
static size_t utf8_length(const scan *s)
{
    const unsigned char *p = (const unsigned char *)s->p;
    size_t n = *p >= 0xf0 && *p < 0xf5 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc2 ? 2 : 0;
    if (!n || *p >= 0xf5 || (size_t)(s->end - s->p) < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || beyond ? 0 : n;
}

/* A JSON string of at most cap-4 bytes into out. */
static int scan_string(scan *s, char *out, size_t cap, size_t *ret_len)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t n = 0;
    if (!accept(s, '"'))
        return bad(s, "a string is expected");
    while (s->p < s->end && *s->p != '"') {
        if (n + 4 >= cap)
            return bad(s, "a string is too long");
        if ((unsigned char)*s->p >= 0x80) {
            size_t k = utf8_length(s);
            if (!k)
                return bad(s, "a string is not UTF-8");
            memcpy(out + n, s->p, k);
            n += k;
            s->p += k;
            continue;
        }
        char c = *s->p++;
        if ((unsigned char)c < 0x20)
            return bad(s, "a control character in a string");
        if (c != '\\') {
            out[n++] = c;
            continue;
        }
        if (s->p == s->end)
            return bad(s, "unfinished string");
        c = *s->p++;
        const char *at = c ? strchr(from, c) : NULL;
        if (c == 'u') {
            int r = scan_unicode(s, out, &n);
            if (r < 0)
                return r;
        } else if (at) {
            out[n++] = to[at - from];
        } else {
            return bad(s, "unknown escape");
        }
    }
    if (!accept(s, '"'))
        return bad(s, "unfinished string");
    out[n] = '\0';
    *ret_len = n;
    return 0;
}

static int scan_u64(scan *s, uint64_t *ret)
{
    skip_space(s);
    uint64_t v = 0;
    const char *start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        if (hs_mul_u64(v, 10, &v) < 0 || hs_add_u64(v, (uint64_t)(*s->p - '0'), &v) < 0)
            return bad(s, "a number is too big");
        s->p++;
    }
    if (s->p == start)
        return bad(s, "a non-negative integer is expected");
    *ret = v;
    return 0;
}

/* [a, b, …]: at most cap numbers. */
static int scan_list(scan *s, uint64_t *out, uint32_t cap, uint32_t *ret_n)
{
    uint32_t n = 0;
    if (!accept(s, '['))
        return bad(s, "a list is expected");
    if (!accept(s, ']')) {
        do {
            uint64_t v = 0;
            int r = scan_u64(s, &v);
            if (r < 0)
                return r;
            if (n == cap)
                return bad(s, "a list is too long");
            out[n++] = v;
        } while (accept(s, ','));
        if (!accept(s, ']'))
            return bad(s, "] is expected");
    }
    *ret_n = n;
    return 0;
}

static int skip_string(scan *s)
{
    if (!accept(s, '"'))
        return bad(s, "a string is expected");
    while (s->p < s->end && *s->p != '"')
        s->p += *s->p == '\\' && s->p + 1 < s->end ? 2 : 1;
    return accept(s, '"') ? 0 : bad(s, "unfinished string");
}

/* {"k": "v", …} of __metadata__. */
static int skip_metadata(scan *s)
{
    if (!accept(s, '{'))
        return bad(s, "__metadata__ must be an object");
    if (accept(s, '}'))
        return 0;
    do {
        int r = skip_string(s);
        if (r == 0 && !accept(s, ':'))
            r = bad(s, ": is expected");
        if (r == 0)
            r = skip_string(s);
        if (r < 0)
            return r;
    } while (accept(s, ','));
    return accept(s, '}') ? 0 : bad(s, "} is expected");
}

/* Element width in bits of every type the container knows; 0 = unknown. */
static uint32_t type_bits(const char *name, hs_dtype *ret)
{
    static const struct {
        const char *name;
        uint32_t bits;
        hs_dtype type;
    } types[] = {{"F32", 32, HS_DTYPE_F32},          {"BF16", 16, HS_DTYPE_BF16},    {"F8_E4M3", 8, HS_DTYPE_F8_E4M3},
                 {"F16", 16, HS_DTYPE_F16},          {"U8", 8, HS_DTYPE_U8},         {"I8", 8, HS_DTYPE_I8},
                 {"I32", 32, HS_DTYPE_I32},          {"I64", 64, HS_DTYPE_I64},      {"BOOL", 8, HS_DTYPE_OTHER},
                 {"F8_E5M2", 8, HS_DTYPE_OTHER},     {"F8_E8M0", 8, HS_DTYPE_OTHER}, {"F8_E4M3FNUZ", 8, HS_DTYPE_OTHER},
                 {"F8_E5M2FNUZ", 8, HS_DTYPE_OTHER}, {"I16", 16, HS_DTYPE_OTHER},    {"U16", 16, HS_DTYPE_OTHER},
                 {"U32", 32, HS_DTYPE_OTHER},        {"U64", 64, HS_DTYPE_OTHER},    {"F64", 64, HS_DTYPE_OTHER},
                 {"C64", 64, HS_DTYPE_OTHER},        {"F4", 4, HS_DTYPE_OTHER},      {"F6_E2M3", 6, HS_DTYPE_OTHER},
                 {"F6_E3M2", 6, HS_DTYPE_OTHER}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!strcmp(types[i].name, name)) {
            *ret = types[i].type;
            return types[i].bits;
        }
    }
    return 0;
}

/* dims x bits, in bytes. */
static int shape_bytes(const uint64_t *dims, uint32_t n, uint32_t bits, uint64_t *ret)
{
    uint64_t v = bits;
    for (uint32_t i = 0; i < n; i++)
        if (hs_mul_u64(v, dims[i], &v) < 0)
            return -EOVERFLOW;
    if (v % 8)
        return -EINVAL;
    *ret = v / 8;
    return 0;
}

/* One tensor's {dtype, shape, data_offsets} into t; offset stays relative to the buffer. */
static int scan_tensor(scan *s, hs_tensor *t, uint64_t data)
{
    char key[32], type[32] = "";
    size_t len;
    uint64_t dims[8], range[2];
    uint32_t n_dims = UINT32_MAX, n_range = 0;
    if (!accept(s, '{'))
        return bad(s, "{ is expected");
    do {
        int r = scan_string(s, key, sizeof key, &len);
        if (r == 0 && !accept(s, ':'))
            r = bad(s, ": is expected");
        if (r == 0 && !strcmp(key, "dtype"))
            r = scan_string(s, type, sizeof type, &len);
        else if (r == 0 && !strcmp(key, "shape"))
            r = scan_list(s, dims, 8, &n_dims);
        else if (r == 0 && !strcmp(key, "data_offsets"))
            r = scan_list(s, range, 2, &n_range);
        else if (r == 0)
            r = bad(s, "unknown field of a tensor");
        if (r < 0)
            return r;
    } while (accept(s, ','));
    if (!accept(s, '}'))
        return bad(s, "} is expected");
    uint32_t bits = type_bits(type, &t->dtype);
    if (!bits)
        return bad(s, "dtype is missing or unknown");
    if (n_dims == UINT32_MAX || n_range != 2 || range[0] > range[1])
        return bad(s, "shape or data_offsets is missing or wrong");
    if (range[1] > data)
        return bad(s, "its data is outside the file; is that there in full?");
    if (shape_bytes(dims, n_dims, bits, &t->nbytes) < 0 || t->nbytes != range[1] - range[0] ||
        t->nbytes > HS__MAX_TENSOR_BYTES)
        return bad(s, "data_offsets do not fit shape and dtype");
    if (n_dims > HS_MAX_DIMS)
        t->dtype = HS_DTYPE_OTHER; /* kept as bytes */
    t->n_dims = n_dims < HS_MAX_DIMS ? n_dims : HS_MAX_DIMS;
    for (uint32_t i = 0; i < HS_MAX_DIMS; i++)
        t->dims[i] = i < t->n_dims ? dims[i] : 1;
    t->offset = range[0];
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const hs_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->nbytes > y->nbytes) - (x->nbytes < y->nbytes);
}

/* Puts one tensor of each expert, "NAME.E", in the place of tensor i, which stacks them. */
static int take_apart(hs_source *s, uint32_t i, const char *where, hs_err *err)
{
    hs_tensor whole = s->tensors[i];
    uint64_t n = whole.dims[0];
    if (!n || n > HS__MAX_STACK || whole.nbytes % n)
        return hs_err_set(err, -EINVAL, "%s: tensor %s: %llu experts; 1 to %u are possible", where, whole.name,
                          (unsigned long long)n, HS__MAX_STACK);
    whole.n_dims--;
    memmove(whole.dims, whole.dims + 1, (HS_MAX_DIMS - 1) * sizeof *whole.dims);
    whole.dims[HS_MAX_DIMS - 1] = 1;
    whole.nbytes /= n;
    for (uint64_t e = 0; e < n; e++) {
        char name[1100];
        int len = snprintf(name, sizeof name, "%s.%llu", whole.name, (unsigned long long)e);
        hs_tensor piece = whole, *to = e ? hs__tensor_append(s) : &s->tensors[i];
        piece.offset += e * whole.nbytes;
        piece.name = len < (int)sizeof name ? hs__names_add(&s->names, name, (size_t)len) : NULL;
        if (!to || !piece.name)
            return hs_err_set(err, -ENOMEM, "%s: too many tensors for memory", where);
        *to = piece;
        s->n_tensors += e > 0;
    }
    return 0;
}

int hs__safetensors_parse(hs_source *src, const char *where, uint32_t file, const char *text, size_t len,
                          uint64_t data_start, uint64_t data, hs_err *err)
{
    scan s = {.p = text, .end = text + len, .where = where, .err = err, .begin = text};
    uint32_t first = src->n_tensors;
    char name[1024];
    size_t name_len;
    if (!len || text[0] != '{')
        return bad(&s, "the header must begin with {");
    s.p++;
    if (!accept(&s, '}')) {
        do {
            int r = scan_string(&s, name, sizeof name, &name_len);
            if (r == 0 && !accept(&s, ':'))
                r = bad(&s, ": is expected");
            if (r < 0)
                return r;
            if (!strcmp(name, "__metadata__")) {
                if ((r = skip_metadata(&s)) < 0)
                    return r;
                continue;
            }
            hs_tensor *t = hs__tensor_append(src);
            if (!t)
                return hs_err_set(err, -ENOMEM, "%s: too many tensors for memory", where);
            if (scan_tensor(&s, t, data) < 0)
                return hs_err_prefix(err, "tensor %.200s", name);
            t->name = hs__names_add(&src->names, name, name_len);
            if (!t->name)
                return hs_err_set(err, -ENOMEM, "%s: out of memory", where);
            t->file = file;
            t->record = HS_NO_RECORD;
            src->n_tensors++;
        } while (accept(&s, ','));
        if (!accept(&s, '}'))
            return bad(&s, "} is expected");
    }
    skip_space(&s);
    if (s.p != s.end)
        return bad(&s, "text after the header's end");
    if (src->n_tensors > first)
        qsort(src->tensors + first, src->n_tensors - first, sizeof *src->tensors, by_offset);
    uint64_t at = 0;
    for (uint32_t i = first; i < src->n_tensors; i++) {
        hs_tensor *t = &src->tensors[i];
        if (t->offset != at)
            return hs_err_set(err, -EINVAL, "%s: tensor %s %s", where, t->name,
                              t->offset < at ? "overlaps another" : "follows a hole in the data");
        at += t->nbytes;
        t->offset += data_start;
    }
    if (at != data)
        return hs_err_set(err, -EINVAL, "%s: %llu bytes of data, but the tensors end after %llu", where,
                          (unsigned long long)data, (unsigned long long)at);
    for (uint32_t i = first, end = src->n_tensors; i < end; i++)
        if (hs_stacks_experts(src->tensors[i].name, src->tensors[i].n_dims) && take_apart(src, i, where, err) < 0)
            return err ? err->code : -EINVAL;
    /* Their pieces were appended: by offset again, as a packed folder wants them. */
    if (src->n_tensors > first)
        qsort(src->tensors + first, src->n_tensors - first, sizeof *src->tensors, by_offset);
    return 0;
}

static int parse_file(hs_source *s, uint32_t index, hs_err *err)
{
    const hs__file *f = &s->files[index];
    uint8_t len8[8];
    int r = f->bytes < 8 ? -ENODATA : hs_pread_full(f->fd, len8, 8, 0);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | len8[i];
    if (r < 0)
        return hs_err_set(err, -EINVAL, "%s: too short for a safetensors file%s", f->path, hs__file_instead(f));
    if (n > HS__MAX_HEADER)
        return hs_err_set(err, -EINVAL, "%s: not a safetensors file%s", f->path, hs__file_instead(f));
    if (n > f->bytes - 8)
        return hs_err_set(err, -EINVAL,
                          "%s: a header of %llu bytes does not fit the file of %llu; is it there in full?", f->path,
                          (unsigned long long)n, (unsigned long long)f->bytes);
    char *text = hs_malloc(n + 1);
    if (!text)
        return hs_err_set(err, -ENOMEM, "%s: out of memory for a header of %llu bytes", f->path, (unsigned long long)n);
    r = hs_pread_full(f->fd, text, n, 8);
    if (r < 0)
        hs_err_set(err, r, "%s: header: %s", f->path, hs_strerror(r));
    else
        r = hs__safetensors_parse(s, f->path, index, text, n, 8 + n, f->bytes - 8 - n, err);
    hs_free(text);
    return r;
}

static int add_name(char ***list, uint32_t *n, const char *name)
{
    size_t cap = *n;
    if (*n == HS__MAX_FILES)
        return -E2BIG;
    if (hs_grow(list, sizeof **list, *n + 1, &cap, *n + 1) < 0 || !((*list)[*n] = hs_strdup(name)))
        return -ENOMEM;
    ++*n;
    return 0;
}

/* The files an index names. They are gathered in a JSON object: an index may name each of them a million times. */
static int names_from_index(const char *path, char ***list, uint32_t *n, hs_err *err)
{
    json_t *j, *v, *set = json_object();
    int r = set ? hs_json_load_file(path, HS__MAX_JSON, &j, err) : hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    if (r < 0) {
        json_decref(set);
        return r;
    }
    json_t *map = json_object_get(j, "weight_map");
    const char *key;
    if (json_object_size(map) == 0)
        r = hs_err_set(err, -EINVAL, "%s: weight_map is missing or empty", path);
    json_object_foreach(map, key, v)
    {
        const char *name = json_string_value(v);
        if (!name || !hs__name_is_plain(name))
            r = hs_err_set(err, -EINVAL, "%s: weight_map.%.100s is not a plain file name", path, key);
        else if (json_object_set(set, name, v) < 0)
            r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
        if (r < 0)
            break;
    }
    json_object_foreach(set, key, v)
    {
        if (r == 0 && (r = add_name(list, n, key)) < 0)
            hs_err_set(err, r, "%s: %s", path, r == -E2BIG ? "names too many files" : "out of memory");
    }
    json_decref(set);
    json_decref(j);
    return r;
}

static int names_from_folder(const hs_source *s, char ***list, uint32_t *n, hs_err *err)
{
    DIR *d = opendir(s->path);
    if (!d)
        return hs_err_set(err, -errno, "%s: %s", s->path, hs_strerror(errno));
    int r = 0;
    bool gguf = false;
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        gguf |= len > 5 && !strcmp(e->d_name + len - 5, ".gguf");
        if (len > 12 && !strcmp(e->d_name + len - 12, ".safetensors") && e->d_name[0] != '.')
            r = add_name(list, n, e->d_name);
    }
    closedir(d);
    if (r < 0)
        return hs_err_set(err, r, "%s: %s", s->path,
                          r == -E2BIG ? "too many safetensors files" : "out of memory for the list of its files");
    if (!*n)
        return hs_err_set(err, -ENOENT,
                          "%s: neither a packed model (manifest.json) nor a folder with .safetensors files%s", s->path,
                          gguf ? "; give a GGUF model by its file (the first part of a split one)" : "");
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int hs__safetensors_open(hs_source *s, hs_err *err)
{
    char **list = NULL;
    uint32_t n = 0;
    char *index = hs_asprintf("%s/model.safetensors.index.json", s->path);
    if (!index)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    int r = hs_file_exists(index) ? names_from_index(index, &list, &n, err) : names_from_folder(s, &list, &n, err);
    hs_free(index);
    if (r == 0) {
        qsort(list, n, sizeof *list, by_name);
        s->files = hs_calloc(n, sizeof *s->files);
        r = s->files ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", s->path);
    }
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        r = hs__file_open(s, list[i], &s->files[i], err);
        if (r == 0) {
            s->n_files++;
            r = parse_file(s, i, err);
        }
    }
    for (uint32_t i = 0; i < n; i++)
        hs_free(list[i]);
    hs_free(list);
    return r;
}

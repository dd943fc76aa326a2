/* gzip.c - see gzip.h. The only file that knows zlib. */
#include "cli/gzip.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"

#define GZIP_WINDOW (15 + 16) /* the largest window; + 16 = with gzip's header, not zlib's */
#define MAX_PIECE   (UINT_MAX / 2)

struct hs_gunzip {
    z_stream z;
    const unsigned char *data;
    size_t n;
    bool is_open;   /* inflate has been set up */
    bool in_member; /* one has begun and not ended */
};

struct hs_gzip {
    z_stream z;
    bool is_open;
};

static void *take(void *ctx, unsigned count, unsigned size)
{
    (void)ctx;
    return hs_calloc(count, size);
}

static void give(void *ctx, void *p)
{
    (void)ctx;
    hs_free(p);
}

bool hs_is_gzip(const void *data, size_t n)
{
    return n >= 2 && !memcmp(data, "\x1f\x8b", 2);
}

bool hs_is_gzip_name(const char *path)
{
    size_t n = strlen(path);
    return n > 3 && !strcmp(path + n - 3, ".gz");
}

int hs_gunzip_create(const void *data, size_t n, hs_gunzip **ret)
{
    hs_gunzip *z = hs_calloc(1, sizeof *z);
    if (!z)
        return -ENOMEM;
    z->data = data;
    z->n = n;
    z->z.zalloc = take;
    z->z.zfree = give;
    z->is_open = inflateInit2(&z->z, GZIP_WINDOW) == Z_OK;
    z->in_member = true;
    if (!z->is_open) {
        hs_gunzip_destroy(&z);
        return -ENOMEM;
    }
    *ret = z;
    return 0;
}

static size_t place(const hs_gunzip *z)
{
    return (size_t)(z->z.next_in ? z->z.next_in - z->data : 0);
}

/* Runs inflate once; its answer. */
static int step(hs_gunzip *z, unsigned char *to, size_t cap, size_t *ret_n)
{
    size_t at = place(z), left = z->n - at;
    z->z.next_in = (unsigned char *)z->data + at; /* zlib's interface lacks a const; it only reads */
    z->z.avail_in = (unsigned)(left < MAX_PIECE ? left : MAX_PIECE);
    z->z.next_out = to;
    z->z.avail_out = (unsigned)(cap < MAX_PIECE ? cap : MAX_PIECE);
    int r = inflate(&z->z, Z_NO_FLUSH);
    *ret_n = (size_t)(z->z.next_out - to);
    return r;
}

int hs_gunzip_read(hs_gunzip *z, const char *where, void *to, size_t cap, size_t *ret_n, hs_err *err)
{
    size_t n = 0;
    while (n == 0) {
        if (!z->in_member && place(z) == z->n)
            break;
        if (!z->in_member && inflateReset(&z->z) != Z_OK)
            return hs_err_set(err, -EINVAL, "%s: cannot be read", where);
        z->in_member = true;
        int r = step(z, to, cap, &n);
        z->in_member = r != Z_STREAM_END;
        if (r == Z_MEM_ERROR)
            return hs_err_set(err, -ENOMEM, "%s: out of memory to unpack it", where);
        if (r == Z_BUF_ERROR || (r == Z_OK && n == 0 && place(z) == z->n))
            return hs_err_set(err, -EBADMSG, "%s: the gzip data ends too early, after %zu bytes", where, z->n);
        if (r != Z_OK && r != Z_STREAM_END)
            return hs_err_set(err, -EBADMSG, "%s: the gzip data is damaged at byte %zu: %s", where, place(z),
                              z->z.msg ? z->z.msg : "it asks for a dictionary");
    }
    *ret_n = n;
    return 0;
}

void hs_gunzip_destroy(hs_gunzip **z)
{
    if (!*z)
        return;
    if ((*z)->is_open)
        inflateEnd(&(*z)->z);
    hs_free(*z);
    *z = NULL;
}

int hs_gzip_create(hs_gzip **ret)
{
    hs_gzip *z = hs_calloc(1, sizeof *z);
    if (!z)
        return -ENOMEM;
    z->z.zalloc = take;
    z->z.zfree = give;
    z->is_open = deflateInit2(&z->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK;
    if (!z->is_open) {
        hs_gzip_destroy(&z);
        return -ENOMEM;
    }
    *ret = z;
    return 0;
}

size_t hs_gzip_write(hs_gzip *z, const void **data, size_t *n, bool is_last, void *to, size_t cap, bool *ret_more)
{
    size_t piece = *n < MAX_PIECE ? *n : MAX_PIECE;
    z->z.next_in = (unsigned char *)*data; /* read only */
    z->z.avail_in = (unsigned)piece;
    z->z.next_out = to;
    z->z.avail_out = (unsigned)(cap < MAX_PIECE ? cap : MAX_PIECE);
    int r = deflate(&z->z, is_last && piece == *n ? Z_FINISH : Z_NO_FLUSH);
    *data = z->z.next_in;
    *n -= piece - z->z.avail_in;
    *ret_more = is_last ? r != Z_STREAM_END : *n > 0;
    return (size_t)(z->z.next_out - (unsigned char *)to);
}

void hs_gzip_destroy(hs_gzip **z)
{
    if (!*z)
        return;
    if ((*z)->is_open)
        deflateEnd(&(*z)->z);
    hs_free(*z);
    *z = NULL;
}

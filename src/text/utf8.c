/*
 * utf8.c - UTF-8 by the byte.
 * A broken prefix is "maximal" in Unicode's sense (and that of Rust's lossy conversion): the longest begin of some
 * valid character, or one byte if there is none.
 */
#include "text/utf8.h"

#include <string.h>

int hs__utf8_decode(const char *text, size_t len, uint32_t *ret_cp)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned char lead = p[0];
    if (lead < 0x80) {
        if (ret_cp)
            *ret_cp = lead;
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4)
        return -1;
    int n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    /* The second byte's range excludes overlong forms, surrogates and what lies past U+10FFFF. */
    unsigned char lo = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char hi = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    uint32_t cp = lead & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if ((size_t)i >= len)
            return 0;
        if (p[i] < lo || p[i] > hi)
            return -i;
        cp = cp << 6 | (p[i] & 0x3f);
        lo = 0x80;
        hi = 0xbf;
    }
    if (ret_cp)
        *ret_cp = cp;
    return n;
}

size_t hs__utf8_encode(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)((0xf00u >> n & 0xf0) | cp);
    return n;
}

bool hs__utf8_is_valid(const char *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint64_t w;
        if (len - i >= 8 && (memcpy(&w, p + i, 8), (w & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        int n = hs__utf8_decode(p + i, len - i, NULL);
        if (n <= 0)
            return false;
        i += (size_t)n;
    }
    return true;
}

/* Appends the complete characters of p; returns how many bytes at its end are an unfinished one. */
static size_t append_complete(const char *p, size_t len, hs_buf *out)
{
    size_t begin = 0, i = 0;
    while (i < len) {
        int n = hs__utf8_decode(p + i, len - i, NULL);
        if (n == 0)
            break;
        if (n < 0) {
            (void)hs_buf_append(out, p + begin, i - begin);
            (void)hs_buf_puts(out, HS_UTF8_REPLACEMENT);
            begin = i + (size_t)-n;
        }
        i += (size_t)(n < 0 ? -n : n);
    }
    (void)hs_buf_append(out, p + begin, i - begin);
    return len - i;
}

void hs__utf8_push(unsigned char held[4], uint8_t *n_held, const char *p, size_t len, hs_buf *out)
{
    /* A held begin is completed, or broken, by at most three more bytes. */
    while (*n_held && len) {
        held[(*n_held)++] = (unsigned char)*p;
        int n = hs__utf8_decode((const char *)held, *n_held, NULL);
        if (n < 0) {
            /* The new byte does not belong to what was held: it begins afresh. */
            (void)hs_buf_puts(out, HS_UTF8_REPLACEMENT);
            *n_held = 0;
            break;
        }
        p++;
        len--;
        if (n > 0) {
            (void)hs_buf_append(out, held, (size_t)n);
            *n_held = 0;
        }
    }
    if (!len)
        return;
    size_t rest = append_complete(p, len, out);
    memcpy(held, p + len - rest, rest);
    *n_held = (uint8_t)rest;
}

void hs__utf8_flush(uint8_t *n_held, hs_buf *out)
{
    if (*n_held)
        (void)hs_buf_puts(out, HS_UTF8_REPLACEMENT);
    *n_held = 0;
}

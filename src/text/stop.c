/*
 * stop.c - stop strings over a stream.
 *
 * Each string is followed by its own Knuth-Morris-Pratt automaton, byte by byte, so that the result does not depend on
 * how the stream was cut into pieces. The match that is complete first wins; of several that end at the same byte, the
 * longest. Invariant: what is held back is the longest suffix of the stream that begins some stop string, and nothing
 * before it; a UTF-8 character is never cut, since a stop string begins with one.
 */
#include "text/detok.h"

#include <string.h>

#include "base/mem.h"

#define MAX_STOPS    1024
#define MAX_STOP_LEN 65536

typedef struct pattern {
    char *text;
    uint32_t *fail; /* [len]: length of the longest proper border of text[0, i] */
    uint32_t len;
    uint32_t matched; /* bytes of text that the stream ends with */
} pattern;

struct hs_stop {
    pattern *patterns;
    size_t n;
    char *held; /* [longest pattern]; the last n_held bytes of the stream */
    size_t n_held;
    bool hit;
};

static int add_pattern(pattern *p, const char *text, size_t len)
{
    p->text = hs_malloc(len);
    p->fail = hs_calloc(len, sizeof *p->fail);
    if (!p->text || !p->fail)
        return -ENOMEM;
    memcpy(p->text, text, len);
    p->len = (uint32_t)len;
    for (uint32_t i = 1, k = 0; i < len; i++) {
        while (k && text[i] != text[k])
            k = p->fail[k - 1];
        k += text[i] == text[k];
        p->fail[i] = k;
    }
    return 0;
}

int hs_stop_create(const char *const *stop, size_t n, hs_stop **ret_stop, hs_err *err)
{
    if (n < 1 || n > MAX_STOPS)
        return hs_err_set(err, -EINVAL, "%zu stop strings; 1 to %d are possible", n, MAX_STOPS);
    hs_stop *s = hs_calloc(1, sizeof *s);
    size_t longest = 0;
    int r = s && (s->patterns = hs_calloc(n, sizeof *s->patterns)) ? 0 : -ENOMEM;
    for (size_t i = 0; i < n && r == 0; i++) {
        size_t len = strlen(stop[i]);
        if (len < 1 || len > MAX_STOP_LEN) {
            r = hs_err_set(err, -EINVAL, "stop string %zu has %zu bytes; 1 to %d are possible", i + 1, len,
                           MAX_STOP_LEN);
            break;
        }
        s->n++;
        r = add_pattern(&s->patterns[i], stop[i], len);
        longest = len > longest ? len : longest;
    }
    if (r == 0 && !(s->held = hs_malloc(longest)))
        r = -ENOMEM;
    if (r == -ENOMEM)
        hs_err_set(err, r, "stop strings: out of memory");
    if (r < 0) {
        hs_stop_destroy(&s);
        return r;
    }
    *ret_stop = s;
    return 0;
}

void hs_stop_destroy(hs_stop **stop)
{
    hs_stop *s = *stop;
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++) {
        hs_free(s->patterns[i].text);
        hs_free(s->patterns[i].fail);
    }
    hs_free(s->patterns);
    hs_free(s->held);
    hs_free(s);
    *stop = NULL;
}

/* One byte on. Returns how many bytes at the stream's end begin a stop string; *ret_full: length of the longest one
 * that is complete, or 0. */
static size_t step(hs_stop *s, char c, size_t *ret_full)
{
    size_t keep = 0, full = 0;
    for (size_t i = 0; i < s->n; i++) {
        pattern *p = &s->patterns[i];
        uint32_t k = p->matched;
        while (k && p->text[k] != c)
            k = p->fail[k - 1];
        k += p->text[k] == c;
        p->matched = k;
        keep = k > keep ? k : keep;
        if (k == p->len && k > full)
            full = k;
    }
    *ret_full = full;
    return keep;
}

bool hs_stop_push(hs_stop *s, const char *text, size_t len, hs_buf *out)
{
    if (s->hit || !len)
        return s->hit;
    size_t used = 0, full = 0, keep = 0;
    while (used < len && !full)
        keep = step(s, text[used++], &full);
    s->hit = full > 0;

    /* What is held and text[0, used) are one stream: all of it goes on, but for its last bytes. */
    size_t go = s->n_held + used - (s->hit ? full : keep);
    size_t go_held = go < s->n_held ? go : s->n_held, go_text = go - go_held;
    (void)hs_buf_append(out, s->held, go_held);
    (void)hs_buf_append(out, text, go_text);
    s->n_held -= go_held;
    if (s->hit) {
        s->n_held = 0;
        return true;
    }
    memmove(s->held, s->held + go_held, s->n_held);
    memcpy(s->held + s->n_held, text + go_text, used - go_text);
    s->n_held += used - go_text;
    return false;
}

bool hs_stop_is_hit(const hs_stop *s)
{
    return s->hit;
}

void hs_stop_flush(hs_stop *s, hs_buf *out)
{
    if (!s->hit)
        (void)hs_buf_append(out, s->held, s->n_held);
    s->n_held = 0;
    for (size_t i = 0; i < s->n; i++)
        s->patterns[i].matched = 0;
}

/* rooms: server, max_len: 2048 */
/*
 * fuzz_http.c - requests from bytes, as a connection feeds them: whatever the pieces in which they arrive, the messages
 * are the same. The first byte of the input chooses the pieces.
 */
#include <string.h>

#include "fuzz.h"
#include "server/server_int.h"

#define MAX_HEADER 700
#define MAX_BODY   300
#define MAX_BUDGET 500

static void print_field(hs_buf *out, const char *name, const hs__field *f)
{
    FUZZ_CHECK(f->len < sizeof f->text && f->text[f->len] == '\0');
    hs_buf_printf(out, " %s %d%d%d ", name, f->present, f->repeated, f->overlong);
    if (!f->repeated)
        hs_buf_append(out, f->text, f->len);
}

static void print_head(hs_buf *out, const hs__head *h)
{
    int status;
    FUZZ_CHECK(h->path[0] == '/' && strlen(h->path) <= h->path_len && h->path_len < sizeof h->path);
    hs_buf_printf(out, "\nHEAD %s ", h->method);
    hs_buf_append(out, h->path, h->path_len);
    hs_buf_printf(out, " %llu %d%d%d%d", (unsigned long long)h->content_length, h->chunked, h->has_length, h->http10,
                  h->keep_alive);
    print_field(out, "host", &h->host);
    print_field(out, "origin", &h->origin);
    print_field(out, "authorization", &h->authorization);
    print_field(out, "content-type", &h->content_type);
    print_field(out, "expect", &h->expect);
    size_t route = hs__route_find(h, &status);
    hs_buf_printf(out, " route %zu %d", route, status);
    hs_buf_printf(out, " local %d %d", hs__host_is_loopback(h->host.text), hs__origin_is_loopback(h->origin.text));
}

static void print_body(hs_buf *out, const hs__http *h)
{
    FUZZ_CHECK(h->body.len <= MAX_BODY);
    FUZZ_CHECK(h->head.chunked || h->body.len == h->head.content_length);
    hs_buf_puts(out, "\nDONE ");
    hs_buf_append(out, h->body.data ? h->body.data : "", h->body.len);
}

/* All messages among the bytes from *at to have, printed. Returns the last event. */
static hs__http_event read_messages(hs__http *h, const char *data, size_t have, size_t *at, hs_buf *out)
{
    for (;;) {
        size_t used;
        hs__http_event ev = hs__http_feed(h, data + *at, have - *at, &used);
        FUZZ_CHECK(used <= have - *at);
        *at += used;
        if (ev == HS__HTTP_HEAD) {
            print_head(out, &h->head);
        } else if (ev == HS__HTTP_DONE) {
            print_body(out, h);
            hs__http_next(h);
        } else {
            FUZZ_CHECK(ev == HS__HTTP_ERROR || *at == have);
            return ev;
        }
    }
}

static void transcribe(const char *data, size_t size, uint32_t seed, hs_buf *out)
{
    hs__budget budget = {.max = MAX_BUDGET};
    hs__http_event ev = HS__HTTP_MORE;
    size_t at = 0, have = 0;
    hs__http h;
    hs__http_init(&h, MAX_HEADER, MAX_BODY, &budget);
    while (have < size && ev != HS__HTTP_ERROR) {
        uint32_t piece = 1 + (seed >> 16) % (1 + seed % 40);
        seed = seed * 1664525 + 1013904223;
        have = piece < size - have ? have + piece : size;
        ev = read_messages(&h, data, have, &at, out);
        FUZZ_CHECK(budget.used <= budget.max);
    }
    if (ev == HS__HTTP_ERROR) {
        size_t used;
        FUZZ_CHECK(h.status >= 400 && h.status < 600 && h.sentence && *h.sentence);
        FUZZ_CHECK(hs__http_feed(&h, data, size, &used) == HS__HTTP_ERROR && used == 0);
        hs_buf_puts(out, "\nERROR");
    }
    hs__http_deinit(&h);
    FUZZ_CHECK(budget.used == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs_buf whole, pieces;
    if (!size)
        return 0;
    hs_buf_init(&whole, 1u << 20);
    hs_buf_init(&pieces, 1u << 20);
    transcribe((const char *)data + 1, size - 1, UINT32_MAX, &whole);
    transcribe((const char *)data + 1, size - 1, data[0], &pieces);
    FUZZ_CHECK(whole.len == pieces.len && (!whole.len || !memcmp(whole.data, pieces.data, whole.len)));
    hs_buf_deinit(&whole);
    hs_buf_deinit(&pieces);
    return 0;
}

/*
 * http.c - requests from bytes.
 * Owns: head and body of the message being read. Leaves to others: what is done with it, and time limits.
 * Invariants: header_bytes <= max_header, body.len <= max_body, reserved is what the budget counts for this body.
 * llhttp runs in its strict-length mode: a message with both Content-Length and Transfer-Encoding is refused.
 */
#include "server/http.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define MAX_FRAMING 8 /* bytes on the wire for one of the body; a chunk of one byte takes six */

bool hs__budget_take(hs__budget *b, uint64_t n)
{
    if (n > b->max - b->used)
        return false;
    b->used += n;
    return true;
}

void hs__budget_give(hs__budget *b, uint64_t n)
{
    b->used -= n;
}

static int fail(hs__http *h, int status, const char *sentence)
{
    h->status = status;
    h->sentence = sentence;
    return -1;
}

static int count_header(hs__http *h, size_t n)
{
    h->header_bytes += n;
    if (h->header_bytes > h->max_header)
        return fail(h, 431, "the request's header is larger than server.max_header");
    return 0;
}

static int on_begin(llhttp_t *p)
{
    hs__http *h = p->data;
    h->begun = true;
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    hs__http *h = p->data;
    hs__head *head = &h->head;
    for (size_t i = 0; i < n && !h->in_query; i++) {
        if (at[i] == '?' || at[i] == '#')
            h->in_query = true;
        else if (head->path_len + 1u < sizeof head->path)
            head->path[head->path_len++] = at[i];
        else
            head->path_overlong = true;
    }
    return count_header(h, n);
}

static hs__field *known_field(hs__http *h)
{
    static const struct {
        const char *name;
        size_t offset;
    } known[] = {
        {"host", offsetof(hs__head, host)},
        {"origin", offsetof(hs__head, origin)},
        {"authorization", offsetof(hs__head, authorization)},
        {"content-type", offsetof(hs__head, content_type)},
        {"expect", offsetof(hs__head, expect)},
    };
    if (h->name_overlong)
        return NULL;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i].name) == h->name_len && !memcmp(known[i].name, h->name, h->name_len))
            return (hs__field *)(void *)((char *)&h->head + known[i].offset);
    return NULL;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    hs__http *h = p->data;
    for (size_t i = 0; i < n; i++) {
        if (h->name_len == sizeof h->name) {
            h->name_overlong = true;
            break;
        }
        char c = at[i];
        h->name[h->name_len++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return count_header(h, n);
}

static int on_field_complete(llhttp_t *p)
{
    hs__http *h = p->data;
    h->field = h->head_done ? NULL : known_field(h); /* trailers change nothing */
    h->name_len = 0;
    h->name_overlong = false;
    if (h->field && h->field->present)
        h->field->repeated = true;
    if (h->field)
        h->field->present = true;
    return count_header(h, 4); /* colon, blank, line end */
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    hs__http *h = p->data;
    hs__field *f = h->field;
    if (f && !f->repeated && !h->head_done) {
        size_t room = sizeof f->text - 1 - f->len;
        size_t take = n < room ? n : room;
        f->overlong |= take < n;
        memcpy(f->text + f->len, at, take);
        f->len = (uint16_t)(f->len + take);
        f->text[f->len] = '\0';
    }
    return count_header(h, n);
}

/* Blanks at the end do not belong to the value. */
static int on_value_complete(llhttp_t *p)
{
    hs__http *h = p->data;
    hs__field *f = h->field;
    if (!f || f->repeated || h->head_done)
        return 0;
    while (f->len && (f->text[f->len - 1] == ' ' || f->text[f->len - 1] == '\t'))
        f->text[--f->len] = '\0';
    return 0;
}

/* The target must be a path; proxies' absolute form is not served. */
static int check_head(hs__http *h)
{
    hs__head *head = &h->head;
    if (head->path_overlong)
        return fail(h, 414, "the request's path is too long");
    if (head->path[0] != '/')
        return fail(h, 400, "the request's target must be a path");
    if (h->parser.http_major != 1)
        return fail(h, 505, "HTTP/1.0 and HTTP/1.1 are spoken here");
    if (head->host.repeated)
        return fail(h, 400, "the request has more than one Host field");
    if (!head->http10 && !head->host.present)
        return fail(h, 400, "the request has no Host field");
    if (head->content_length > h->max_body)
        return fail(h, 413, "the request's body is larger than server.max_body");
    return 0;
}

static int on_head_complete(llhttp_t *p)
{
    hs__http *h = p->data;
    hs__head *head = &h->head;
    const char *method = llhttp_method_name((llhttp_method_t)p->method);
    snprintf(head->method, sizeof head->method, "%s", strlen(method) < sizeof head->method ? method : "?");
    head->http10 = p->http_minor == 0;
    head->chunked = (p->flags & F_CHUNKED) != 0;
    head->has_length = (p->flags & F_CONTENT_LENGTH) != 0;
    head->content_length = head->has_length ? p->content_length : 0;
    head->keep_alive = llhttp_should_keep_alive(p) != 0;
    p->upgrade = 0; /* offers of other protocols are declined by answering in this one */
    if (check_head(h) < 0)
        return -1;
    h->head_done = true;
    h->expect_head = true;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    hs__http *h = p->data;
    uint64_t need = h->body.len + n;
    if (need > h->max_body)
        return fail(h, 413, "the request's body is larger than server.max_body");
    if (need > h->reserved) {
        uint64_t more = need < h->max_body / 2 ? need : h->max_body - h->reserved;
        if (!hs__budget_take(h->budget, more))
            return fail(h, 503, "too many large requests at the same time; try again");
        h->reserved += more;
    }
    if (hs_buf_append(&h->body, at, n) < 0)
        return fail(h, 503, "out of memory");
    return 0;
}

static int on_complete(llhttp_t *p)
{
    hs__http *h = p->data;
    h->is_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_head_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void hs__http_init(hs__http *h, uint64_t max_header, uint64_t max_body, hs__budget *budget)
{
    *h = (hs__http){.max_header = max_header, .max_body = max_body, .budget = budget};
    hs_buf_init(&h->body, max_body);
    llhttp_init(&h->parser, HTTP_REQUEST, &settings);
    h->parser.data = h;
}

static void drop_message(hs__http *h)
{
    hs_buf_deinit(&h->body);
    hs__budget_give(h->budget, h->reserved);
    h->reserved = 0;
}

void hs__http_deinit(hs__http *h)
{
    drop_message(h);
}

void hs__http_next(hs__http *h)
{
    uint64_t max_header = h->max_header, max_body = h->max_body;
    hs__budget *budget = h->budget;
    drop_message(h);
    hs__http_init(h, max_header, max_body, budget);
}

static hs__http_event parse_error(hs__http *h)
{
    if (!h->status)
        fail(h, 400, llhttp_get_error_reason(&h->parser));
    if (!h->sentence || !*h->sentence)
        h->sentence = "the request is not HTTP";
    return HS__HTTP_ERROR;
}

hs__http_event hs__http_feed(hs__http *h, const char *data, size_t len, size_t *ret_used)
{
    *ret_used = 0;
    if (h->status)
        return HS__HTTP_ERROR;
    if (!len && !h->head_done)
        return HS__HTTP_MORE;
    if (llhttp_get_errno(&h->parser) == HPE_PAUSED)
        llhttp_resume(&h->parser);
    enum llhttp_errno e = llhttp_execute(&h->parser, data, len);
    if (e != HPE_OK && e != HPE_PAUSED)
        return parse_error(h);
    *ret_used = e == HPE_PAUSED ? (size_t)(llhttp_get_error_pos(&h->parser) - data) : len;
    h->used += *ret_used;
    if (h->used > h->max_header + MAX_FRAMING * h->max_body) {
        fail(h, 413,
             "the request is larger than server.max_header and server.max_body allow, with its chunks' framing");
        return HS__HTTP_ERROR;
    }
    if (len)
        h->begun = true;
    if (h->is_done)
        return HS__HTTP_DONE;
    if (h->expect_head) {
        h->expect_head = false;
        return HS__HTTP_HEAD;
    }
    return HS__HTTP_MORE;
}

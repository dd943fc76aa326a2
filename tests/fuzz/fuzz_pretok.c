/* rooms: text, timeout: 5 */
/*
 * fuzz_pretok.c - a "pre_tokenizer" and its split patterns, at work on a text. Input: the JSON, or a bare pattern if it
 * does not begin with '{'; then the text.
 *
 * Pieces come in order and none is empty; put together again they are the text, but for what "Removed" takes away and
 * the blank that ByteLevel puts in front.
 */
#include "base/mem.h"
#include "parts.h"
#include "text/pretok.h"
#include "text/utf8.h"

typedef struct pieces {
    hs_buf all;
    bool exact; /* nothing is taken away or put in */
} pieces;

static int on_piece(void *ctx, const char *piece, size_t len)
{
    pieces *p = ctx;
    FUZZ_CHECK(len > 0);
    return hs_buf_append(&p->all, piece, len);
}

static void wrap_pattern(const char *pattern, size_t len, json_t **ret)
{
    json_t *text = json_stringn(pattern, len);
    *ret = text ? json_pack("{s:s, s:[{s:s, s:s, s:{s:o}}, {s:s, s:b, s:b}]}", "type", "Sequence", "pretokenizers",
                            "type", "Split", "behavior", "Isolated", "pattern", "Regex", text, "type", "ByteLevel",
                            "add_prefix_space", 0, "use_regex", 0)
                : NULL;
}

static void split(const hs__pretok *p, const char *text, size_t len)
{
    pieces out = {.exact = true};
    hs_buf valid;
    hs__regex_scratch *scratch = NULL;
    hs_err err = {0};
    unsigned char held[4];
    uint8_t n_held = 0;
    hs_buf_init(&valid, 1u << 20);
    hs_buf_init(&out.all, 1u << 20);
    hs__utf8_push(held, &n_held, text, len, &valid);
    hs__utf8_flush(&n_held, &valid);
    for (size_t i = 0; i < p->n; i++)
        out.exact &= p->steps[i].regex && p->steps[i].behavior != HS__REMOVED;
    FUZZ_CHECK(hs__regex_scratch_create(valid.len, &scratch, &err) == 0);
    int r = hs__pretok_run(p, scratch, valid.data, valid.len, on_piece, &out, &err);
    FUZZ_CHECK(r == 0 || (r == err.code && *err.text));
    if (r == 0 && out.exact)
        FUZZ_CHECK(out.all.len == valid.len && (!valid.len || !memcmp(out.all.data, valid.data, valid.len)));
    hs__regex_scratch_destroy(&scratch);
    hs_buf_deinit(&out.all);
    hs_buf_deinit(&valid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json_text;
    size_t n = take_part(&data, &size, &json_text);
    json_t *json = NULL;
    hs__pretok p;
    hs_err err = {0};
    if (n && json_text[0] == '{') {
        if (hs_json_load(json_text, n, "pre_tokenizer", &json, &err) < 0)
            return 0;
    } else {
        wrap_pattern(json_text, n, &json);
    }
    int r = json ? hs__pretok_parse(&p, json, "tokenizer.json", &err) : -EINVAL;
    FUZZ_CHECK(r == 0 || !json || (r == err.code && *err.text));
    if (r == 0) {
        split(&p, (const char *)data, size);
        hs__pretok_deinit(&p);
    }
    json_decref(json);
    return 0;
}

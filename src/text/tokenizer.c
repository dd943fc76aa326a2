/*
 * tokenizer.c - encoding and decoding. How a text becomes ids:
 *
 *   bytes -> made valid UTF-8 -> added tokens out of the raw text -> the rest normalised -> added tokens out of that
 *         -> pre-tokeniser -> BPE per piece
 *
 * A SentencePiece-like tokenizer prepares blanks where it normalises or just before it cuts, and cuts at blanks.
 *
 * Owns the scratch of one call (struct encoder); the tokenizer itself is read only.
 */
#include "text/tokenizer_int.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "text/bpe.h"
#include "text/detok.h"
#include "text/utf8.h"

#define MAX_FILE (128u << 20)
#define MAX_TEXT (256u << 20)

typedef struct encoder {
    const hs_tokenizer *t;
    bool specials;
    bool begun; /* something is encoded already */
    hs__regex_scratch *scratch;
    hs__bpe bpe;
    hs__ids ids;
    hs_err *err;
} encoder;

hs_tokenizer *hs__tokenizer_new(void)
{
    hs_tokenizer *t = hs_calloc(1, sizeof *t);
    if (t)
        t->unk = t->bos = HS_NO_TOKEN;
    return t;
}

int hs_tokenizer_load(const char *dir, hs_tokenizer **ret_tokenizer, hs_err *err)
{
    char *text = NULL, *path = hs_asprintf("%s/tokenizer.json", dir);
    size_t len = 0;
    hs_tokenizer *t = hs__tokenizer_new();
    int r = path && t ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", dir);
    if (r == 0)
        r = hs_file_read(path, MAX_FILE, &text, &len, err);
    if (r == 0)
        r = hs__tokenizer_parse(t, text, len, path, err);
    hs_free(text);
    hs_free(path);
    if (r < 0) {
        hs_tokenizer_destroy(&t);
        return r;
    }
    *ret_tokenizer = t;
    return 0;
}

void hs_tokenizer_destroy(hs_tokenizer **tokenizer)
{
    hs_tokenizer *t = *tokenizer;
    if (!t)
        return;
    hs__vocab_deinit(&t->vocab);
    hs__added_deinit(&t->added);
    hs__pretok_deinit(&t->pretok);
    hs_free(t);
    *tokenizer = NULL;
}

uint32_t hs_tokenizer_size(const hs_tokenizer *t)
{
    return t->vocab.n_tokens;
}

uint64_t hs_tokenizer_bytes(const hs_tokenizer *t)
{
    return sizeof *t + hs__vocab_bytes(&t->vocab) + t->added.bytes + hs__pretok_bytes(&t->pretok);
}

const char *hs_tokenizer_token_bytes(const hs_tokenizer *t, uint32_t id, size_t *ret_len)
{
    if (id >= t->vocab.n_tokens || !t->vocab.tokens[id].exists) {
        *ret_len = 0;
        return NULL;
    }
    *ret_len = t->vocab.tokens[id].len;
    return t->vocab.bytes + t->vocab.tokens[id].offset;
}

uint32_t hs_tokenizer_bos(const hs_tokenizer *t)
{
    return t->bos;
}

bool hs_tokenizer_is_special(const hs_tokenizer *t, uint32_t id)
{
    return id < t->vocab.n_tokens && t->vocab.tokens[id].special;
}

uint32_t hs_tokenizer_find_added(const hs_tokenizer *t, const char *text)
{
    const hs__added *a = hs__added_find(&t->added, text);
    return a ? a->id : HS_NO_TOKEN;
}

static int out_of_memory(hs_err *err)
{
    return hs_err_set(err, -ENOMEM, "tokenizer: out of memory");
}

static int encode_piece(void *ctx, const char *piece, size_t len)
{
    encoder *e = ctx;
    int r = hs__bpe_encode(&e->bpe, piece, len, &e->ids);
    if (r == -E2BIG)
        return hs_err_set(e->err, r, "tokenizer: a word of %zu bytes; at most %u are possible", len, HS__MAX_PIECE);
    return r < 0 ? out_of_memory(e->err) : 0;
}

static int encode_pieces(encoder *e, const char *text, size_t len)
{
    if (e->t->spm.on)
        return hs__spm_run(&e->t->spm, text, len, encode_piece, e);
    return hs__pretok_run(&e->t->pretok, e->scratch, text, len, encode_piece, e, e->err);
}

/* A stretch of text, and which of its bytes are input (NULL: none). */
typedef struct stretch {
    const char *text;
    const uint8_t *is_input;
    size_t len;
} stretch;

static stretch part(const stretch *s, size_t from, size_t to)
{
    return (stretch){s->text + from, s->is_input ? s->is_input + from : NULL, to - from};
}

static int encode_plain(encoder *e, stretch s)
{
    char *owned = NULL;
    if (e->t->spm.is_metaspace && hs__spm_prepare(&e->t->spm, !e->begun, s.text, s.len, &owned, &s.len) < 0)
        return out_of_memory(e->err);
    e->begun = true;
    int r = encode_pieces(e, owned ? owned : s.text, s.len);
    hs_free(owned);
    return r;
}

/* Takes added tokens of one kind out of s and gives what lies between them to `rest`. */
static int extract(encoder *e, bool normalized, stretch s, int (*rest)(encoder *e, stretch s))
{
    size_t pos = 0, done = 0, begin, end;
    uint32_t id;
    while (e->specials &&
           hs__added_next(&e->t->added, normalized, s.text, s.is_input, s.len, &pos, done, &begin, &end, &id)) {
        int r = begin > done ? rest(e, part(&s, done, begin)) : 0;
        if (r < 0)
            return r;
        if (hs__ids_append(&e->ids, id) < 0)
            return out_of_memory(e->err);
        e->begun = true;
        done = end;
    }
    return done < s.len ? rest(e, part(&s, done, s.len)) : 0;
}

/* s as it is looked through for normalised tokens; *ret_owned (hs_free) holds it unless it is s's own text. */
static int prepare(const encoder *e, const hs__spm *spm, const stretch *s, stretch *ret, char **ret_owned)
{
    *ret_owned = NULL;
    if (!spm->on || spm->is_metaspace)
        return hs__normalize(&e->t->normalizer, s->text, s->len, &ret->text, &ret->len, ret_owned);
    int r = hs__spm_prepare(spm, !e->begun, s->text, s->len, ret_owned, &ret->len);
    ret->text = *ret_owned;
    return r;
}

/* Which bytes of `to`, which was made of `from`, are input (hs_free): each run of input and of other text is prepared
 * by itself, to see how long it becomes, the last one first. What is left at the begin is a blank put in front. Where
 * characters of two runs became one the lengths do not add up, and all of it counts as input. */
static int map_input(const encoder *e, const stretch *from, const stretch *to, uint8_t **ret)
{
    hs__spm bare = e->t->spm;
    bare.prefix = HS__PREFIX_NEVER;
    uint8_t *map = hs_malloc(to->len + 1);
    size_t left = to->len, begin, end = from->len;
    if (!map)
        return -ENOMEM;
    for (; end > 0; end = begin) {
        const uint8_t kind = from->is_input[end - 1];
        for (begin = end; begin > 0 && from->is_input[begin - 1] == kind;)
            begin--;
        stretch run = part(from, begin, end), made;
        char *owned;
        if (prepare(e, &bare, &run, &made, &owned) < 0) {
            hs_free(map);
            return -ENOMEM;
        }
        hs_free(owned);
        if (made.len > left)
            break;
        left -= made.len;
        memset(map + left, kind, made.len);
    }
    if (end == 0 && left == 1 && bare.on)
        map[0] = 0;
    else if (end > 0 || left > 0)
        memset(map, 1, to->len);
    *ret = map;
    return 0;
}

static int encode_raw_rest(encoder *e, stretch s)
{
    char *owned;
    uint8_t *map = NULL;
    stretch made = {0};
    int r = prepare(e, &e->t->spm, &s, &made, &owned);
    made.is_input = s.is_input;
    if (r == 0 && s.is_input && owned) {
        r = map_input(e, &s, &made, &map);
        made.is_input = map;
    }
    r = r < 0 ? out_of_memory(e->err) : extract(e, true, made, encode_plain);
    hs_free(owned);
    hs_free(map);
    return r;
}

/* *ret_text is text itself, or *fixed's data, if it was not UTF-8. */
static int make_valid(const char *text, size_t len, hs_buf *fixed, const char **ret_text, size_t *ret_len)
{
    unsigned char held[4];
    uint8_t n_held = 0;
    *ret_text = text;
    *ret_len = len;
    if (hs__utf8_is_valid(text, len))
        return 0;
    hs__utf8_push(held, &n_held, text, len, fixed);
    hs__utf8_flush(&n_held, fixed);
    *ret_text = fixed->data;
    *ret_len = fixed->len;
    return fixed->failed;
}

/* is_input needs valid text. */
static int encode(encoder *e, stretch s, uint32_t **ret_ids, size_t *ret_n)
{
    const hs_tokenizer *t = e->t;
    if (s.len > MAX_TEXT)
        return hs_err_set(e->err, -E2BIG, "tokenizer: the text has %zu bytes; at most %u are possible", s.len,
                          MAX_TEXT);
    e->bpe = (hs__bpe){.vocab = &t->vocab,
                       .unk = t->unk,
                       .fuse_unk = t->fuse_unk,
                       .by_character = t->spm.on,
                       .ignore_merges = t->ignore_merges};
    hs_buf fixed;
    hs_buf_init(&fixed, 3 * (size_t)MAX_TEXT);
    int r = hs__regex_scratch_create(s.len, &e->scratch, e->err);
    if (r == 0 && !s.is_input && make_valid(s.text, s.len, &fixed, &s.text, &s.len) < 0)
        r = out_of_memory(e->err);
    if (r == 0)
        r = extract(e, false, s, encode_raw_rest);
    hs_buf_deinit(&fixed);
    hs__regex_scratch_destroy(&e->scratch);
    hs__bpe_deinit(&e->bpe);
    if (r == 0 && !e->ids.p && !(e->ids.p = hs_calloc(1, sizeof *e->ids.p)))
        r = out_of_memory(e->err);
    if (r < 0) {
        hs_free(e->ids.p);
        return r;
    }
    *ret_ids = e->ids.p;
    *ret_n = e->ids.n;
    return 0;
}

int hs_tokenizer_encode(const hs_tokenizer *t, const char *text, size_t len, bool specials, uint32_t **ret_ids,
                        size_t *ret_n, hs_err *err)
{
    encoder e = {.t = t, .specials = specials, .err = err};
    return encode(&e, (stretch){.text = text, .len = len}, ret_ids, ret_n);
}

int hs_tokenizer_encode_rendered(const hs_tokenizer *t, const char *text, const uint8_t *is_input, size_t len,
                                 uint32_t **ret_ids, size_t *ret_n, hs_err *err)
{
    encoder e = {.t = t, .specials = true, .err = err};
    if (is_input && !hs__utf8_is_valid(text, len))
        return hs_err_set(err, -EILSEQ, "tokenizer: the rendered text is not valid UTF-8");
    return encode(&e, (stretch){.text = text, .is_input = is_input, .len = len}, ret_ids, ret_n);
}

uint64_t hs_tokenizer_encode_bytes(size_t len)
{
    /* Code points (8) and the text (3) of a normalised stretch, once more the text of a run of it (3), which bytes are
     * input (3), its stand-ins (1), ids in an array that grows by halves (10). */
    uint64_t piece = len < HS__MAX_PIECE ? len : HS__MAX_PIECE;
    return (64u << 10) + HS__REGEX_MAX_HEAP_KIB * 1024ull + piece * HS__BPE_BYTES + (uint64_t)len * 28;
}

int hs_tokenizer_decode(const hs_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special, hs_buf *out,
                        hs_err *err)
{
    hs_detok d;
    hs_detok_init(&d, t);
    d.keeps_special = !skip_special;
    for (size_t i = 0; i < n && !out->failed; i++)
        hs_detok_push(&d, ids[i], out);
    hs_detok_flush(&d, out);
    hs_detok_deinit(&d);
    if (out->failed)
        return hs_err_set(err, out->failed, "tokenizer: the text is too long, or out of memory");
    return 0;
}

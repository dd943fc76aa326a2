/*
 * tokenizer_gguf.c - the vocabulary of a GGUF file to a tokenizer: "gpt2", byte-level BPE whose pre-tokenizer goes by a
 * name, and "llama", SentencePiece-like with scores for merges.
 *
 * The file has one list of tokens. Control, unknown and user-defined ones are added tokens; the first two are special,
 * and text becomes them only as added tokens, so that no merge can make one. Unused tokens do not exist. Of several
 * tokens with the same text, text becomes the first.
 */
#include <string.h>

#include "base/mem.h"
#include "text/gguf_pre.h"
#include "text/tokenizer_int.h"
#include "text/utf8.h"

enum { UNDEFINED, NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE, N_TYPES };

/* Without types, the ids that the file names are control tokens. */
static int type_of(const hs_vocab_data *v, uint32_t id)
{
    if (v->token_type)
        return v->token_type[id];
    if (id == v->unknown)
        return UNKNOWN;
    return id == v->bos || id == v->eos || id == v->eot || id == v->eom ? CONTROL : NORMAL;
}

static bool is_added(int type)
{
    return type == UNKNOWN || type == CONTROL || type == USER_DEFINED;
}

static int add_token(hs_tokenizer *t, const hs_vocab_data *v, uint32_t id, const char *where, hs_err *err)
{
    const hs_bytes *text = &v->tokens[id];
    int type = type_of(v, id);
    if (type < 0 || type >= N_TYPES)
        return hs_err_set(err, -EINVAL, "%s: token %u: type %d is not known", where, id, type);
    if (type == UNUSED || type == UNKNOWN || type == CONTROL)
        return 0;
    int r = hs__vocab_add(&t->vocab, text->data, text->len, id);
    if (r == -EEXIST && type != USER_DEFINED)
        r = hs__vocab_override(&t->vocab, text->data, text->len, id, false);
    if (r == -EEXIST)
        r = 0;
    if (r < 0)
        return hs_err_set(err, r, "%s: token %u: %s", where, id, hs_strerror(r));
    if (t->spm.on && type == BYTE && t->vocab.tokens[id].kind != HS__BYTE)
        return hs_err_set(err, -EINVAL, "%s: token %u: a byte is written like <0x0A>", where, id);
    return 0;
}

static int load_tokens(hs_tokenizer *t, const hs_vocab_data *v, const char *where, hs_err *err)
{
    int r = hs__vocab_init(&t->vocab, t->spm.on ? HS__BLANK_MARK : HS__BYTE_ALPHABET, v->n_tokens, err);
    if (r < 0)
        hs_err_prefix(err, "%s", where);
    for (uint32_t i = 0; i < v->n_tokens && r == 0; i++)
        r = add_token(t, v, i, where, err);
    return r;
}

/* Empty and broken ones cannot be found in a text, whose characters are whole; they exist all the same. */
static int load_added(hs_tokenizer *t, const hs_vocab_data *v, const char *where, hs_err *err)
{
    static const hs__normalizer none;
    size_t n = 0;
    for (uint32_t i = 0; i < v->n_tokens; i++)
        n += is_added(type_of(v, i));
    int r = hs__added_init(&t->added, n, where, err);
    for (uint32_t i = 0; i < v->n_tokens && r == 0; i++) {
        int type = type_of(v, i);
        const hs_bytes *text = &v->tokens[i];
        hs__added a = {.id = i, .special = type != USER_DEFINED};
        if (!is_added(type))
            continue;
        if (text->len && hs__utf8_is_valid(text->data, text->len))
            r = hs__added_put(&t->added, a, text->data, text->len, &none, &t->vocab, where, err);
        else if ((r = hs__vocab_override(&t->vocab, text->data, text->len, i, a.special)) < 0)
            hs_err_set(err, r, "%s: token %u: %s", where, i, hs_strerror(r));
    }
    if (r == 0)
        hs__added_finish(&t->added);
    return r;
}

/* "left right" of two tokens; scratch has room for all of it. One of tokens that the vocabulary does not have can never
 * be made: files with cut vocabularies have such. */
static int add_merge(hs_tokenizer *t, const hs_bytes *m, uint32_t rank, char *scratch)
{
    const char *blank = m->len ? memchr(m->data, ' ', m->len) : NULL;
    size_t left_len = blank ? (size_t)(blank - m->data) : 0, right_len = blank ? m->len - left_len - 1 : 0;
    if (!left_len || !right_len || memchr(blank + 1, ' ', right_len))
        return -EINVAL;
    char *both = scratch + m->len;
    memcpy(both, m->data, left_len);
    memcpy(both + left_len, blank + 1, right_len);
    uint32_t left = hs__vocab_find_spelled(&t->vocab, m->data, left_len, scratch);
    uint32_t right = hs__vocab_find_spelled(&t->vocab, blank + 1, right_len, scratch);
    uint32_t id = hs__vocab_find_spelled(&t->vocab, both, left_len + right_len, scratch);
    if (left != HS_NO_TOKEN && right != HS_NO_TOKEN && id != HS_NO_TOKEN)
        hs__vocab_add_merge(&t->vocab, left, right, rank, id);
    return 0;
}

static int load_merges(hs_tokenizer *t, const hs_vocab_data *v, const char *where, hs_err *err)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < v->n_merges; i++)
        longest = v->merges[i].len > longest ? v->merges[i].len : longest;
    char *scratch = hs_malloc(2ull * longest + 1);
    int r = hs__vocab_init_merges(&t->vocab, v->n_merges, err);
    if (r < 0)
        hs_err_prefix(err, "%s", where);
    if (r == 0 && !scratch)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    for (uint32_t i = 0; i < v->n_merges && r == 0; i++) {
        r = add_merge(t, &v->merges[i], i, scratch);
        if (r < 0)
            hs_err_set(err, r, "%s: tokenizer.ggml.merges[%u]: two tokens with a blank between them are expected",
                       where, i);
    }
    hs_free(scratch);
    return r;
}

static int load_byte_level(hs_tokenizer *t, const hs_vocab_data *v, bool *ret_bos, const char *where, hs_err *err)
{
    const hs__gguf_pre *pre = hs__gguf_pre_find(v->pre ? v->pre : "default");
    if (!pre) {
        hs_buf names;
        hs_buf_init(&names, 1024);
        hs__gguf_pre_names(&names);
        int r = hs_err_set(err, -ENOTSUP, "%s: the pre-tokenizer %.60s is not supported, only %s", where, v->pre,
                           names.failed ? "others" : names.data);
        hs_buf_deinit(&names);
        return r;
    }
    char place[64] = "pre-tokenizer ";
    strncat(place, pre->name, sizeof place - 1 - strlen(place));
    if (pre->nfc)
        t->normalizer.forms[t->normalizer.n++] = HS__NFC;
    t->ignore_merges = pre->ignore_merges;
    *ret_bos = pre->bos;
    int r = hs__pretok_make(&t->pretok, pre->patterns, place, err);
    if (r < 0)
        return hs_err_prefix(err, "%s", where);
    r = load_tokens(t, v, where, err);
    return r < 0 ? r : load_merges(t, v, where, err);
}

static int load_spm(hs_tokenizer *t, const hs_vocab_data *v, const char *where, hs_err *err)
{
    if (!v->scores)
        return hs_err_set(err, -EINVAL, "%s: tokenizer.ggml.scores is missing", where);
    if (v->remove_extra_whitespaces == 1)
        return hs_err_set(err, -ENOTSUP, "%s: tokenizer.ggml.remove_extra_whitespaces is not supported", where);
    bool prefix = v->add_space_prefix != 0;
    t->spm = (hs__spm){.on = true, .prefix = prefix ? HS__PREFIX_ALWAYS : HS__PREFIX_NEVER, .strips = prefix};
    t->fuse_unk = true;
    int r = load_tokens(t, v, where, err);
    if (r == 0)
        r = hs__spm_merges(&t->vocab, v->scores, where, err);
    if (r == 0)
        hs__spm_look(&t->spm, &t->vocab);
    return r;
}

/* An id that the file names, unless no token has it. */
static uint32_t existing(const hs_tokenizer *t, int64_t id)
{
    return id >= 0 && id < t->vocab.n_tokens && t->vocab.tokens[id].exists ? (uint32_t)id : HS_NO_TOKEN;
}

static int load(hs_tokenizer *t, const hs_vocab_data *v, const char *where, hs_err *err)
{
    bool bos = true;
    int r;
    if (!v->model || !v->n_tokens)
        return hs_err_set(err, -ENOENT, "%s: the file has no vocabulary (tokenizer.ggml)", where);
    if (strcmp(v->model, "gpt2") == 0)
        r = load_byte_level(t, v, &bos, where, err);
    else if (strcmp(v->model, "llama") == 0)
        r = load_spm(t, v, where, err);
    else
        return hs_err_set(err, -ENOTSUP, "%s: tokenizer.ggml.model %.60s is not supported, only gpt2 and llama", where,
                          v->model);
    if (r == 0)
        r = load_added(t, v, where, err);
    if (r < 0)
        return r;
    hs__vocab_finish(&t->vocab);
    if (v->add_bos < 0 ? bos : v->add_bos == 1)
        t->bos = existing(t, v->bos);
    if (t->spm.on)
        t->unk = existing(t, v->unknown);
    return 0;
}

int hs_tokenizer_create_gguf(const hs_vocab_data *v, const char *where, hs_tokenizer **ret_tokenizer, hs_err *err)
{
    hs_tokenizer *t = hs__tokenizer_new();
    int r = t ? load(t, v, where, err) : hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    if (r < 0) {
        hs_tokenizer_destroy(&t);
        return r;
    }
    *ret_tokenizer = t;
    return 0;
}

uint64_t hs_tokenizer_gguf_bytes(const hs_vocab_data *v)
{
    /* Arrays that grow by halves, and what they were before; a merge is 16 bytes in a table that is 5/8 full. Merges
     * out of scores are fewer than the bytes of the tokens. */
    uint64_t text = 0, longest = 0;
    for (uint32_t i = 0; i < v->n_tokens; i++)
        text += v->tokens[i].len;
    for (uint32_t i = 0; i < v->n_merges; i++)
        longest = v->merges[i].len > longest ? v->merges[i].len : longest;
    uint64_t merges = v->model && strcmp(v->model, "llama") == 0 ? text : v->n_merges;
    return (64u << 10) + text * 4 + longest * 2 + v->n_tokens * 128ull + merges * 26;
}

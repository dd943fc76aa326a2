/*
 * gguf_vocab.c - the vocabulary that a GGUF file carries: tokenizer.ggml.* and the chat template. Keys of the tokenizer
 * that nobody reads (another format's tokenizer, character maps) are stepped over.
 */
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "store/gguf_int.h"

static const struct {
    const char *key; /* after "tokenizer.ggml." */
    size_t field;
} ids[] =
    {
        {"bos_token_id", offsetof(hs_vocab_data, bos)},         {"eos_token_id", offsetof(hs_vocab_data, eos)},
        {"eot_token_id", offsetof(hs_vocab_data, eot)},         {"eom_token_id", offsetof(hs_vocab_data, eom)},
        {"unknown_token_id", offsetof(hs_vocab_data, unknown)}, {"padding_token_id", offsetof(hs_vocab_data, padding)},
},
  flags[] = {
      {"add_bos_token", offsetof(hs_vocab_data, add_bos)},
      {"add_eos_token", offsetof(hs_vocab_data, add_eos)},
      {"add_space_prefix", offsetof(hs_vocab_data, add_space_prefix)},
      {"remove_extra_whitespaces", offsetof(hs_vocab_data, remove_extra_whitespaces)},
};

#define N_IDS   (sizeof ids / sizeof *ids)
#define N_FLAGS (sizeof flags / sizeof *flags)

static int read_text(hs__gguf *g, uint32_t type, uint64_t max, const char **ret)
{
    hs_bytes b;
    if (type != HS__GGUF_STRING)
        return hs__gguf_fail(g, -EINVAL, "a string is expected");
    int r = hs__gguf_string(g, max, &b);
    if (r == 0 && memchr(b.data, '\0', b.len))
        r = hs__gguf_fail(g, -EINVAL, "a NUL in the string");
    if (r == 0)
        *ret = b.data;
    return r;
}

/* An array of n elements of `size` bytes for the vocabulary. */
static int new_array(hs__gguf *g, uint64_t n, size_t size, void *ret)
{
    void *p = hs_calloc(n ? n : 1, size);
    if (!p)
        return hs__gguf_fail(g, -ENOMEM, "out of memory");
    memcpy(ret, &p, sizeof p);
    g->s->vocab.bytes += n * size;
    return 0;
}

static int read_strings(hs__gguf *g, uint32_t type, uint64_t max, hs_bytes **ret, uint32_t *ret_n)
{
    uint64_t n = 0;
    if (type != HS__GGUF_ARRAY)
        return hs__gguf_fail(g, -EINVAL, "an array is expected");
    int r = hs__gguf_array(g, max, &type, &n);
    if (r == 0 && type != HS__GGUF_STRING)
        r = hs__gguf_fail(g, -EINVAL, "an array of strings is expected");
    if (r == 0)
        r = new_array(g, n, sizeof **ret, ret);
    for (uint64_t i = 0; r == 0 && i < n; i++) {
        r = hs__gguf_string(g, HS__GGUF_MAX_TOKEN_BYTES, &(*ret)[i]);
        g->vocab_text += (*ret)[i].len;
        if (g->vocab_text > HS__GGUF_MAX_VOCAB_TEXT)
            r = hs__gguf_fail(g, -E2BIG, "a vocabulary of more than %u bytes", HS__GGUF_MAX_VOCAB_TEXT);
    }
    if (r == 0)
        *ret_n = (uint32_t)n;
    return r;
}

/* An array of numbers of 4 bytes, as they are. */
static int read_numbers(hs__gguf *g, uint32_t type, uint32_t element, const char *what, void *ret, uint32_t *ret_n)
{
    uint64_t n = 0;
    void *p;
    if (type != HS__GGUF_ARRAY)
        return hs__gguf_fail(g, -EINVAL, "an array is expected");
    int r = hs__gguf_array(g, HS__GGUF_MAX_TOKENS, &type, &n);
    if (r == 0 && type != element)
        r = hs__gguf_fail(g, -EINVAL, "an array of %s is expected", what);
    if (r == 0)
        r = new_array(g, n, 4, ret);
    if (r < 0)
        return r;
    memcpy(&p, ret, sizeof p);
    *ret_n = (uint32_t)n;
    return hs__gguf_read(g, p, n * 4);
}

static int read_flag(hs__gguf *g, uint32_t type, int *ret)
{
    uint8_t v;
    if (type != HS__GGUF_BOOL)
        return hs__gguf_fail(g, -EINVAL, "a truth value is expected");
    int r = hs__gguf_read(g, &v, 1);
    if (r == 0 && v > 1)
        r = hs__gguf_fail(g, -EINVAL, "a truth value of %u", v);
    if (r == 0)
        *ret = v;
    return r;
}

int hs__gguf_vocab(hs__gguf *g, const char *key, uint32_t type)
{
    hs__vocab *v = &g->s->vocab;
    if (!strcmp(key, "tokenizer.chat_template"))
        return read_text(g, type, HS__GGUF_MAX_TEMPLATE, &v->data.chat_template);
    if (strncmp(key, "tokenizer.ggml.", 15))
        return hs__gguf_skip(g, type, 0);
    key += 15;
    if (!strcmp(key, "model"))
        return read_text(g, type, HS__GGUF_MAX_NAME, &v->data.model);
    if (!strcmp(key, "pre"))
        return read_text(g, type, HS__GGUF_MAX_NAME, &v->data.pre);
    if (!strcmp(key, "tokens"))
        return read_strings(g, type, HS__GGUF_MAX_TOKENS, &v->tokens, &v->data.n_tokens);
    if (!strcmp(key, "merges"))
        return read_strings(g, type, HS__GGUF_MAX_MERGES, &v->merges, &v->data.n_merges);
    if (!strcmp(key, "scores"))
        return read_numbers(g, type, HS__GGUF_F32, "floats", &v->scores, &v->n_scores);
    if (!strcmp(key, "token_type"))
        return read_numbers(g, type, HS__GGUF_I32, "32-bit integers", &v->types, &v->n_types);
    for (size_t i = 0; i < N_IDS; i++)
        if (!strcmp(key, ids[i].key))
            return hs__gguf_integer(g, type, INT64_MIN, INT64_MAX,
                                    (int64_t *)(void *)((char *)&v->data + ids[i].field));
    for (size_t i = 0; i < N_FLAGS; i++)
        if (!strcmp(key, flags[i].key))
            return read_flag(g, type, (int *)(void *)((char *)&v->data + flags[i].field));
    return hs__gguf_skip(g, type, 0);
}

/* n of the numbers beside the tokens: none, or one for each. */
static int check_count(hs__gguf *g, uint32_t n, uint32_t n_tokens, const char *key)
{
    if (!n || n == n_tokens)
        return 0;
    return hs_err_set(g->err, -EINVAL, "%s: key tokenizer.ggml.%s: %u elements for %u tokens", g->file->path, key, n,
                      n_tokens);
}

int hs__gguf_vocab_check(hs__gguf *g)
{
    hs__vocab *v = &g->s->vocab;
    hs_vocab_data *d = &v->data;
    int r = check_count(g, v->n_scores, d->n_tokens, "scores");
    if (r == 0)
        r = check_count(g, v->n_types, d->n_tokens, "token_type");
    if (r < 0)
        return r;
    d->tokens = d->n_tokens ? v->tokens : NULL;
    d->merges = d->n_merges ? v->merges : NULL;
    d->scores = v->n_scores ? v->scores : NULL;
    d->token_type = v->n_types ? v->types : NULL;
    for (size_t i = 0; i < N_IDS; i++) {
        int64_t *id = (int64_t *)(void *)((char *)d + ids[i].field);
        if (*id < 0 || *id >= d->n_tokens)
            *id = -1;
    }
    return 0;
}

/* rooms: text, timeout: 5 */
/*
 * fuzz_vocab.c - the vocabulary of a GGUF file, and what it makes of a text. Input, in lines: the model; the
 * pre-tokenizer (empty: absent); flags (see read_flags); tokens, each with its type (a digit), its score (a character)
 * and its text, up to an empty line; merges up to an empty line; the rest is the text.
 *
 * What must hold: round_trip.h; and a tokenizer is not bigger than it was said to be.
 */
#include <math.h>

#include "round_trip.h"

#define MAX_LINES 512

typedef struct input {
    const char *p;
    size_t left;
} input;

/* The next line without its end. */
static hs_bytes take_line(input *in)
{
    const char *end = in->left ? memchr(in->p, '\n', in->left) : NULL;
    hs_bytes line = {in->p, (uint32_t)(end ? (size_t)(end - in->p) : in->left)};
    in->p += line.len + (end != NULL);
    in->left -= line.len + (end != NULL);
    return line;
}

static const char *take_name(input *in, char *out, size_t cap)
{
    hs_bytes line = take_line(in);
    size_t n = line.len < cap - 1 ? line.len : cap - 1;
    if (n)
        memcpy(out, line.data, n);
    out[n] = '\0';
    return *out ? out : NULL;
}

/* The ids of bos, eos and unknown, then add_bos and add_space_prefix: a digit each, anything else is absent. */
static void read_flags(hs_bytes line, hs_vocab_data *v)
{
    int64_t f[5];
    for (size_t i = 0; i < 5; i++)
        f[i] = i < line.len && line.data[i] >= '0' && line.data[i] <= '9' ? line.data[i] - '0' : -1;
    v->bos = f[0] < v->n_tokens ? f[0] : -1;
    v->eos = f[1] < v->n_tokens ? f[1] : -1;
    v->unknown = f[2] < v->n_tokens ? f[2] : -1;
    v->eot = v->eom = v->padding = v->add_eos = v->remove_extra_whitespaces = -1;
    v->add_bos = f[3] > 1 ? 1 : (int)f[3];
    v->add_space_prefix = f[4] > 1 ? 1 : (int)f[4];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hs_bytes tokens[MAX_LINES], merges[MAX_LINES];
    static float scores[MAX_LINES];
    static int32_t types[MAX_LINES];
    static char model[32], pre[64];
    input in = {(const char *)data, size};
    hs_vocab_data v = {.tokens = tokens, .merges = merges, .scores = scores, .token_type = types};
    v.model = take_name(&in, model, sizeof model);
    v.pre = take_name(&in, pre, sizeof pre);
    hs_bytes flags = take_line(&in), line;
    while (v.n_tokens < MAX_LINES && (line = take_line(&in)).len > 1) {
        types[v.n_tokens] = line.data[0] - '0';
        scores[v.n_tokens] = line.data[1] == '?' ? NAN : line.data[1] == '^' ? INFINITY : (float)line.data[1];
        tokens[v.n_tokens++] = (hs_bytes){line.data + 2, line.len - 2};
    }
    while (v.n_merges < MAX_LINES && (line = take_line(&in)).len)
        merges[v.n_merges++] = line;
    read_flags(flags, &v);
    if (flags.len > 5)
        v.token_type = NULL;
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    int r = hs_tokenizer_create_gguf(&v, "f", &t, &err);
    FUZZ_CHECK(r == 0 ? t != NULL : t == NULL && r == err.code && !strncmp(err.text, "f: ", 3));
    if (r == 0) {
        FUZZ_CHECK(hs_tokenizer_bytes(t) <= hs_tokenizer_gguf_bytes(&v));
        check_tokenizer(t, in.p, in.left);
    }
    hs_tokenizer_destroy(&t);
    return 0;
}

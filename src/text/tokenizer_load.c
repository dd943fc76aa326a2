/*
 * tokenizer_load.c - tokenizer.json to a tokenizer.
 * The file's vocabulary and merges, nearly all of its bytes, are read by the pull parser straight into their tables;
 * the small parts go through jansson. Peak memory is the file plus the tokenizer itself.
 */
#include "text/tokenizer_int.h"

#include <string.h>

#include "text/scan.h"
#include "text/utf8.h"

#define MAX_SMALL_PART (16u << 20) /* bytes of a part that gets a DOM */

enum { NORMALIZER, PRE_TOKENIZER, DECODER, ADDED_TOKENS, MODEL, N_PARTS };
static const char *const part_names[N_PARTS] = {"normalizer", "pre_tokenizer", "decoder", "added_tokens", "model"};

enum { TYPE, VOCAB, MERGES, UNK_TOKEN, DROPOUT, PREFIX, SUFFIX, FUSE_UNK, BYTE_FALLBACK, IGNORE_MERGES, N_MODEL_PARTS };
static const char *const model_names[N_MODEL_PARTS] = {"type",
                                                       "vocab",
                                                       "merges",
                                                       "unk_token",
                                                       "dropout",
                                                       "continuing_subword_prefix",
                                                       "end_of_word_suffix",
                                                       "fuse_unk",
                                                       "byte_fallback",
                                                       "ignore_merges"};

static hs__scan scan_of(const hs__slice *s, const hs__scan *file)
{
    hs__scan scan = *file;
    scan.p = s->p;
    scan.end = s->p + s->len;
    return scan;
}

/* A small part as a DOM; NULL if it is absent. */
static int load_small(const hs__slice *s, const char *where, const char *name, json_t **ret, hs_err *err)
{
    *ret = NULL;
    if (!s->p)
        return 0;
    if (s->len > MAX_SMALL_PART)
        return hs_err_set(err, -E2BIG, "%s: %s has %zu bytes; at most %u are possible", where, name, s->len,
                          MAX_SMALL_PART);
    int r = hs_json_load(s->p, s->len, name, ret, err);
    if (r < 0)
        hs_err_prefix(err, "%s", where);
    return r;
}

static int load_vocab(hs_tokenizer *t, const hs__slice *s, const hs__scan *file)
{
    hs__scan scan = scan_of(s, file);
    hs_buf text;
    hs_buf_init(&text, HS__MAX_TOKEN_LEN);
    bool first = true;
    int r = hs__scan_is(&scan, '{') ? 1 : hs__scan_fail(&scan, "vocab must be an object");
    while (r > 0 && (r = hs__scan_member(&scan, &first, &text)) > 0) {
        uint32_t id;
        r = hs__scan_uint(&scan, HS__MAX_ID, &id);
        if (r < 0)
            break;
        r = hs__vocab_add(&t->vocab, text.data, text.len, id);
        if (r == -EEXIST)
            r = hs__scan_fail(&scan, "a token or its id is there twice");
        else if (r < 0)
            r = hs_err_set(file->err, r, "%s: vocab: %s", file->where, hs_strerror(r));
        else
            r = 1;
    }
    hs_buf_deinit(&text);
    return r;
}

/* One merge: "a b" or ["a", "b"]. Puts a and b behind each other into text, *ret_cut where b begins. */
static int scan_merge(hs__scan *s, hs_buf *text, size_t *ret_cut)
{
    hs_buf_clear(text);
    if (hs__scan_is(s, '[')) {
        int r = hs__scan_string(s, text);
        *ret_cut = text->len;
        if (r == 0 && !hs__scan_is(s, ','))
            r = hs__scan_fail(s, "a merge has two parts");
        if (r == 0)
            r = hs__scan_string(s, text);
        if (r == 0 && !hs__scan_is(s, ']'))
            r = hs__scan_fail(s, "a merge has two parts");
        return r;
    }
    int r = hs__scan_string(s, text);
    if (r < 0)
        return r;
    char *blank = text->len ? memchr(text->data, ' ', text->len) : NULL;
    if (!blank || memchr(blank + 1, ' ', text->len - (size_t)(blank + 1 - text->data)))
        return hs__scan_fail(s, "a merge has two parts, with one blank between them");
    *ret_cut = (size_t)(blank - text->data);
    memmove(blank, blank + 1, text->len - *ret_cut - 1);
    text->data[--text->len] = '\0';
    return 0;
}

static int load_merges(hs_tokenizer *t, const hs__slice *s, const hs__scan *file)
{
    static const size_t max = 2 * HS__MAX_TOKEN_LEN;
    hs__scan scan = scan_of(s, file);
    hs_buf text, scratch;
    hs_buf_init(&text, max);
    hs_buf_init(&scratch, max);
    bool first = true;
    uint32_t rank = 0;
    int r = hs__scan_is(&scan, '[') ? 1 : hs__scan_fail(&scan, "merges must be an array");
    while (r > 0 && (r = hs__scan_element(&scan, &first)) > 0) {
        size_t cut = 0;
        r = scan_merge(&scan, &text, &cut);
        if (r < 0)
            break;
        hs_buf_clear(&scratch);
        if (hs_buf_append(&scratch, text.data, text.len) < 0) {
            r = hs_err_set(file->err, -ENOMEM, "%s: out of memory", file->where);
            break;
        }
        uint32_t left = hs__vocab_find_spelled(&t->vocab, text.data, cut, scratch.data);
        uint32_t right = hs__vocab_find_spelled(&t->vocab, text.data + cut, text.len - cut, scratch.data);
        uint32_t both = hs__vocab_find_spelled(&t->vocab, text.data, text.len, scratch.data);
        if (left == HS_NO_TOKEN || right == HS_NO_TOKEN || both == HS_NO_TOKEN) {
            r = hs__scan_fail(&scan, "a merge of tokens that the vocabulary does not have");
            break;
        }
        hs__vocab_add_merge(&t->vocab, left, right, rank++, both);
        r = 1;
    }
    hs_buf_deinit(&text);
    hs_buf_deinit(&scratch);
    return r;
}

/* null, or an empty string. */
static bool is_unset(const hs__slice *s)
{
    return !s->p || (s->len == 4 && memcmp(s->p, "null", 4) == 0) || (s->len == 2 && memcmp(s->p, "\"\"", 2) == 0);
}

static int scan_bool(const hs__slice *s, const hs__scan *file, bool *ret)
{
    *ret = s->len == 4 && memcmp(s->p, "true", 4) == 0;
    if (*ret || is_unset(s) || (s->len == 5 && memcmp(s->p, "false", 5) == 0))
        return 0;
    hs__scan scan = scan_of(s, file);
    return hs__scan_fail(&scan, "true or false was expected");
}

/* unk_token: the model's token of that text. */
static int load_unk(hs_tokenizer *t, const hs__slice *s, const hs__scan *file)
{
    if (is_unset(s))
        return 0;
    hs__scan scan = scan_of(s, file);
    hs_buf text, scratch;
    hs_buf_init(&text, HS__MAX_TOKEN_LEN);
    hs_buf_init(&scratch, HS__MAX_TOKEN_LEN);
    int r = hs__scan_string(&scan, &text);
    if (r == 0 && hs_buf_append(&scratch, text.data, text.len) < 0)
        r = hs_err_set(file->err, -ENOMEM, "%s: out of memory", file->where);
    if (r == 0)
        t->unk = hs__vocab_find_spelled(&t->vocab, text.data, text.len, scratch.data);
    if (r == 0 && t->unk == HS_NO_TOKEN)
        r = hs__scan_fail(&scan, "unk_token is not in the vocabulary");
    hs_buf_deinit(&text);
    hs_buf_deinit(&scratch);
    return r;
}

/* The model's fields, and whether it is one that can be honoured. */
static int scan_model(const hs__slice *model, const hs__scan *file, hs__slice parts[N_MODEL_PARTS])
{
    hs__scan scan = scan_of(model, file);
    int r = hs__scan_fields(&scan, model_names, N_MODEL_PARTS, parts);
    if (r < 0)
        return r;
    if (parts[TYPE].p && (parts[TYPE].len != 5 || memcmp(parts[TYPE].p, "\"BPE\"", 5) != 0))
        return hs_err_set(file->err, -ENOTSUP, "%s: model %.*s is not supported, only \"BPE\"", file->where,
                          parts[TYPE].len > 40 ? 40 : (int)parts[TYPE].len, parts[TYPE].p);
    if (!parts[VOCAB].p || !parts[MERGES].p)
        return hs_err_set(file->err, -EINVAL, "%s: model: vocab or merges are missing", file->where);
    for (int i = DROPOUT; i <= SUFFIX; i++)
        if (!is_unset(&parts[i]))
            return hs_err_set(file->err, -ENOTSUP, "%s: model.%s is not supported", file->where, model_names[i]);
    return 0;
}

static int load_model(hs_tokenizer *t, const hs__slice parts[N_MODEL_PARTS], const hs__scan *file)
{
    int r = scan_bool(&parts[FUSE_UNK], file, &t->fuse_unk);
    if (r == 0)
        r = scan_bool(&parts[IGNORE_MERGES], file, &t->ignore_merges);
    if (r < 0)
        return r;
    r = hs__vocab_init(&t->vocab, t->spm.on ? HS__BLANK_MARK : HS__BYTE_ALPHABET, parts[VOCAB].n, file->err);
    if (r == 0)
        r = hs__vocab_init_merges(&t->vocab, parts[MERGES].n, file->err);
    if (r < 0)
        hs_err_prefix(file->err, "%s: model", file->where);
    if (r == 0)
        r = load_vocab(t, &parts[VOCAB], file);
    if (r == 0)
        r = load_merges(t, &parts[MERGES], file);
    if (r == 0)
        r = load_unk(t, &parts[UNK_TOKEN], file);
    if (r == 0 && t->spm.on)
        hs__spm_look(&t->spm, &t->vocab);
    return r;
}

/* ByteLevel, or a Sequence of nothing else. */
static int check_decoder(const json_t *json, const char *where, hs_err *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_t *list = json_object_get(json, "decoders");
    if (type && strcmp(type, "ByteLevel") == 0)
        return 0;
    if (type && strcmp(type, "Sequence") == 0 && json_array_size(list) == 1)
        return check_decoder(json_array_get(list, 0), where, err);
    return hs_err_set(err, -ENOTSUP, "%s: decoder %.60s is not supported, only ByteLevel", where,
                      type ? type : "(none)");
}

/* What happens before and after merging: over bytes, or like SentencePiece. */
static int parse_surroundings(hs_tokenizer *t, bool byte_fallback, json_t *const json[], const char *where, hs_err *err)
{
    if (byte_fallback)
        return hs__spm_parse(&t->spm, json[NORMALIZER], json[PRE_TOKENIZER], json[DECODER], where, err);
    int r = hs__normalizer_parse(&t->normalizer, json[NORMALIZER], where, err);
    if (r == 0)
        r = hs__pretok_parse(&t->pretok, json[PRE_TOKENIZER], where, err);
    return r < 0 ? r : check_decoder(json[DECODER], where, err);
}

/* A token that is looked for in prepared text would have to be prepared, too. */
static int check_added(const hs_tokenizer *t, const char *where, hs_err *err)
{
    if (t->spm.on && !t->spm.is_metaspace && t->added.n != t->added.n_raw)
        return hs_err_set(err, -ENOTSUP, "%s: added_tokens: \"normalized\" is not supported with byte_fallback", where);
    return 0;
}

int hs__tokenizer_parse(hs_tokenizer *t, const char *text, size_t len, const char *where, hs_err *err)
{
    hs__scan file = {.where = where, .text = text, .p = text, .end = text + len, .err = err};
    if (!hs__utf8_is_valid(text, len))
        return hs_err_set(err, -EINVAL, "%s: not UTF-8", where);
    hs__slice parts[N_PARTS], model[N_MODEL_PARTS];
    json_t *json[ADDED_TOKENS + 1] = {0};
    bool byte_fallback = false;
    hs__scan scan = file;
    int r = hs__scan_fields(&scan, part_names, N_PARTS, parts);
    if (r == 0 && !parts[MODEL].p)
        r = hs_err_set(err, -EINVAL, "%s: model is missing", where);
    for (int i = 0; i <= ADDED_TOKENS && r == 0; i++)
        r = load_small(&parts[i], where, part_names[i], &json[i], err);
    if (r == 0)
        r = scan_model(&parts[MODEL], &file, model);
    if (r == 0)
        r = scan_bool(&model[BYTE_FALLBACK], &file, &byte_fallback);
    if (r == 0)
        r = parse_surroundings(t, byte_fallback, json, where, err);
    if (r == 0)
        r = load_model(t, model, &file);
    if (r == 0)
        r = hs__added_parse(&t->added, json[ADDED_TOKENS], &t->normalizer, &t->vocab, where, err);
    if (r == 0)
        r = check_added(t, where, err);
    if (r == 0)
        hs__vocab_finish(&t->vocab);
    for (int i = 0; i <= ADDED_TOKENS; i++)
        json_decref(json[i]);
    return r;
}

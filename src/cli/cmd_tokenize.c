/* cmd_tokenize.c - text to token ids and back, exactly as the model's tokenizer does it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/ids.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/shapes.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define MAX_INPUT (64u << 20)

static int encode_plain(const hs_tokenizer *t, const char *text, size_t len, hs_err *err)
{
    uint32_t *ids;
    size_t n;
    int r = hs_tokenizer_encode(t, text, len, true, &ids, &n, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        printf(i ? " %u" : "%u", ids[i]);
    putchar('\n');
    hs_free(ids);
    return 0;
}

static int decode_plain(const hs_tokenizer *t, const char *text, size_t len, hs_err *err)
{
    uint32_t *ids;
    size_t n;
    hs_buf out;
    int r = hs_ids_parse(text, len, "stdin", &ids, &n, err);
    if (r < 0)
        return r;
    hs_buf_init(&out, SIZE_MAX / 2);
    r = hs_tokenizer_decode(t, ids, n, false, &out, err);
    if (r == 0 && out.len)
        fwrite(out.data, 1, out.len, stdout);
    hs_buf_deinit(&out);
    hs_free(ids);
    return r;
}

/* A string to a list of ids. */
static int encode_item(const hs_tokenizer *t, const json_t *item, size_t index, json_t **ret, hs_err *err)
{
    if (!json_is_string(item))
        return hs_err_set(err, -EINVAL, "stdin: item %zu is not a string", index);
    uint32_t *ids;
    size_t n;
    int r = hs_tokenizer_encode(t, json_string_value(item), json_string_length(item), true, &ids, &n, err);
    if (r < 0)
        return r;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(ids[i]));
    hs_free(ids);
    *ret = list;
    return 0;
}

/* A list of ids to a string. */
static int decode_item(const hs_tokenizer *t, const json_t *item, size_t index, json_t **ret, hs_err *err)
{
    if (!json_is_array(item))
        return hs_err_set(err, -EINVAL, "stdin: item %zu is not a list of ids", index);
    size_t n = json_array_size(item);
    uint32_t *ids = hs_calloc(n ? n : 1, sizeof *ids);
    if (!ids)
        return hs_err_set(err, -ENOMEM, "out of memory for %zu ids", n);
    hs_buf out;
    hs_buf_init(&out, SIZE_MAX / 2);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const json_t *v = json_array_get(item, i);
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= UINT32_MAX)
            r = hs_err_set(err, -EINVAL, "stdin: item %zu, place %zu is not a token id", index, i);
        else
            ids[i] = (uint32_t)id;
    }
    if (r == 0)
        r = hs_tokenizer_decode(t, ids, n, false, &out, err);
    if (r == 0)
        *ret = json_stringn(out.len ? out.data : "", out.len);
    hs_buf_deinit(&out);
    hs_free(ids);
    return r;
}

static int run_json(const hs_tokenizer *t, bool decode, const char *text, size_t len, hs_err *err)
{
    json_t *in = NULL, *out = json_array();
    int r = hs_json_load(text, len, "stdin", &in, err);
    if (r == 0 && !json_is_array(in))
        r = hs_err_set(err, -EINVAL, "stdin: a JSON list of %s is needed", decode ? "id lists" : "strings");
    for (size_t i = 0; r == 0 && i < json_array_size(in); i++) {
        json_t *item = NULL;
        r = (decode ? decode_item : encode_item)(t, json_array_get(in, i), i, &item, err);
        if (r == 0 && json_array_append_new(out, item) < 0)
            r = hs_err_set(err, -ENOMEM, "out of memory");
    }
    if (in)
        json_decref(in);
    if (r < 0) {
        json_decref(out);
        return r;
    }
    return hs_print_json(out) ? -ENOMEM : 0;
}

static int run_tokenize(const hs_args *a)
{
    hs_tokenizer *t = NULL;
    hs_err err = {0};
    char *text = NULL;
    size_t len = 0;
    bool decode = hs_args_has(a, "decode");
    int r = hs_load_tokenizer(a->operands[0], &t, &err);
    if (r == 0)
        r = hs_read_stdin(MAX_INPUT, &text, &len, &err);
    if (r == 0 && hs_args_has(a, "json"))
        r = run_json(t, decode, text, len, &err);
    else if (r == 0)
        r = (decode ? decode_plain : encode_plain)(t, text, len, &err);
    hs_free(text);
    hs_tokenizer_destroy(&t);
    return r < 0 ? hs_fail(&err) : 0;
}

static const hs_flag flags[] = {
    {"decode", HS_FLAG_SWITCH, NULL, 0, 0, "ids to text instead; special tokens are kept, nothing is cleaned up"},
    {"json", HS_FLAG_SWITCH, NULL, 0, 0,
     "stdin is a JSON list of strings (or, with --decode, of id lists); the result is a list on one line"},
    HS_FLAGS_END};

const hs_verb hs_verb_tokenize = {
    .name = "tokenize",
    .synopsis = "MODEL",
    .summary = "Text on stdin to token ids, or back.",
    .details = "MODEL may be a folder that holds only tokenizer files, or a GGUF file. No BOS is added; special tokens "
               "written in the text are recognised. Every byte of stdin counts, a line end at its end included.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = 1,
    .first = HS_NEEDED_MODEL,
    .run = run_tokenize};

/* vocab_fixture.c - vocabularies as a GGUF file carries them. */
#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tokenizer_fixture.h"

enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };

static void put(vocab_fixture *f, size_t id, const char *text, size_t len, int type)
{
    f->tokens[id] = (hs_bytes){text, (uint32_t)len};
    f->types[id] = type;
    if (id >= f->data.n_tokens)
        f->data.n_tokens = (uint32_t)id + 1;
}

static void fill_merges(vocab_fixture *f, const json_t *merges)
{
    size_t i, at = 0, bytes = 0;
    json_t *m;
    json_array_foreach(merges, i, m) bytes +=
        json_is_array(m) ? 1 + json_string_length(json_array_get(m, 0)) + json_string_length(json_array_get(m, 1))
                         : json_string_length(m);
    f->merges = calloc(json_array_size(merges) + 1, sizeof *f->merges);
    f->merge_text = malloc(bytes + 1);
    assert_true(f->merges && f->merge_text);
    json_array_foreach(merges, i, m)
    {
        char *to = f->merge_text + at;
        int n = json_is_array(m) ? sprintf(to, "%s %s", json_string_value(json_array_get(m, 0)),
                                           json_string_value(json_array_get(m, 1)))
                                 : sprintf(to, "%s", json_string_value(m));
        f->merges[i] = (hs_bytes){to, (uint32_t)n};
        at += (size_t)n;
    }
    f->data.n_merges = (uint32_t)json_array_size(merges);
}

void vocab_fixture_load(vocab_fixture *f, const char *name, const char *pre)
{
    *f = (vocab_fixture){.data = {.model = "gpt2", .pre = pre, VOCAB_NO_IDS}};
    size_t len, i;
    char *text = fixture_text(name, &len);
    hs_err err = {0};
    if (hs_json_load(text, len, name, &f->json, &err) != 0)
        fail_msg("%s", err.text);
    free(text);
    json_t *model = json_object_get(f->json, "model"), *vocab = json_object_get(model, "vocab"), *token;
    json_t *added = json_object_get(f->json, "added_tokens");
    size_t most = json_object_size(vocab) + json_array_size(added) + 4096;
    f->tokens = calloc(most, sizeof *f->tokens);
    f->types = calloc(most, sizeof *f->types);
    assert_true(f->tokens && f->types);
    const char *key;
    json_object_foreach(vocab, key, token) put(f, (size_t)json_integer_value(token), key, strlen(key), NORMAL);
    json_array_foreach(added, i, token)
    {
        const json_t *content = json_object_get(token, "content");
        put(f, (size_t)json_integer_value(json_object_get(token, "id")), json_string_value(content),
            json_string_length(content), json_is_true(json_object_get(token, "special")) ? CONTROL : USER_DEFINED);
    }
    for (i = 0; i < f->data.n_tokens; i++)
        if (!f->types[i])
            put(f, i, "[PAD]", 5, UNUSED);
    fill_merges(f, json_object_get(model, "merges"));
    f->data.tokens = f->tokens;
    f->data.token_type = f->types;
    f->data.merges = f->merges;
}

void vocab_fixture_free(vocab_fixture *f)
{
    json_decref(f->json);
    free(f->tokens);
    free(f->merges);
    free(f->types);
    free(f->merge_text);
}

uint32_t vocab_strings(const char *const *text, hs_bytes *ret)
{
    uint32_t n = 0;
    for (; text[n]; n++)
        ret[n] = (hs_bytes){text[n], (uint32_t)strlen(text[n])};
    return n;
}

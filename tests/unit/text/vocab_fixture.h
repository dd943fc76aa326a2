/* vocab_fixture.h - vocabularies as a GGUF file carries them, out of a tokenizer.json or written down in a test. */
#ifndef TESTS_VOCAB_FIXTURE_H
#define TESTS_VOCAB_FIXTURE_H

#include "base/checkpoint.h"
#include "base/json.h"
#include "text/tokenizer.h"

#define VOCAB_NO_IDS                                                                                                   \
    .bos = -1, .eos = -1, .eot = -1, .eom = -1, .unknown = -1, .padding = -1, .add_bos = -1, .add_eos = -1,            \
    .add_space_prefix = -1, .remove_extra_whitespaces = -1

/* What llama.cpp's converter makes of tests/data/tokenizer/NAME.tokenizer.json.gz. */
typedef struct vocab_fixture {
    hs_vocab_data data;
    json_t *json; /* owns the text of the tokens */
    hs_bytes *tokens, *merges;
    int32_t *types;
    char *merge_text;
} vocab_fixture;

void vocab_fixture_load(vocab_fixture *f, const char *name, const char *pre);
void vocab_fixture_free(vocab_fixture *f);

/* A list of C strings as tokens or merges; the last is NULL. Returns their number. */
uint32_t vocab_strings(const char *const *text, hs_bytes *ret);

#endif

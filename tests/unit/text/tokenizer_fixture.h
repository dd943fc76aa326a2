/* tokenizer_fixture.h - tokenizers for tests: out of a string, or out of tests/data/tokenizer. */
#ifndef TESTS_TOKENIZER_FIXTURE_H
#define TESTS_TOKENIZER_FIXTURE_H

#include <stdint.h>

#include "base/json.h"
#include "text/tokenizer.h"

/* Puts text into a new folder as tokenizer.json, loads it, removes the folder. */
int fixture_load_text(const char *text, size_t len, hs_tokenizer **ret, hs_err *err);
/* The text of tests/data/tokenizer/NAME.tokenizer.json.gz, the caller's (free). */
char *fixture_text(const char *name, size_t *ret_len);
/* The same as a tokenizer; the test fails if that does not load. */
hs_tokenizer *fixture_load_published(const char *name);
/* A file of tests/data/tokenizer as JSON. */
json_t *fixture_json(const char *file);
/* Encodes and compares; prints the string on a difference. Returns whether all was equal. */
int fixture_encodes_to(const hs_tokenizer *t, const char *text, size_t len, const json_t *ids);

#endif

/* rooms: text, timeout: 5 */
/*
 * fuzz_tokenizer.c - tokenizer.json, and what it makes of a text. Input: the file, then the text. What must hold:
 * round_trip.h.
 */
#include "parts.h"
#include "round_trip.h"
#include "text/tokenizer_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *file;
    size_t n = take_part(&data, &size, &file);
    hs_tokenizer *t = hs__tokenizer_new();
    hs_err err = {0};
    FUZZ_CHECK(t);
    int r = hs__tokenizer_parse(t, file, n, "tokenizer.json", &err);
    FUZZ_CHECK(r == 0 || (r == err.code && *err.text));
    if (r == 0)
        check_tokenizer(t, (const char *)data, size);
    hs_tokenizer_destroy(&t);
    return 0;
}

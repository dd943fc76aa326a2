/* round_trip.h - what must hold for any tokenizer and any text: all ids of an encoding exist; the pieces that a stream
 * gives are what decoding gives at once. */
#ifndef HS_TESTS_FUZZ_ROUND_TRIP_H
#define HS_TESTS_FUZZ_ROUND_TRIP_H

#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "text/detok.h"
#include "text/tokenizer.h"

#define MAX_OUT (16u << 20)

static inline void check_stream(const hs_tokenizer *t, const uint32_t *ids, size_t n)
{
    hs_buf at_once, piecewise;
    hs_detok d;
    hs_err err = {0};
    hs_buf_init(&at_once, MAX_OUT);
    hs_buf_init(&piecewise, MAX_OUT);
    int r = hs_tokenizer_decode(t, ids, n, true, &at_once, &err);
    hs_detok_init(&d, t);
    for (size_t i = 0; i < n; i++)
        hs_detok_push(&d, ids[i], &piecewise);
    hs_detok_flush(&d, &piecewise);
    hs_detok_deinit(&d);
    if (r == 0)
        FUZZ_CHECK(at_once.len == piecewise.len &&
                   (!at_once.len || !memcmp(at_once.data, piecewise.data, at_once.len)));
    hs_buf_deinit(&at_once);
    hs_buf_deinit(&piecewise);
}

/* Encodes, and once more what decoding makes of it. */
static inline void round_trip(const hs_tokenizer *t, const char *text, size_t len, bool specials, int turns)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    hs_err err = {0};
    hs_buf out;
    int r = hs_tokenizer_encode(t, text, len, specials, &ids, &n, &err);
    FUZZ_CHECK(r == 0 ? ids != NULL : ids == NULL && r == err.code && *err.text);
    if (r < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        size_t len_token;
        FUZZ_CHECK(ids[i] < hs_tokenizer_size(t) && hs_tokenizer_token_bytes(t, ids[i], &len_token));
    }
    check_stream(t, ids, n);
    hs_buf_init(&out, MAX_OUT);
    r = hs_tokenizer_decode(t, ids, n, false, &out, &err);
    if (r == 0 && turns > 1)
        round_trip(t, out.data ? out.data : "", out.len, specials, turns - 1);
    hs_buf_deinit(&out);
    hs_free(ids);
}

/* Text of which nothing is input gives what plain encoding gives; if all of it is, the ids exist. */
static inline void check_rendered(const hs_tokenizer *t, const char *text, size_t len)
{
    uint32_t *ids = NULL, *same = NULL;
    size_t n = 0, n_same = 0;
    uint8_t *is_input = hs_calloc(len + 1, 1);
    hs_err err = {0};
    FUZZ_CHECK(is_input);
    int valid = hs_tokenizer_encode_rendered(t, text, is_input, len, &same, &n_same, &err);
    FUZZ_CHECK(valid == 0 || *err.text);
    if (valid == 0 && hs_tokenizer_encode(t, text, len, true, &ids, &n, &err) == 0) {
        FUZZ_CHECK(n == n_same && (!n || !memcmp(ids, same, n * sizeof *ids)));
        hs_free(ids);
        hs_free(same);
        memset(is_input, 1, len);
        same = NULL;
        if (hs_tokenizer_encode_rendered(t, text, is_input, len, &same, &n_same, &err) == 0)
            for (size_t i = 0; i < n_same; i++)
                FUZZ_CHECK(same[i] < hs_tokenizer_size(t));
    }
    hs_free(same);
    hs_free(is_input);
}

static inline void check_tokenizer(const hs_tokenizer *t, const char *text, size_t len)
{
    const uint32_t wild[] = {0, hs_tokenizer_size(t) - 1, hs_tokenizer_size(t), HS_NO_TOKEN, 1, 2, 3};
    check_stream(t, wild, sizeof wild / sizeof *wild);
    round_trip(t, text, len, false, 2);
    round_trip(t, text, len, true, 2);
    check_rendered(t, text, len);
}

#endif

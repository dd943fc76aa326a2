/* labels: unit */
/* Merging: the two ways (walking, heap) give what the definition gives, on random vocabularies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/bpe.h"

#define N_MERGES 60

static uint32_t random_state = 11;

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 12) % n;
}

/* Three letters and random merges of what is there already; a pair may come twice, the later one counts. */
static void fill(hs__vocab *v)
{
    hs_err err = {0};
    char text[64][64];
    uint32_t n = 3;
    assert_int_equal(hs__vocab_init(v, HS__BYTE_ALPHABET, 3 + N_MERGES, &err), 0);
    assert_int_equal(hs__vocab_init_merges(v, N_MERGES, &err), 0);
    for (uint32_t i = 0; i < 3; i++) {
        text[i][0] = (char)('a' + i);
        text[i][1] = '\0';
        assert_int_equal(hs__vocab_add(v, text[i], 1, i), 0);
    }
    for (uint32_t rank = 0; rank < N_MERGES; rank++) {
        uint32_t a = draw(n), b = draw(n);
        if (strlen(text[a]) + strlen(text[b]) > 12)
            continue;
        char both[64];
        size_t len = strlen(text[a]), tail = strlen(text[b]);
        memcpy(both, text[a], len);
        memcpy(both + len, text[b], tail + 1);
        len += tail;
        memcpy(text[n], both, sizeof both);
        uint32_t id = hs__vocab_find(v, text[n], len, HS__PLAIN);
        if (id == HS_NO_TOKEN) {
            id = n++;
            assert_int_equal(hs__vocab_add(v, text[id], len, id), 0);
        }
        hs__vocab_add_merge(v, a, b, rank, id);
    }
    hs__vocab_finish(v);
}

/* By the definition: merge the leftmost pair of lowest rank until there is none. */
static size_t naive(const hs__vocab *v, const char *text, size_t len, uint32_t *ids)
{
    size_t n = len;
    for (size_t i = 0; i < len; i++)
        ids[i] = v->byte_id[(unsigned char)text[i]];
    for (;;) {
        const hs__merge *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const hs__merge *m = hs__vocab_merge(v, ids[i], ids[i + 1]);
            if (m && (!best || m->rank < best->rank)) {
                best = m;
                at = i;
            }
        }
        if (!best)
            return n;
        ids[at] = best->id;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

static void test_random(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        hs__vocab v;
        fill(&v);
        hs__bpe b = {.vocab = &v, .unk = HS_NO_TOKEN};
        for (int k = 0; k < 40; k++) {
            char text[300];
            uint32_t expected[300];
            size_t len = 1 + draw(k % 2 ? 40 : 300);
            for (size_t i = 0; i < len; i++)
                text[i] = (char)('a' + draw(1 + (uint32_t)k % 3));
            hs__ids ids = {0};
            assert_int_equal(hs__bpe_encode(&b, text, len, &ids), 0);
            assert_int_equal(ids.n, naive(&v, text, len, expected));
            assert_memory_equal(ids.p, expected, ids.n * sizeof *ids.p);
            hs_free(ids.p);
        }
        hs__bpe_deinit(&b);
        hs__vocab_deinit(&v);
    }
}

static void test_vocab(void **state)
{
    (void)state;
    hs__vocab v;
    hs_err err = {0};
    assert_int_equal(hs__vocab_init(&v, HS__BYTE_ALPHABET, 10, &err), 0);
    /* "Ġ" is a blank; the letter "一" is outside the byte alphabet and never what its three bytes are. */
    assert_int_equal(hs__vocab_add(&v, "\xc4\xa0", 2, 0), 0);
    assert_int_equal(hs__vocab_add(&v, "\xe4\xb8\x80", 3, 1), 0);
    assert_int_equal(hs__vocab_add(&v, "\xc3\xa4\xc2\xb8\xc4\xa2", 6, 2), 0);
    assert_int_equal(hs__vocab_find(&v, " ", 1, HS__PLAIN), 0);
    assert_int_equal(hs__vocab_find(&v, "\xe4\xb8\x80", 3, HS__OTHER), 1);
    assert_int_equal(hs__vocab_find(&v, "\xe4\xb8\x80", 3, HS__PLAIN), 2);
    assert_int_equal(hs__vocab_find(&v, "x", 1, HS__PLAIN), HS_NO_TOKEN);
    assert_int_equal(hs__vocab_add(&v, "y", 1, 2), -EEXIST);
    assert_int_equal(hs__vocab_add(&v, "\xc4\xa0", 2, 5), -EEXIST);
    assert_int_equal(hs__vocab_add(&v, "y", 1, HS__MAX_ID + 1), -E2BIG);
    assert_int_equal(hs__vocab_override(&v, "\xc4\xa0", 2, 0, true), 0);
    assert_int_equal(hs__vocab_override(&v, "<x>", 3, 0, true), -EEXIST);
    assert_int_equal(hs__vocab_override(&v, "<x>", 3, 7, false), 0);
    assert_int_equal(hs__vocab_find(&v, "<x>", 3, HS__PLAIN), HS_NO_TOKEN);
    hs__vocab_finish(&v);
    assert_int_equal(v.n_tokens, 8);
    assert_true(v.tokens[0].special && !v.tokens[7].special && !v.tokens[6].exists);
    assert_int_equal(v.byte_id[' '], 0);
    assert_int_equal(v.byte_id['q'], HS_NO_TOKEN);
    hs__vocab_deinit(&v);
    assert_int_equal(hs__vocab_init(&v, HS__BYTE_ALPHABET, HS__MAX_ID + 1, &err), -E2BIG);
    assert_int_equal(hs__vocab_init_merges(&v, HS__MAX_MERGES + 1, &err), -E2BIG);
    hs__vocab_deinit(&v);
}

/* The byte alphabet has 256 characters, one for each byte. */
static void test_byte_alphabet(void **state)
{
    (void)state;
    bool seen[256] = {false};
    size_t count = 0, n;
    for (unsigned cp = 0; cp < 0x800; cp++) {
        char text[2] = {(char)(0xc0 | cp >> 6), (char)(0x80 | (cp & 0x3f))}, out[2];
        bool ascii = cp < 0x80;
        if (hs__vocab_decode(HS__BYTE_ALPHABET, ascii ? &(char){(char)cp} : text, ascii ? 1 : 2, out, &n) != HS__PLAIN)
            continue;
        assert_int_equal(n, 1);
        assert_false(seen[(unsigned char)out[0]]);
        seen[(unsigned char)out[0]] = true;
        count++;
    }
    assert_int_equal(count, 256);
    char out[8];
    /* U+0100, U+0143: bytes 0 and 0xad */
    assert_int_equal(hs__vocab_decode(HS__BYTE_ALPHABET, "\xc4\x80\xc5\x83", 4, out, &n), HS__PLAIN);
    assert_int_equal(n, 2);
    assert_memory_equal(out, "\0\xad", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_vocab),
        cmocka_unit_test(test_byte_alphabet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

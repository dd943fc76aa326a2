/* exponent_avx512.c - 64 exponents at a time; what a level does not name is spread by one instruction (VBMI2). Elements
 * go past the caches where they can: a third faster, and who multiplies them next streams them anyway. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stddef.h>

#include "store/exponent_int.h"

#define GROUP HS_EXPONENT_GROUP
#define HERE  __attribute__((target("avx512vbmi2,popcnt")))

static bool is_supported(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("popcnt");
}

/* 64 exponents of codes that stand in the low 2 bits of each byte, which has no other bits; moves next on. */
HERE static inline __m512i exponents(__m512i code, __m512i symbols, const uint8_t **next)
{
    __mmask64 mask = _mm512_cmpeq_epi8_mask(code, _mm512_set1_epi8(3));
    __m512i named = _mm512_shuffle_epi8(symbols, code);
    __m512i e = _mm512_mask_expand_epi8(named, mask, _mm512_loadu_si512(*next));
    *next += __builtin_popcountll(mask);
    return e;
}

HERE static inline __m512i symbols_of(const hs__level *l)
{
    int32_t s = (int32_t)(l->symbol[0] | (uint32_t)l->symbol[1] << 8 | (uint32_t)l->symbol[2] << 16);
    return _mm512_broadcast_i32x4(_mm_cvtsi32_si128(s));
}

/* The j-th 64 codes of a group. */
HERE static inline __m512i codes(__m512i code, uint32_t j)
{
    return _mm512_and_si512(_mm512_srli_epi16(code, j * 2), _mm512_set1_epi8(3));
}

HERE static const uint8_t *level_avx512(const hs__level *l, uint8_t *out)
{
    const uint8_t *next = l->next, *code = l->code;
    __m512i symbols = symbols_of(l);
    for (uint32_t g = 0; g < l->groups; g++, code += GROUP / 4, out += GROUP) {
        __m512i c = _mm512_loadu_si512(code);
#pragma GCC unroll 4
        for (uint32_t j = 0; j < 4; j++)
            _mm512_storeu_si512(out + j * 64, exponents(codes(c, j), symbols, &next));
        if (next > l->end)
            return NULL;
    }
    return next;
}

HERE static inline void put(uint8_t *out, __m512i v, bool past_caches)
{
    if (past_caches)
        _mm512_stream_si512((void *)out, v);
    else
        _mm512_storeu_si512(out, v);
}

HERE static const uint8_t *join8_avx512(const hs__level *l, const uint8_t *rest, uint8_t *out)
{
    const uint8_t *next = l->next, *code = l->code;
    bool past_caches = (uintptr_t)out % 64 == 0;
    __m512i symbols = symbols_of(l);
    for (uint32_t g = 0; g < l->groups; g++, code += GROUP / 4, rest += GROUP / 2, out += GROUP) {
        __m512i c = _mm512_loadu_si512(code);
#pragma GCC unroll 4
        for (uint32_t j = 0; j < 4; j++) {
            __m512i x = _mm512_srli_epi16(_mm512_loadu_si512(rest + j / 2 * 64), j % 2 * 4);
            __m512i sign = _mm512_and_si512(_mm512_slli_epi16(x, 4), _mm512_set1_epi8((char)0x80));
            __m512i e = _mm512_slli_epi16(exponents(codes(c, j), symbols, &next), 3);
            /* bits of mantissa from x, of the exponent from e, the sign's from sign */
            e = _mm512_ternarylogic_epi64(_mm512_set1_epi8(7), x, e, 0xCA);
            e = _mm512_ternarylogic_epi64(_mm512_set1_epi8((char)0x80), sign, e, 0xCA);
            put(out + j * 64, e, past_caches);
        }
        if (next > l->end)
            return NULL;
    }
    _mm_sfence();
    return next;
}

HERE static const uint8_t *join16_avx512(const hs__level *l, const uint8_t *rest, uint8_t *out)
{
    const uint8_t *next = l->next, *code = l->code;
    bool past_caches = (uintptr_t)out % 64 == 0;
    __m512i symbols = symbols_of(l), high = _mm512_set1_epi8((char)0x80);
    for (uint32_t g = 0; g < l->groups; g++, code += GROUP / 4, rest += GROUP, out += 2 * GROUP) {
        __m512i c = _mm512_loadu_si512(code);
#pragma GCC unroll 4
        for (uint32_t j = 0; j < 4; j++) {
            __m512i x = _mm512_loadu_si512(rest + j * 64), e = exponents(codes(c, j), symbols, &next);
            __m512i lo = _mm512_ternarylogic_epi64(high, _mm512_slli_epi16(e, 7), x, 0xCA);
            __m512i hi = _mm512_ternarylogic_epi64(high, x, _mm512_srli_epi16(e, 1), 0xCA);
            __m512i a = _mm512_unpacklo_epi8(lo, hi), b = _mm512_unpackhi_epi8(lo, hi);
            const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            put(out + j * 128, _mm512_permutex2var_epi64(a, first, b), past_caches);
            put(out + j * 128 + 64, _mm512_permutex2var_epi64(a, second, b), past_caches);
        }
        if (next > l->end)
            return NULL;
    }
    _mm_sfence();
    return next;
}

const hs__exponent_kernels hs__exponent_avx512 = {"avx512", is_supported, level_avx512, join8_avx512, join16_avx512};
#else
typedef int hs__no_avx512;
#endif

/* exponent_avx2.c - 32 exponents at a time: what a level names comes from a shuffle of its symbols, what it does not is
 * spread from the next level's exponents, eight at a time, by a table of shuffles. Elements go past the caches where
 * they can: who multiplies them next streams them anyway. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stddef.h>

#include "store/exponent_int.h"

#define GROUP HS_EXPONENT_GROUP

/* spread.shuffle[m]: byte i takes the k-th byte if bit i is the k-th one set in m, else 0. */
static struct {
    uint8_t shuffle[256][8];
} spread;

__attribute__((constructor)) static void fill_spread(void)
{
    for (uint32_t m = 0; m < 256; m++)
        for (uint32_t i = 0, k = 0; i < 8; i++)
            spread.shuffle[m][i] = m >> i & 1 ? (uint8_t)k++ : 0x80;
}

static bool is_supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

static __m128i two(const void *lo, const void *hi)
{
    return _mm_unpacklo_epi64(_mm_loadl_epi64(lo), _mm_loadl_epi64(hi));
}

/* 16 bytes: those of mask's 16 bits from next on, in order. */
static __m128i spread16(const uint8_t *next, uint32_t mask)
{
    uint32_t lo = mask & 255, hi = mask >> 8 & 255;
    __m128i from = two(next, next + __builtin_popcount(lo));
    __m128i how = _mm_add_epi8(two(spread.shuffle[lo], spread.shuffle[hi]), _mm_set_epi64x(0x0808080808080808, 0));
    return _mm_shuffle_epi8(from, how);
}

/* 32 exponents of codes that stand in the low 2 bits of each byte, which has no other bits; moves next on. */
static inline __m256i exponents(__m256i code, __m256i symbols, const uint8_t **next)
{
    uint32_t mask =
        (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(_mm256_and_si256(code, _mm256_srli_epi16(code, 1)), 7));
    __m256i named = _mm256_shuffle_epi8(symbols, code);
    __m128i lo = spread16(*next, mask & 0xffff);
    __m128i hi = spread16(*next + __builtin_popcount(mask & 0xffff), mask >> 16);
    *next += __builtin_popcount(mask);
    return _mm256_or_si256(named, _mm256_set_m128i(hi, lo));
}

static inline __m256i symbols_of(const hs__level *l)
{
    int32_t s = (int32_t)(l->symbol[0] | (uint32_t)l->symbol[1] << 8 | (uint32_t)l->symbol[2] << 16);
    return _mm256_broadcastsi128_si256(_mm_cvtsi32_si128(s));
}

/* The j-th 32 codes of a group, j in 0..7. */
static inline __m256i codes(const uint8_t *code, uint32_t j)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(code + j % 2 * 32));
    return _mm256_and_si256(_mm256_srli_epi16(v, (int)(j / 2 * 2)), _mm256_set1_epi8(3));
}

static const uint8_t *level_avx2(const hs__level *l, uint8_t *out)
{
    const uint8_t *next = l->next, *code = l->code;
    __m256i symbols = symbols_of(l);
    for (uint32_t g = 0; g < l->groups; g++, code += GROUP / 4, out += GROUP) {
#pragma GCC unroll 8
        for (uint32_t j = 0; j < 8; j++)
            _mm256_storeu_si256((__m256i *)(void *)(out + j * 32), exponents(codes(code, j), symbols, &next));
        if (next > l->end)
            return NULL;
    }
    return next;
}

static inline void put(uint8_t *out, __m256i v, bool past_caches)
{
    if (past_caches)
        _mm256_stream_si256((__m256i *)(void *)out, v);
    else
        _mm256_storeu_si256((__m256i *)(void *)out, v);
}

static const uint8_t *join8_avx2(const hs__level *l, const uint8_t *rest, uint8_t *out)
{
    const uint8_t *next = l->next, *code = l->code;
    bool past_caches = (uintptr_t)out % 64 == 0;
    __m256i symbols = symbols_of(l);
    for (uint32_t g = 0; g < l->groups; g++, code += GROUP / 4, rest += GROUP / 2, out += GROUP) {
#pragma GCC unroll 8
        for (uint32_t j = 0; j < 8; j++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(rest + j / 4 * 64 + j % 2 * 32));
            x = _mm256_and_si256(_mm256_srli_epi16(x, (int)(j / 2 % 2 * 4)), _mm256_set1_epi8(15));
            __m256i sign = _mm256_slli_epi16(_mm256_and_si256(x, _mm256_set1_epi8(8)), 4);
            __m256i mantissa = _mm256_and_si256(x, _mm256_set1_epi8(7));
            __m256i e = _mm256_slli_epi16(exponents(codes(code, j), symbols, &next), 3);
            e = _mm256_and_si256(e, _mm256_set1_epi8(0x78));
            put(out + j * 32, _mm256_or_si256(_mm256_or_si256(sign, mantissa), e), past_caches);
        }
        if (next > l->end)
            return NULL;
    }
    _mm_sfence();
    return next;
}

static const uint8_t *join16_avx2(const hs__level *l, const uint8_t *rest, uint8_t *out)
{
    const uint8_t *next = l->next, *code = l->code;
    bool past_caches = (uintptr_t)out % 64 == 0;
    __m256i symbols = symbols_of(l), high = _mm256_set1_epi8((char)0x80);
    for (uint32_t g = 0; g < l->groups; g++, code += GROUP / 4, rest += GROUP, out += 2 * GROUP) {
#pragma GCC unroll 8
        for (uint32_t j = 0; j < 8; j++) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(rest + j * 32));
            __m256i e = exponents(codes(code, j), symbols, &next);
            __m256i lo = _mm256_or_si256(_mm256_andnot_si256(high, x), _mm256_and_si256(_mm256_slli_epi16(e, 7), high));
            __m256i hi = _mm256_or_si256(_mm256_and_si256(high, x), _mm256_andnot_si256(high, _mm256_srli_epi16(e, 1)));
            __m256i a = _mm256_unpacklo_epi8(lo, hi), b = _mm256_unpackhi_epi8(lo, hi);
            put(out + j * 64, _mm256_permute2x128_si256(a, b, 0x20), past_caches);
            put(out + j * 64 + 32, _mm256_permute2x128_si256(a, b, 0x31), past_caches);
        }
        if (next > l->end)
            return NULL;
    }
    _mm_sfence();
    return next;
}

const hs__exponent_kernels hs__exponent_avx2 = {"avx2", is_supported, level_avx2, join8_avx2, join16_avx2};
#else
typedef int hs__no_avx2;
#endif

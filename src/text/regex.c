/*
 * regex.c - PCRE2 behind hs__regex: bounded searching.
 *
 * PCRE2's match limit counts backtracking steps per start position. Every start has FREE_STEPS for nothing, which is
 * more than real split patterns need; from the first start that needs more, starts are tried one at a time with a
 * limit that grows and is charged to the allowance of the whole text. So the work is linear in the text's length.
 */
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/buf.h"
#include "base/mem.h"
#include "text/regex_int.h"
#include "text/utf8.h"

#define FREE_STEPS     256u
#define STEPS_PER_BYTE 256u
#define STEPS_AT_LEAST (16u << 20)
#define MAX_HEAP_KIB   (64u << 10)

struct hs__regex {
    pcre2_code *code;
    char where[64];
};

struct hs__regex_scratch {
    pcre2_match_context *context;
    pcre2_match_data *match;
    uint64_t allowance; /* backtracking steps left */
};

static void *allocate(size_t n, void *user)
{
    (void)user;
    return hs_malloc(n);
}

static void release(void *p, void *user)
{
    (void)user;
    hs_free(p);
}

static pcre2_code *compile(const hs_buf *pattern, int *ret_code, PCRE2_SIZE *ret_at)
{
    *ret_code = PCRE2_ERROR_NOMEMORY;
    *ret_at = 0;
    pcre2_code *code = NULL;
    pcre2_general_context *general = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    if (context) {
        (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        code = pcre2_compile((PCRE2_SPTR)pattern->data, pattern->len,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
                             ret_code, ret_at, context);
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    return code;
}

int hs__regex_create(const char *pattern, size_t len, const char *where, hs__regex **ret, hs_err *err)
{
    if (len > HS__MAX_PATTERN)
        return hs_err_set(err, -E2BIG, "%s: the regular expression has %zu bytes; at most %d are possible", where, len,
                          HS__MAX_PATTERN);
    hs_buf translated;
    hs_buf_init(&translated, 16 * HS__MAX_PATTERN);
    int r = hs__regex_translate(pattern, len, where, &translated, err), code;
    PCRE2_SIZE at;
    hs__regex *re = r < 0 ? NULL : hs_calloc(1, sizeof *re);
    if (r == 0 && !re)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    if (r == 0 && !(re->code = compile(&translated, &code, &at))) {
        PCRE2_UCHAR text[160];
        pcre2_get_error_message(code, text, sizeof text);
        r = hs_err_set(err, -EINVAL, "%s: regular expression: %s near byte %zu", where, (char *)text, (size_t)at);
    }
    hs_buf_deinit(&translated);
    if (r < 0) {
        hs__regex_destroy(&re);
        return r;
    }
    for (size_t i = 0; i + 1 < sizeof re->where && where[i]; i++)
        re->where[i] = where[i];
    *ret = re;
    return 0;
}

void hs__regex_destroy(hs__regex **re)
{
    if (*re)
        pcre2_code_free((*re)->code);
    hs_free(*re);
    *re = NULL;
}

uint64_t hs__regex_bytes(const hs__regex *re)
{
    size_t n = 0;
    (void)pcre2_pattern_info(re->code, PCRE2_INFO_SIZE, &n);
    return n + sizeof *re;
}

int hs__regex_scratch_create(size_t text_len, hs__regex_scratch **ret, hs_err *err)
{
    hs__regex_scratch *s = hs_calloc(1, sizeof *s);
    pcre2_general_context *general = s ? pcre2_general_context_create(allocate, release, NULL) : NULL;
    if (general) {
        s->context = pcre2_match_context_create(general);
        s->match = pcre2_match_data_create(1, general);
        s->allowance = STEPS_AT_LEAST + (uint64_t)text_len * STEPS_PER_BYTE;
    }
    pcre2_general_context_free(general);
    if (!general || !s->context || !s->match) {
        hs__regex_scratch_destroy(&s);
        return hs_err_set(err, -ENOMEM, "tokenizer: out of memory");
    }
    (void)pcre2_set_heap_limit(s->context, MAX_HEAP_KIB);
    *ret = s;
    return 0;
}

void hs__regex_scratch_destroy(hs__regex_scratch **s)
{
    if (*s) {
        pcre2_match_context_free((*s)->context);
        pcre2_match_data_free((*s)->match);
    }
    hs_free(*s);
    *s = NULL;
}

static int fail(const hs__regex *re, int code, hs_err *err)
{
    if (code == PCRE2_ERROR_NOMEMORY)
        return hs_err_set(err, -ENOMEM, "tokenizer: out of memory");
    if (code == PCRE2_ERROR_MATCHLIMIT || code == PCRE2_ERROR_HEAPLIMIT || code == PCRE2_ERROR_DEPTHLIMIT)
        return hs_err_set(err, -E2BIG, "tokenizer: %s: the regular expression needs too many steps for this text",
                          re->where);
    PCRE2_UCHAR text[160];
    pcre2_get_error_message(code, text, sizeof text);
    return hs_err_set(err, -EINVAL, "tokenizer: %s: %s", re->where, (char *)text);
}

int hs__regex_find(const hs__regex *re, hs__regex_scratch *s, const char *text, size_t len, size_t from,
                   size_t *ret_begin, size_t *ret_end, hs_err *err)
{
    uint32_t limit = FREE_STEPS;
    bool one_start = false;
    for (;;) {
        (void)pcre2_set_match_limit(s->context, limit);
        int rc = pcre2_match(re->code, (PCRE2_SPTR)text, len, from,
                             PCRE2_NO_UTF_CHECK | (one_start ? PCRE2_ANCHORED : 0), s->match, s->context);
        if (rc >= 0) {
            const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->match);
            *ret_begin = at[0];
            *ret_end = at[1];
            /* \K in a lookaround can turn a match around. */
            return at[0] <= at[1] && at[0] >= from ? 1 : fail(re, PCRE2_ERROR_BADSUBSPATTERN, err);
        }
        if (rc == PCRE2_ERROR_NOMATCH) {
            if (!one_start || from >= len)
                return 0;
            from += hs__utf8_len(text + from);
            limit = FREE_STEPS;
        } else if (rc == PCRE2_ERROR_MATCHLIMIT && !one_start) {
            one_start = true;
        } else if (rc == PCRE2_ERROR_MATCHLIMIT && limit < UINT32_MAX / 8 && s->allowance >= (uint64_t)limit * 8) {
            limit *= 8;
            s->allowance -= limit;
        } else {
            return fail(re, rc, err);
        }
    }
}

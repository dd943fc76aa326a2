/*
 * regex.c - PCRE2 behind hs__regex: bounded searching.
 *
 * Three bounds. One start position may backtrack STEPS times, more for a long text, which stops exponential patterns
 * the same way on every machine. One text may take TIME of the processor in all, which stops patterns that are
 * quadratic in ways that PCRE2 does not count; a callout at the pattern's begin looks at the clock every LOOK_EVERY
 * start positions. And backtracking may take HS__REGEX_MAX_HEAP_KIB. Real split patterns take 0.1 us per byte.
 */
#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "text/regex_int.h"

#define STEPS_AT_LEAST   (1u << 20)
#define STEPS_PER_BYTE   16u
#define TIME_AT_LEAST_NS 500000000u
#define TIME_PER_BYTE_NS 2000u
#define LOOK_EVERY       64u

struct hs__regex {
    pcre2_code *code;
    char where[64];
};

struct hs__regex_scratch {
    pcre2_match_context *context;
    pcre2_match_data *match;
    uint64_t deadline_ns; /* 0: not set yet */
    size_t text_len;
    uint32_t starts; /* tried so far; wraps */
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

static pcre2_code *compile(const hs_buf *pattern, int *ret_code)
{
    *ret_code = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at;
    pcre2_code *code = NULL;
    pcre2_general_context *general = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    if (context) {
        (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        code = pcre2_compile((PCRE2_SPTR)pattern->data, pattern->len,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE,
                             ret_code, &at, context);
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
    (void)hs_buf_puts(&translated, "(?C1)(?:");
    int r = hs__regex_translate(pattern, len, where, &translated, err), code;
    if (r == 0 && hs_buf_puts(&translated, ")") < 0)
        r = hs_err_set(err, translated.failed, "%s: out of memory", where);
    hs__regex *re = r < 0 ? NULL : hs_calloc(1, sizeof *re);
    if (r == 0 && !re)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    if (r == 0 && !(re->code = compile(&translated, &code))) {
        PCRE2_UCHAR text[160];
        pcre2_get_error_message(code, text, sizeof text);
        int memory = code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAP_FAILED;
        r = hs_err_set(err, memory ? -ENOMEM : -EINVAL, "%s: regular expression: %s", where, (char *)text);
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

/* Called where a match may begin: has this text had its time? */
static int look_at_clock(pcre2_callout_block *block, void *user)
{
    (void)block;
    hs__regex_scratch *s = user;
    if (s->starts++ % LOOK_EVERY)
        return 0;
    uint64_t now = hs_thread_ns();
    if (!s->deadline_ns)
        s->deadline_ns = now + TIME_AT_LEAST_NS + s->text_len * TIME_PER_BYTE_NS;
    return now > s->deadline_ns ? PCRE2_ERROR_CALLOUT : 0;
}

int hs__regex_scratch_create(size_t text_len, hs__regex_scratch **ret, hs_err *err)
{
    hs__regex_scratch *s = hs_calloc(1, sizeof *s);
    pcre2_general_context *general = s ? pcre2_general_context_create(allocate, release, NULL) : NULL;
    if (general) {
        s->context = pcre2_match_context_create(general);
        s->match = pcre2_match_data_create(1, general);
        s->text_len = text_len;
    }
    pcre2_general_context_free(general);
    if (!general || !s->context || !s->match) {
        hs__regex_scratch_destroy(&s);
        return hs_err_set(err, -ENOMEM, "tokenizer: out of memory");
    }
    uint64_t steps = STEPS_AT_LEAST + (uint64_t)text_len * STEPS_PER_BYTE;
    (void)pcre2_set_match_limit(s->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    (void)pcre2_set_heap_limit(s->context, HS__REGEX_MAX_HEAP_KIB);
    (void)pcre2_set_callout(s->context, look_at_clock, s);
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
    if (code == PCRE2_ERROR_CALLOUT)
        return hs_err_set(err, -ETIMEDOUT, "tokenizer: %s: the regular expression is too slow for this text",
                          re->where);
    PCRE2_UCHAR text[160];
    pcre2_get_error_message(code, text, sizeof text);
    return hs_err_set(err, -EINVAL, "tokenizer: %s: %s", re->where, (char *)text);
}

int hs__regex_find(const hs__regex *re, hs__regex_scratch *s, const char *text, size_t len, size_t from,
                   size_t *ret_begin, size_t *ret_end, hs_err *err)
{
    int rc = pcre2_match(re->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, s->match, s->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->match);
    if (rc >= 0 && (at[0] < from || at[1] < at[0]))
        rc = PCRE2_ERROR_BADOFFSET;
    if (rc < 0)
        return fail(re, rc, err);
    *ret_begin = at[0];
    *ret_end = at[1];
    return 1;
}

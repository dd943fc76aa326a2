/*
 * option.h - the option registry. Each room declares its options in one table; the tables make the config parser, the
 * environment and flag overrides, --print-config, config/hotset.conf (a test compares) and the man page.
 */
#ifndef HS_BASE_OPTION_H
#define HS_BASE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum hs_option_type {
    HS_OPT_STRING,
    HS_OPT_INT,
    HS_OPT_NUMBER,
    HS_OPT_SIZE,     /* hs_parse_size */
    HS_OPT_SECONDS,  /* integer with optional s, min, h */
    HS_OPT_ENUM,     /* one of choices */
    HS_OPT_CACHE,    /* auto, NN%, or SIZE */
    HS_OPT_AUTO_SIZE /* auto or SIZE */
} hs_option_type;

typedef struct hs_option {
    const char *section; /* "cache"; "model" = the [model NAME] sections */
    const char *key;
    hs_option_type type;
    const char *def;     /* as it would be written in the file; "" = unset */
    double min, max;     /* INT, NUMBER, SIZE, SECONDS */
    const char *choices; /* ENUM: "a|b|c" */
    const char *unit;    /* "bytes", "tokens", … or "" */
    const char *help;    /* whole sentences: purpose, choices, when to change */
    bool reloadable;     /* SIGHUP applies it */
} hs_option;

typedef struct hs_option_table {
    const hs_option *options;
    size_t n;
} hs_option_table;

#define HS_OPTION_TABLE(array)                                                                                         \
    {                                                                                                                  \
        (array), sizeof(array) / sizeof((array)[0])                                                                    \
    }

/* Checks a value's text against the option: 0, or -EINVAL with "section.key: …" in the sentence. */
int hs_option_check(const hs_option *o, const char *value, hs_err *err) HS_MUST_CHECK;

/* "4G", "3.5G", "512MiB", "4096" -> bytes. A fraction needs a suffix. -EINVAL, -ERANGE. */
int hs_parse_size(const char *text, uint64_t *ret) HS_MUST_CHECK;
/* Whole-string integers and numbers, no blanks, no trailing text. */
int hs_parse_int(const char *text, int64_t *ret) HS_MUST_CHECK;
int hs_parse_number(const char *text, double *ret) HS_MUST_CHECK;
int hs_parse_seconds(const char *text, int64_t *ret) HS_MUST_CHECK;

typedef enum hs_size_kind { HS_SIZE_AUTO, HS_SIZE_BYTES, HS_SIZE_PERCENT } hs_size_kind;
typedef struct hs_size_spec {
    hs_size_kind kind;
    uint64_t bytes;
    double percent;
} hs_size_spec;
/* "auto", "25%", "4G". */
int hs_parse_size_spec(const char *text, hs_size_spec *ret) HS_MUST_CHECK;

/* Whether value is one of choices, "a|b|c". */
bool hs_is_choice(const char *choices, const char *value);
/* The next of a list with commas between, without the blanks around it, borrowed; moves *at on. False behind the last;
 * empty ones are passed over. */
bool hs_next_item(const char **at, const char **ret_item, size_t *ret_len);

/* Human form with one decimal: "10.9 GiB". Returns buf. */
const char *hs_format_size(uint64_t bytes, char *buf, size_t cap);

#endif

/*
 * args.h - command lines, declared as tables: one hs_verb per verb with its hs_flag table makes both the parser and
 * --help, so they cannot disagree.
 *
 * Grammar: --name VALUE or --name=VALUE, switches without a value, -h for --help, "--" ends the flags; flags and
 * operands mix. A flag given twice: the last one counts, except LIST flags, which collect. Values are checked while
 * parsing, so the getters cannot fail; asking for a flag that the verb does not declare is a programming error
 * (assert).
 */
#ifndef HS_CLI_ARGS_H
#define HS_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HS_ARGS_MAX_GIVEN    256
#define HS_ARGS_MAX_OPERANDS 16

typedef enum hs_flag_type {
    HS_FLAG_SWITCH,
    HS_FLAG_TEXT,
    HS_FLAG_INT,    /* in [min, max] */
    HS_FLAG_NUMBER, /* in [min, max] */
    HS_FLAG_SIZE,   /* at least min */
    HS_FLAG_CHOICE, /* value = "a|b|c" */
    HS_FLAG_LIST    /* text, repeatable */
} hs_flag_type;

typedef struct hs_flag {
    const char *name; /* without the dashes; NULL ends a table */
    hs_flag_type type;
    const char *value; /* placeholder in --help; CHOICE: the choices */
    double min, max;
    const char *help; /* one or two lines' worth; wrapped */
} hs_flag;

struct hs_args;

typedef struct hs_verb {
    const char *name;
    const char *synopsis; /* operands, e.g. "SRC DST" */
    const char *summary;  /* one line */
    const char *details;  /* further paragraphs, separated by blank lines; may be NULL */
    const hs_flag *flags;
    size_t min_operands, max_operands;
    const char *first; /* what the first operand must be, if it has to be there: "the model's folder"; may be NULL */
    int (*run)(const struct hs_args *args); /* the exit status: 0, 1, 2 */
} hs_verb;

typedef struct hs_args {
    const hs_verb *verb;
    char *const *env; /* environ, from main */
    bool help;        /* --help was given; nothing else has been checked then */
    size_t n_given, n_operands;
    struct {
        const hs_flag *flag;
        const char *value; /* borrowed from argv; NULL for switches */
    } given[HS_ARGS_MAX_GIVEN];
    const char *operands[HS_ARGS_MAX_OPERANDS];
} hs_args;

/* argv without program and verb. -EINVAL: one sentence for the user. */
int hs_args_parse(const hs_verb *verb, int argc, char *const *argv, hs_args *ret_args, hs_err *err) HS_MUST_CHECK;

bool hs_args_has(const hs_args *a, const char *name);
const char *hs_args_text(const hs_args *a, const char *name); /* NULL when not given */
int64_t hs_args_int(const hs_args *a, const char *name, int64_t def);
double hs_args_number(const hs_args *a, const char *name, double def);
uint64_t hs_args_size(const hs_args *a, const char *name, uint64_t def);
/* The i-th value of a LIST flag, NULL past the last. */
const char *hs_args_list(const hs_args *a, const char *name, size_t i);

/* The text of --help. */
void hs_verb_help(const hs_verb *verb, hs_buf *out);
/* text wrapped to 80 columns, each line indented; blank lines separate paragraphs. */
void hs_wrap(hs_buf *out, const char *text, size_t indent);

#endif

/* args.c - parsing by table, and the help text from the same table. Pure: argv comes in, nothing is printed. */
#include "cli/args.h"

#include <assert.h>
#include <string.h>

#include "base/nearest.h"
#include "base/option.h"

#define HELP_WIDTH 80

static size_t count_flags(const hs_flag *flags)
{
    size_t n = 0;
    while (flags && flags[n].name)
        n++;
    return n;
}

static const char *flag_name(const void *ctx, size_t i)
{
    return ((const hs_flag *)ctx)[i].name;
}

static const hs_flag *find_flag(const hs_verb *verb, const char *name, size_t len)
{
    for (const hs_flag *f = verb->flags; f && f->name; f++)
        if (strlen(f->name) == len && !memcmp(f->name, name, len))
            return f;
    return NULL;
}

static int unknown_flag(const hs_verb *verb, const char *given, hs_err *err)
{
    char word[HS_NEAREST_MAX];
    const char *begin = given + strspn(given, "-");
    size_t len = strcspn(begin, "="), n = count_flags(verb->flags), near = n;
    if (len < sizeof word) {
        memcpy(word, begin, len);
        word[len] = '\0';
        near = hs_nearest(word, flag_name, verb->flags, n);
    }
    if (near < n)
        return hs_err_set(err, -EINVAL, "unknown flag %.*s; did you mean --%s?", (int)(begin - given + len), given,
                          verb->flags[near].name);
    return hs_err_set(err, -EINVAL, "unknown flag %.*s", (int)(begin - given + len), given);
}

static int check_range(const hs_flag *f, const char *value, double v, hs_err *err)
{
    if (f->max > f->min && (v < f->min || v > f->max))
        return hs_err_set(err, -EINVAL, "--%s %s is outside %.15g to %.15g", f->name, value, f->min, f->max);
    return 0;
}

static int check_value(const hs_flag *f, const char *value, hs_err *err)
{
    int64_t i;
    double d;
    uint64_t u;
    switch (f->type) {
    case HS_FLAG_INT:
        if (hs_parse_int(value, &i) < 0)
            return hs_err_set(err, -EINVAL, "--%s needs an integer, not '%s'", f->name, value);
        return check_range(f, value, (double)i, err);
    case HS_FLAG_NUMBER:
        if (hs_parse_number(value, &d) < 0)
            return hs_err_set(err, -EINVAL, "--%s needs a number, not '%s'", f->name, value);
        return check_range(f, value, d, err);
    case HS_FLAG_SIZE:
        if (hs_parse_size(value, &u) < 0)
            return hs_err_set(err, -EINVAL, "--%s needs a size such as 512MiB or 4G, not '%s'", f->name, value);
        if ((double)u < f->min)
            return hs_err_set(err, -EINVAL, "--%s %s is under %.15g bytes", f->name, value, f->min);
        return 0;
    case HS_FLAG_CHOICE:
        if (!hs_is_choice(f->value, value))
            return hs_err_set(err, -EINVAL, "--%s needs one of %s, not '%s'", f->name, f->value, value);
        return 0;
    default:
        return 0;
    }
}

/* One flag at argv[*at]; moves *at to the last word it consumed. */
static int parse_flag(hs_args *a, int argc, char *const *argv, int *at, hs_err *err)
{
    const char *word = argv[*at];
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    const hs_flag *f = word[1] == '-' ? find_flag(a->verb, name, len) : NULL;
    if (!f)
        return unknown_flag(a->verb, word, err);
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    if (f->type == HS_FLAG_SWITCH) {
        if (value)
            return hs_err_set(err, -EINVAL, "--%s takes no value", f->name);
    } else {
        if (!value && *at + 1 < argc)
            value = argv[++*at];
        if (!value)
            return hs_err_set(err, -EINVAL, "--%s needs a value: --%s %s", f->name, f->name, f->value);
        int r = check_value(f, value, err);
        if (r < 0)
            return r;
    }
    if (a->n_given == HS_ARGS_MAX_GIVEN)
        return hs_err_set(err, -EINVAL, "more than %d flags", HS_ARGS_MAX_GIVEN);
    a->given[a->n_given].flag = f;
    a->given[a->n_given++].value = value;
    return 0;
}

static bool asks_help(int argc, char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

int hs_args_parse(const hs_verb *verb, int argc, char *const *argv, hs_args *ret_args, hs_err *err)
{
    hs_args a = {.verb = verb, .env = ret_args->env};
    if (asks_help(argc, argv)) {
        a.help = true;
        *ret_args = a;
        return 0;
    }
    bool flags_end = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!flags_end && !strcmp(word, "--")) {
            flags_end = true;
            continue;
        }
        if (!flags_end && word[0] == '-' && word[1]) {
            int r = parse_flag(&a, argc, argv, &i, err);
            if (r < 0)
                return r;
            continue;
        }
        if (a.n_operands == verb->max_operands || a.n_operands == HS_ARGS_MAX_OPERANDS)
            return hs_err_set(err, -EINVAL, "'%s' is one operand too many", word);
        a.operands[a.n_operands++] = word;
    }
    if (a.n_operands < verb->min_operands)
        return hs_err_set(err, -EINVAL, "missing operand: hotset %s %s", verb->name, verb->synopsis);
    *ret_args = a;
    return 0;
}

/* The last occurrence, or NULL. */
static const char *last(const hs_args *a, const char *name, bool *ret_given)
{
    assert(find_flag(a->verb, name, strlen(name)) && "the verb does not declare this flag");
    for (size_t i = a->n_given; i-- > 0;) {
        if (!strcmp(a->given[i].flag->name, name)) {
            *ret_given = true;
            return a->given[i].value;
        }
    }
    *ret_given = false;
    return NULL;
}

bool hs_args_has(const hs_args *a, const char *name)
{
    bool given;
    last(a, name, &given);
    return given;
}

const char *hs_args_text(const hs_args *a, const char *name)
{
    bool given;
    return last(a, name, &given);
}

int64_t hs_args_int(const hs_args *a, const char *name, int64_t def)
{
    const char *v = hs_args_text(a, name);
    return v && hs_parse_int(v, &def) < 0 ? 0 : def;
}

double hs_args_number(const hs_args *a, const char *name, double def)
{
    const char *v = hs_args_text(a, name);
    return v && hs_parse_number(v, &def) < 0 ? 0 : def;
}

uint64_t hs_args_size(const hs_args *a, const char *name, uint64_t def)
{
    const char *v = hs_args_text(a, name);
    return v && hs_parse_size(v, &def) < 0 ? 0 : def;
}

const char *hs_args_list(const hs_args *a, const char *name, size_t i)
{
    for (size_t g = 0; g < a->n_given; g++)
        if (!strcmp(a->given[g].flag->name, name) && i-- == 0)
            return a->given[g].value;
    return NULL;
}

void hs_wrap(hs_buf *out, const char *text, size_t indent)
{
    size_t width = HELP_WIDTH - indent;
    while (*text) {
        size_t line = strcspn(text, "\n"), n = line;
        if (n > width) {
            n = width;
            while (n > 1 && text[n] != ' ')
                n--;
            if (n == 1)
                n = width;
        }
        if (n)
            hs_buf_printf(out, "%*s%.*s\n", (int)indent, "", (int)n, text);
        else
            hs_buf_puts(out, "\n");
        text += n;
        if (n == line && *text == '\n')
            text++;
        else
            while (*text == ' ')
                text++;
    }
}

void hs_verb_help(const hs_verb *verb, hs_buf *out)
{
    hs_buf_printf(out, "usage: hotset %s%s%s%s\n\n", verb->name, *verb->synopsis ? " " : "", verb->synopsis,
                  count_flags(verb->flags) ? " [flags]" : "");
    hs_wrap(out, verb->summary, 0);
    if (verb->details) {
        hs_buf_puts(out, "\n");
        hs_wrap(out, verb->details, 0);
    }
    hs_buf_puts(out, "\nflags:\n");
    for (const hs_flag *f = verb->flags; f && f->name; f++) {
        hs_buf_printf(out, "  --%s", f->name);
        if (f->type != HS_FLAG_SWITCH)
            hs_buf_printf(out, " %s", f->value);
        hs_buf_printf(out, "%s\n", f->type == HS_FLAG_LIST ? "   (repeatable)" : "");
        hs_wrap(out, f->help, 6);
    }
    hs_buf_puts(out, "  --help\n      this text\n");
}

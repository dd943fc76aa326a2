/*
 * jinja_int.h - the template language inside: values, syntax tree, and the state of one rendering.
 *
 * A program (source, tree, names) is built once and read-only afterwards; everything that a rendering makes lives in
 * its two arenas and dies with it, so values are plain structs without reference counts. Failures are negative errnos;
 * the sentence is set once, where the failure is found.
 */
#ifndef HS_TEXT_JINJA_INT_H
#define HS_TEXT_JINJA_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "text/template.h"

#define HS__J_MAX_STEPS  50000000 /* evaluated nodes, plus a share of the bytes and elements that builtins walk over */
#define HS__J_MAX_DEPTH  1000     /* nested evaluations, macro calls included */
#define HS__J_MAX_PARSE  150      /* nested expressions and blocks in the source */
#define HS__J_MAX_NESTED 500      /* levels of lists and dicts in one value */
#define HS__J_MAX_RANGE  100000   /* as the sandbox of the reference */

/* ---- memory: chunks that only grow; `left` is a budget that several arenas may share ---- */

typedef struct hs__jchunk hs__jchunk;
typedef struct hs__jarena {
    hs__jchunk *chunks;
    char *top, *end;
    size_t next_size;
    size_t *left;
    bool is_traced; /* each byte has an origin: HS__J_OWN or HS__J_INPUT */
    int failed;     /* -ENOMEM, or -E2BIG when the budget is used up */
} hs__jarena;

/* Where a byte comes from: the template (and all that a rendering makes of itself), or what clients sent. */
enum { HS__J_OWN = 0, HS__J_INPUT = 1 };

void hs__jarena_init(hs__jarena *a, bool is_traced, size_t *left);
void hs__jarena_deinit(hs__jarena *a);
/* 8-byte aligned, not zeroed; NULL with a->failed set. */
void *hs__jarena_alloc(hs__jarena *a, size_t n);
/* The n_old bytes at old and the n_more at more as one, without alignment, and with their origins. If the old ones end
 * where the arena ends, they are extended in place. */
char *hs__jarena_join(hs__jarena *a, const char *old, size_t n_old, const char *more, size_t n_more);
/* The origins of the bytes from p on, of a traced arena; NULL if p is not in it. */
uint8_t *hs__jarena_origin(const hs__jarena *a, const char *p);

/* ---- values ---- */

typedef enum hs__jtype {
    HS__J_MISSING, /* no value at all: unset variable, absent argument */
    HS__J_UNDEFINED,
    HS__J_NONE,
    HS__J_BOOL,
    HS__J_INT,
    HS__J_FLOAT,
    HS__J_STR,
    HS__J_LIST,
    HS__J_TUPLE,
    HS__J_DICT,
    HS__J_NAMESPACE,
    HS__J_RANGE,
    HS__J_ITER,
    HS__J_MACRO,
    HS__J_METHOD,
    HS__J_GLOBAL,
    HS__J_LOOP,
} hs__jtype;

typedef struct hs__jlist hs__jlist;
typedef struct hs__jdict hs__jdict;
typedef struct hs__jrange hs__jrange;
typedef struct hs__jiter hs__jiter;
typedef struct hs__jmacro hs__jmacro;
typedef struct hs__jmethod hs__jmethod;
typedef struct hs__jglobal hs__jglobal;
typedef struct hs__jloop hs__jloop;

typedef struct hs__jval {
    uint8_t type;
    uint8_t flag; /* STR: 1 = marked safe. UNDEFINED: type of the object that lacks the attribute, 0 = a plain name */
    uint32_t len; /* STR: bytes. UNDEFINED: bytes of the name */
    union {
        bool b;
        int64_t i;
        double d;
        const char *s; /* STR, UNDEFINED: not NUL-terminated */
        hs__jlist *list;
        hs__jdict *dict;
        hs__jrange *range;
        hs__jiter *iter;
        hs__jmacro *macro;
        hs__jmethod *method;
        const hs__jglobal *global;
        hs__jloop *loop;
    } as;
} hs__jval;

struct hs__jlist {
    hs__jval *items;
    uint32_t n, cap;
    bool is_shared; /* a slice refers to the same items: they are copied before they are changed */
};

typedef struct hs__jentry {
    hs__jval key, val;
} hs__jentry;

/* In order of insertion; an open-addressing index of entry numbers + 1 once there are more than a few. */
struct hs__jdict {
    hs__jentry *entries;
    uint32_t n, cap;
    uint32_t *index;
    uint32_t index_size; /* power of two, or 0 */
};

struct hs__jrange {
    int64_t start, stop, step;
};

/* What Python gives as an iterator or view: no indexing; an iterator can be walked once and is always true. */
struct hs__jiter {
    hs__jlist *list;
    bool is_view;
};

static inline hs__jval hs__jnone(void)
{
    return (hs__jval){.type = HS__J_NONE};
}
static inline hs__jval hs__jbool(bool b)
{
    return (hs__jval){.type = HS__J_BOOL, .as.b = b};
}
static inline hs__jval hs__jint(int64_t i)
{
    return (hs__jval){.type = HS__J_INT, .as.i = i};
}
static inline hs__jval hs__jfloat(double d)
{
    return (hs__jval){.type = HS__J_FLOAT, .as.d = d};
}
static inline hs__jval hs__jstr(const char *s, size_t n)
{
    return (hs__jval){.type = HS__J_STR, .len = (uint32_t)n, .as.s = s};
}
static inline hs__jval hs__jundefined(const char *name, size_t n, uint8_t of)
{
    return (hs__jval){.type = HS__J_UNDEFINED, .flag = of, .len = (uint32_t)n, .as.s = name};
}
static inline bool hs__jis(const hs__jval *v, const char *s, size_t n)
{
    return v->type == HS__J_STR && v->len == n && !__builtin_memcmp(v->as.s, s, n);
}

/* ---- syntax tree ---- */

typedef enum hs__jkind {
    /* expressions */
    HS__N_CONST,   /* val */
    HS__N_NAME,    /* sym, val = the name */
    HS__N_LIST,    /* a = elements */
    HS__N_TUPLE,   /* a = elements */
    HS__N_DICT,    /* a = PAIRs */
    HS__N_PAIR,    /* a, b */
    HS__N_GETATTR, /* a, val = the name */
    HS__N_GETITEM, /* a, b = expression or SLICE */
    HS__N_SLICE,   /* a, b, c, each may be NULL */
    HS__N_CALL,    /* a = callee, b = arguments */
    HS__N_KWARG,   /* val = the name, a */
    HS__N_FILTER,  /* val = the name, fn, a = input (NULL: a block's text), b = arguments */
    HS__N_TEST,    /* val = the name, fn, a = subject, b = arguments, op = 1 if negated */
    HS__N_COND,    /* a = condition, b = then, c = else or NULL */
    HS__N_AND,     /* a, b */
    HS__N_OR,      /* a, b */
    HS__N_NOT,     /* a */
    HS__N_COMPARE, /* a, b = OPERANDs */
    HS__N_OPERAND, /* op, a */
    HS__N_BINARY,  /* op, a, b */
    HS__N_CONCAT,  /* a = parts */
    HS__N_NEG,     /* a */
    HS__N_POS,     /* a */
    HS__N_NSREF,   /* target only: sym, val = the attribute */
    /* statements */
    HS__N_DATA,        /* val */
    HS__N_PRINT,       /* a */
    HS__N_IF,          /* a = condition, b = body, c = else body, or, with op = 1, the IF of an elif */
    HS__N_FOR,         /* a = target, b = iterable, c = body, d = else body, e = filter */
    HS__N_SET,         /* a = target, b = expression */
    HS__N_SETBLOCK,    /* a = target, b = body, c = FILTER chain or NULL */
    HS__N_MACRO,       /* sym, val = the name, a = PARAMs, b = body, op = uses (HS__J_USES_*) */
    HS__N_PARAM,       /* sym, val = the name, a = default or NULL */
    HS__N_CALLBLOCK,   /* a = PARAMs, b = body, c = CALL, op = uses */
    HS__N_FILTERBLOCK, /* b = body, c = FILTER chain */
    HS__N_WITH,        /* a = PAIRs (target, expression), b = body */
    HS__N_SCOPE,       /* b = body */
    HS__N_BREAK,
    HS__N_CONTINUE,
} hs__jkind;

enum { HS__J_USES_CALLER = 1, HS__J_USES_VARARGS = 2, HS__J_USES_KWARGS = 4 };

typedef enum hs__jop {
    HS__OP_ADD,
    HS__OP_SUB,
    HS__OP_MUL,
    HS__OP_DIV,
    HS__OP_FLOORDIV,
    HS__OP_MOD,
    HS__OP_POW,
    HS__OP_EQ,
    HS__OP_NE,
    HS__OP_LT,
    HS__OP_LE,
    HS__OP_GT,
    HS__OP_GE,
    HS__OP_IN,
    HS__OP_NOTIN,
} hs__jop;

typedef struct hs__jnode hs__jnode;
struct hs__jnode {
    uint8_t kind, op;
    uint32_t line;
    uint32_t sym;
    hs__jval val;
    const void *fn; /* hs__jfilter or hs__jtest; NULL: unknown, an error when it is reached */
    hs__jnode *a, *b, *c, *d, *e;
    hs__jnode *next; /* the next element of the list that this node is in */
};

/* Symbols that the evaluator itself needs; interned first, in this order. */
enum { HS__SYM_LOOP, HS__SYM_CALLER, HS__SYM_VARARGS, HS__SYM_KWARGS, HS__SYM_FIXED };

typedef struct hs__jprogram {
    size_t left;
    hs__jarena arena; /* tree, names, string constants */
    const char *where;
    hs__jnode *body;
    hs__jval *names; /* by symbol */
    uint32_t n_names;
    size_t cap_names;
    uint32_t *index;     /* open addressing over names: symbol + 1 */
    uint32_t index_size; /* a power of two; names are at most half of it */
} hs__jprogram;

/* source: valid or not, of any length up to HS_TEMPLATE_MAX_SOURCE; not kept. where is borrowed. */
int hs__jprogram_compile(hs__jprogram *p, const char *source, size_t len, const char *where, hs_err *err) HS_MUST_CHECK;
void hs__jprogram_deinit(hs__jprogram *p);
/* The symbol of a name, or UINT32_MAX if the program never mentions it. */
uint32_t hs__jprogram_find(const hs__jprogram *p, const char *name, size_t len);

/* ---- one rendering ---- */

typedef struct hs__jvar {
    uint32_t sym;
    hs__jval val;
} hs__jvar;

/* The outermost scope has a slot for each symbol; inner ones hold what was set in them. */
typedef struct hs__jscope {
    struct hs__jscope *parent;
    hs__jvar *vars;
    uint32_t n, cap;
    bool is_captured; /* a macro refers to it: it must not be reused for the next turn of a loop */
} hs__jscope;

typedef struct hs__jlimits {
    size_t memory;
    int64_t steps;
} hs__jlimits;

typedef struct hs__jrun {
    const hs__jprogram *program;
    hs_err *err;
    int code; /* sticky: the first failure */
    uint32_t line;
    uint32_t depth;
    int64_t steps; /* left */
    size_t left;   /* budget of both arenas */
    hs__jarena objects, strings;
    hs_buf out;    /* the result so far; above it, as on a stack, texts that are being built */
    hs_buf origin; /* of each byte of out */
    hs__jval *globals;
    hs__jscope *scope;
    int64_t now;
} hs__jrun;

typedef struct hs__jkw {
    const char *name;
    uint32_t len;
    hs__jval val;
} hs__jkw;

typedef struct hs__jargs {
    hs__jval *pos;
    hs__jkw *kw;
    uint32_t n, n_kw;
    const hs__jval *caller; /* of a call block, or NULL */
} hs__jargs;

int hs__jrun_init(hs__jrun *r, const hs__jprogram *p, const hs__jlimits *limits, hs_err *err) HS_MUST_CHECK;
void hs__jrun_deinit(hs__jrun *r);
/* Sets a variable of the outermost scope; a name that the program does not mention is passed over. origin: of all
 * strings in value. */
int hs__jrun_set(hs__jrun *r, const char *name, size_t len, const json_t *value, uint8_t origin) HS_MUST_CHECK;
/* Runs the program; the text is in r->out, where its bytes come from in r->origin. */
int hs__jrun_execute(hs__jrun *r) HS_MUST_CHECK;

/* Sets the sentence "WHERE: line N: ..." and returns code. */
int hs__jfail(hs__jrun *r, int code, const char *fmt, ...) HS_PRINTF(3, 4);
/* Use of an undefined value: says which. */
int hs__jfail_undefined(hs__jrun *r, const hs__jval *v);
/* Takes n steps; -ETIMEDOUT when none are left. */
int hs__jcharge(hs__jrun *r, uint64_t n);
void *hs__jalloc(hs__jrun *r, size_t n); /* NULL: r->code is set */

/* jinja_value.c */
const char *hs__jtype_name(const hs__jval *v);
bool hs__jtruth(const hs__jval *v);
bool hs__jis_number(const hs__jval *v); /* bool, int or float */
double hs__jnumber(const hs__jval *v);
int64_t hs__jrange_len(const hs__jrange *g);
/* A copy, with the origins of what is copied. */
int hs__jstr_copy(hs__jrun *r, const char *s, size_t n, hs__jval *ret);
/* Says of a string that was copied or made here where all of it comes from. */
void hs__jstr_set_origin(hs__jrun *r, const hs__jval *s, uint8_t origin);
int hs__jlist_new(hs__jrun *r, size_t cap, hs__jlist **ret);
int hs__jlist_push(hs__jrun *r, hs__jlist *l, const hs__jval *v);
int hs__jiter_new(hs__jrun *r, hs__jlist *l, bool is_view, hs__jval *ret);
int hs__jfrom_json(hs__jrun *r, const json_t *j, uint8_t origin, hs__jval *ret);
/* All elements of an iterable: a fresh list; characters of a string, keys of a dict. An iterator is used up. */
int hs__jelements(hs__jrun *r, const hs__jval *v, hs__jlist **ret);
bool hs__jis_iterable(const hs__jval *v);
/* Elements, entries or characters; -1 if the value has no length. */
int64_t hs__jlength(hs__jrun *r, const hs__jval *v);

/* jinja_dict.c */
int hs__jdict_new(hs__jrun *r, hs__jdict **ret);
int hs__jdict_set(hs__jrun *r, hs__jdict *d, const hs__jval *key, const hs__jval *val);
/* *ret NULL if there is none. */
int hs__jdict_get(hs__jrun *r, const hs__jdict *d, const hs__jval *key, hs__jval **ret);
int hs__jdict_remove(hs__jrun *r, hs__jdict *d, const hs__jval *key);

/* jinja_compare.c */
int hs__jequal(hs__jrun *r, const hs__jval *a, const hs__jval *b, bool *ret);
/* *ret < 0, 0, > 0; an error for types that have no order. */
int hs__jcompare(hs__jrun *r, const hs__jval *a, const hs__jval *b, int *ret);
int hs__jcontains(hs__jrun *r, const hs__jval *container, const hs__jval *v, bool *ret);

/* jinja_text.c: values to text, appended to r->out; hs__jbegin and hs__jend take a text off it. */
size_t hs__jbegin(const hs__jrun *r);
int hs__jend(hs__jrun *r, size_t mark, hs__jval *ret);
/* Bytes out of a string keep their origin, all others are HS__J_OWN. */
int hs__jput(hs__jrun *r, const char *s, size_t n);
/* With the origin of the byte at `like`, of which s is another spelling. */
int hs__jput_like(hs__jrun *r, const char *s, size_t n, const char *like);
int hs__jput_str(hs__jrun *r, const hs__jval *v);  /* as Python's str() */
int hs__jput_repr(hs__jrun *r, const hs__jval *v); /* as Python's repr() */
int hs__jto_str(hs__jrun *r, const hs__jval *v, hs__jval *ret);
/* Shortest text that reads back as d, in Python's form; returns its length (< 32). */
size_t hs__jfloat_text(double d, char text[32]);
int hs__jput_escaped(hs__jrun *r, const hs__jval *v); /* & < > " ' as HTML */

/* jinja_json.c */
int hs__jfilter_tojson(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret);

/* jinja_utf8.c: strings are valid UTF-8 throughout. */
uint32_t hs__jutf8_next(const char **p, const char *end);
size_t hs__jutf8_count(const char *s, size_t n);
/* Byte offset of the i-th character, i <= count. */
size_t hs__jutf8_offset(const char *s, size_t n, size_t i);
/* Byte offset of the i-th character from the end (1 = the last), or SIZE_MAX if there are fewer. */
size_t hs__jutf8_offset_back(const char *s, size_t n, size_t i);
bool hs__jis_space(uint32_t c);
bool hs__jis_printable(uint32_t c);
size_t hs__jskip_space(const char *s, size_t n);  /* bytes of white space at the beginning */
size_t hs__jtrail_space(const char *s, size_t n); /* ... at the end */
typedef enum hs__jcase { HS__CASE_UPPER, HS__CASE_LOWER, HS__CASE_TITLE, HS__CASE_CAPITAL, HS__CASE_WORDS } hs__jcase;
int hs__jchange_case(hs__jrun *r, const hs__jval *s, hs__jcase how, hs__jval *ret);
/* First occurrence, or NULL; n_needle may be 0. */
const char *hs__jfind(const char *s, size_t n, const char *needle, size_t n_needle);
const char *hs__jfind_last(const char *s, size_t n, const char *needle, size_t n_needle);

/* jinja_ops.c */
int hs__jbinary(hs__jrun *r, hs__jop op, const hs__jval *a, const hs__jval *b, hs__jval *ret);
int hs__jcat(hs__jrun *r, const hs__jval *a, const hs__jval *b, hs__jval *ret); /* two strings */

/* jinja_access.c */
int hs__jgetattr(hs__jrun *r, const hs__jval *v, const char *name, size_t len, hs__jval *ret);
int hs__jgetitem(hs__jrun *r, const hs__jval *v, const hs__jval *key, hs__jval *ret);
int hs__jslice(hs__jrun *r, const hs__jval *v, const hs__jval part[3], hs__jval *ret); /* MISSING or none = open */
/* A path as the attribute arguments of filters take it: "a.b.0", or an integer. */
int hs__jgetpath(hs__jrun *r, const hs__jval *v, const hs__jval *path, hs__jval *ret);

/* jinja_eval.c, jinja_exec.c */
int hs__jeval(hs__jrun *r, const hs__jnode *n, hs__jval *ret);
int hs__jcall(hs__jrun *r, const hs__jval *callee, const hs__jargs *args, hs__jval *ret);
int hs__jeval_args(hs__jrun *r, const hs__jnode *list, hs__jargs *ret);
int hs__jexec(hs__jrun *r, const hs__jnode *list); /* 0, HS__J_BROKE, HS__J_CONTINUED, or an error */
enum { HS__J_BROKE = 1, HS__J_CONTINUED = 2 };
int hs__jscope_set(hs__jrun *r, uint32_t sym, const hs__jval *v);
int hs__jmacro_call(hs__jrun *r, const hs__jmacro *m, const hs__jargs *args, hs__jval *ret);

/* jinja_loop.c: what a template sees as `loop`. */
struct hs__jloop {
    const hs__jlist *items;  /* or */
    const hs__jrange *range; /* numbers, made as they are needed */
    uint32_t index0;
    hs__jval changed; /* MISSING, or the arguments of the last loop.changed() */
};
uint32_t hs__jloop_len(const hs__jloop *l);
hs__jval hs__jloop_item(const hs__jloop *l, uint32_t i);
int hs__jloop_attr(hs__jrun *r, hs__jloop *l, const char *name, size_t len, hs__jval *ret);

struct hs__jmacro {
    const hs__jnode *def; /* MACRO or CALLBLOCK */
    hs__jscope *scope;    /* where it was defined */
};

/* jinja_args.c */
/* The argument at position i or of that name, else *ret = MISSING. name NULL: by position only. */
bool hs__jarg(const hs__jargs *args, uint32_t i, const char *name, hs__jval *ret);
int hs__jarg_int(hs__jrun *r, const hs__jargs *args, uint32_t i, const char *name, int64_t def, int64_t *ret);
bool hs__jarg_bool(const hs__jargs *args, uint32_t i, const char *name, bool def);
/* A string; MISSING where it is absent and optional. */
int hs__jarg_str(hs__jrun *r, const hs__jargs *args, uint32_t i, const char *name, bool optional, hs__jval *ret);
int hs__jargs_at_most(hs__jrun *r, const hs__jargs *args, uint32_t n, const char *what);

typedef int (*hs__jmethod_fn)(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
typedef struct hs__jmethod_def {
    const char *name;
    hs__jmethod_fn fn; /* NULL: exists in Python, cannot be called here */
} hs__jmethod_def;
/* jinja_methods_chars.c */
int hs__jmethod_isdigit(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_isalpha(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_isalnum(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_isspace(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_isupper(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_islower(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_ljust(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_rjust(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_center(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_zfill(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
/* jinja_methods_split.c */
int hs__jmethod_split(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_rsplit(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_splitlines(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_partition(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
int hs__jmethod_rpartition(hs__jrun *r, hs__jval *self, const hs__jargs *args, hs__jval *ret);
/* For one search of `what` through all of `in`: one byte is found fast, several are not, and searching backwards
 * compares at every place. */
int hs__jcharge_search(hs__jrun *r, const hs__jval *in, const hs__jval *what, bool backwards);
struct hs__jmethod {
    hs__jval self;
    const hs__jmethod_def *def;
};
/* jinja_methods.c, jinja_methods_seq.c: tables that end with a NULL name. */
extern const hs__jmethod_def hs__jstr_methods[], hs__jlist_methods[], hs__jtuple_methods[], hs__jdict_methods[];

struct hs__jglobal {
    const char *name;
    int (*fn)(hs__jrun *r, const hs__jargs *args, hs__jval *ret);
};
extern const hs__jglobal hs__jglobals[]; /* ends with a NULL name */

typedef int (*hs__jfilter_fn)(hs__jrun *r, const hs__jval *in, const hs__jargs *args, hs__jval *ret);
typedef struct hs__jfilter {
    const char *name;
    hs__jfilter_fn fn;
} hs__jfilter;
extern const hs__jfilter hs__jscalar_filters[], hs__jseq_filters[], hs__jselect_filters[];
const hs__jfilter *hs__jfilter_find(const char *name, size_t len); /* NULL if there is none */

typedef int (*hs__jtest_fn)(hs__jrun *r, const hs__jval *v, const hs__jargs *args, bool *ret);
typedef struct hs__jtest {
    const char *name;
    hs__jtest_fn fn;
    uint32_t n_args; /* at most */
} hs__jtest;
const hs__jtest *hs__jtest_find(const char *name, size_t len);
int hs__jtest_run(hs__jrun *r, const hs__jtest *t, const hs__jval *v, const hs__jargs *args, bool *ret);

/* ---- lexer ---- */

typedef enum hs__jtok {
    HS__T_EOF,
    HS__T_DATA,
    HS__T_BLOCK_BEGIN,
    HS__T_BLOCK_END,
    HS__T_VAR_BEGIN,
    HS__T_VAR_END,
    HS__T_NAME,
    HS__T_STR,
    HS__T_INT,
    HS__T_FLOAT,
    HS__T_ADD,
    HS__T_SUB,
    HS__T_MUL,
    HS__T_DIV,
    HS__T_FLOORDIV,
    HS__T_MOD,
    HS__T_POW,
    HS__T_TILDE,
    HS__T_EQ,
    HS__T_NE,
    HS__T_LT,
    HS__T_LE,
    HS__T_GT,
    HS__T_GE,
    HS__T_ASSIGN,
    HS__T_DOT,
    HS__T_COMMA,
    HS__T_COLON,
    HS__T_PIPE,
    HS__T_LPAREN,
    HS__T_RPAREN,
    HS__T_LBRACKET,
    HS__T_RBRACKET,
    HS__T_LBRACE,
    HS__T_RBRACE,
} hs__jtok;

typedef struct hs__jtoken {
    uint8_t type;
    uint32_t line;
    uint32_t len;
    union {
        const char *s; /* DATA, NAME, STR: in the program's arena */
        int64_t i;
        double d;
    } as;
} hs__jtoken;

/* *ret_tokens is the caller's (hs_free); the last one is EOF. */
int hs__jlex(hs__jprogram *p, const char *source, size_t len, hs__jtoken **ret_tokens, size_t *ret_n,
             hs_err *err) HS_MUST_CHECK;

/* ---- parser ---- */

typedef struct hs__jparser {
    hs__jprogram *program;
    const hs__jtoken *tok; /* the current one; EOF is never passed */
    hs_err *err;
    int code;
    uint32_t depth, loops, branches;
    uint8_t uses; /* HS__J_USES_* of the macro being read */
} hs__jparser;

int hs__jparse_fail(hs__jparser *p, uint32_t line, const char *fmt, ...) HS_PRINTF(3, 4);
int hs__jparse_no_memory(hs__jparser *p, uint32_t line);
hs__jnode *hs__jnode_new(hs__jparser *p, hs__jkind kind, uint32_t line); /* NULL: p->code is set */
int hs__jintern(hs__jparser *p, const char *name, size_t len, uint32_t *ret);
bool hs__jtok_is(const hs__jparser *p, const char *name); /* the current token is this word */
bool hs__jtok_skip(hs__jparser *p, hs__jtok type);
bool hs__jword_skip(hs__jparser *p, const char *name);
int hs__jexpect(hs__jparser *p, hs__jtok type);
const char *hs__jtok_text(const hs__jtoken *t, char buf[48]); /* for sentences */
/* NULL: p->code is set. */
hs__jnode *hs__jparse_expr(hs__jparser *p, bool with_cond);
hs__jnode *hs__jparse_tuple(hs__jparser *p, bool with_cond, bool parenthesised, const char *end_word);
hs__jnode *hs__jparse_target(hs__jparser *p);                               /* of for, set and with */
hs__jnode *hs__jparse_filters(hs__jparser *p, hs__jnode *in, bool at_name); /* in may be NULL */
int hs__jparse_program(hs__jparser *p);
hs__jnode *hs__jparse_unary(hs__jparser *p, bool with_filters);
/* A node with two children; NULL if one of them is. */
hs__jnode *hs__jnode_join(hs__jparser *p, hs__jkind kind, uint32_t line, hs__jnode *a, hs__jnode *b);
hs__jnode *hs__jparse_call_args(hs__jparser *p, hs__jnode **ret_list);

#endif

/* output_int.h - between output.c, reasoning.c, calls.c, call_body.c, json_text.c and harmony.c. */
#ifndef HS_TEXT_OUTPUT_INT_H
#define HS_TEXT_OUTPUT_INT_H

#include "base/buf.h"
#include "text/output.h"
#include "text/reasoning.h"

/* White space, as JSON has it. */
static inline bool hs__is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

typedef enum hs__call_body {
    HS__BODY_JSON,    /* {"name": …, "arguments": {…}} */
    HS__BODY_SPLIT,   /* name (or "function"), separator, arguments */
    HS__BODY_TAGS,    /* name, then key and value between tags */
    HS__BODY_HARMONY, /* not of calls.c: channels */
} hs__call_body;

/* How a model writes calls: a row of the table in calls.c. NULL: it has no such mark. */
typedef struct hs__call_format {
    const char *probe; /* what its template makes of a call of probe_call has this text in it */
    hs__call_body body;
    const char *section_begin, *section_end;                              /* around all calls of an answer */
    const char *begin, *end;                                              /* around one call */
    const char *split;                                                    /* SPLIT */
    const char *name_end, *key_begin, *key_end, *value_begin, *value_end; /* TAGS */
} hs__call_format;

/* The format whose probe is in the rendered text, or NULL. */
const hs__call_format *hs__call_format_find(const char *rendered);
/* Of a template; NULL: none that is known. (template.c) */
const hs__call_format *hs__template_calls(const hs_template *t);

typedef struct hs__calls {
    uint8_t state;
    bool in_string; /* of a JSON body */
    bool escaped;
    bool any; /* a call has been read */
    bool in_section;
    hs_buf held; /* from the first byte on that may belong to a call */
    size_t body; /* where the call's body begins in held */
} hs__calls;

typedef struct hs__harmony {
    uint8_t state;
    bool in_mark;
    hs_output_kind kind; /* of the body; CALL: held back */
    bool any[2];         /* answer, reasoning: a message has been shown */
    bool is_fresh;       /* the message has not shown anything yet */
    hs_buf held;         /* header, or the arguments of a call */
    hs_buf mark;
    char name[HS_OUTPUT_PIECE / 4];
} hs__harmony;

struct hs_output {
    const hs__call_format *format; /* NULL: calls are not looked for */
    bool wants_calls;
    hs_reasoning reasoning;
    hs_buf thought, answer; /* of one push */
    hs_buf strings;         /* parameters that are strings: tool NUL parameter NUL */
    union {
        hs__calls calls;
        hs__harmony harmony;
    } as;
    hs_buf out; /* records: kind and length (4 bytes each), text */
    size_t read, read_part, last;
    int failed;
};

/* Appends to a buffer of o's; failure is final for o. */
void hs__output_hold(hs_output *o, hs_buf *b, const char *text, size_t len);
void hs__output_put(hs_output *o, hs_output_kind kind, const char *text, size_t len);
/* Reads a call's body: true and both put out, or false and nothing put. */
bool hs__call_read(hs_output *o, const hs__call_format *f, const char *body, size_t len);
/* The same with the name known: arguments must be a JSON object, or blank. id NULL: none. */
bool hs__call_put(hs_output *o, const char *name, size_t n_name, const char *id, size_t n_id, const char *arguments,
                  size_t len);

void hs__calls_push(hs_output *o, const char *text, size_t len);
void hs__calls_end(hs_output *o);
void hs__harmony_init(hs_output *o, const char *prompt, size_t len);
void hs__harmony_push(hs_output *o, const char *text, size_t len);
void hs__harmony_end(hs_output *o);

/* json_text.c */
/* The end of the JSON value that text begins with (blanks before it allowed), or NULL if there is none. */
const char *hs__json_value(const char *text, const char *end);
/* The members of an object, one after the other: *p stands behind '{' at first. True: a member, its key still quoted
 * and escaped. False: *p is NULL if that is no object, else behind '}'. */
typedef struct hs__json_member {
    const char *key, *value;
    size_t n_key, n_value;
} hs__json_member;
bool hs__json_next(const char **p, const char *end, hs__json_member *ret);
const char *hs__json_blanks(const char *p, const char *end);

#endif

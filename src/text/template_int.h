/* template_int.h - the compiled template as the files of this folder see it. */
#ifndef HS_TEXT_TEMPLATE_INT_H
#define HS_TEXT_TEMPLATE_INT_H

#include "text/jinja_int.h"
#include "text/template.h"

/* How the template wants a tool call's arguments. */
typedef enum hs__args_style { HS__ARGS_ANY, HS__ARGS_OBJECT, HS__ARGS_STRING } hs__args_style;

/* Roles whose content may stay an array of parts. */
enum { HS__PARTS_SYSTEM = 1, HS__PARTS_USER = 2, HS__PARTS_ASSISTANT = 4, HS__PARTS_TOOL = 8 };

struct hs__call_format;

/* What a template does, found out by rendering small conversations once, when it is compiled. */
typedef struct hs__template_caps {
    hs__args_style args;
    bool null_with_calls; /* an assistant message with tool calls and no text must have content null, not "" */
    bool knows_developer; /* has its own way of showing the developer role */
    unsigned parts;       /* HS__PARTS_* */
    const struct hs__call_format *calls; /* how the model writes calls of tools; NULL: none that is known */
} hs__template_caps;

struct hs_template {
    char *where;
    json_t *specials; /* object: bos_token and the like, strings or lists */
    hs__jprogram program;
    hs__template_caps caps;
    const hs_reasoning_marks *marks;
    bool mentions_content; /* the word stands in the source: continue_final_message can work */
    bool reads_thinking;   /* of messages, and does not know reasoning_content */
};

/* Renders with the given limits; err may be NULL. */
int hs__template_render(const hs_template *t, const hs_template_input *in, const hs__jlimits *limits, char **ret_text,
                        size_t *ret_len, uint8_t **ret_is_input, hs_err *err) HS_MUST_CHECK;
/* Fills in t->caps; -ENOMEM only. */
int hs__template_probe(hs_template *t, const char *source, size_t len) HS_MUST_CHECK;

#endif

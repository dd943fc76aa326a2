/*
 * jinja_program.c - a compiled template as a whole: its names, its tree, its memory.
 * Names become small numbers (symbols), so that the evaluator compares integers. Read-only after hs__jprogram_compile.
 */
#include "text/jinja_int.h"

#include <string.h>

#include "base/mem.h"

static uint32_t hash(const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    return h ^ h >> 15;
}

/* The place of the name in the index: its own, or the free one where it belongs. */
static uint32_t *place(const hs__jprogram *p, const char *name, size_t len)
{
    uint32_t at = hash(name, len) & (p->index_size - 1);
    while (p->index[at] && !hs__jis(&p->names[p->index[at] - 1], name, len))
        at = (at + 1) & (p->index_size - 1);
    return &p->index[at];
}

uint32_t hs__jprogram_find(const hs__jprogram *p, const char *name, size_t len)
{
    return p->index_size ? *place(p, name, len) - 1 : UINT32_MAX;
}

static int grow_names(hs__jprogram *p)
{
    uint32_t size = p->index_size ? 2 * p->index_size : 128;
    if (hs_grow(&p->names, sizeof *p->names, size / 2, &p->cap_names, HS_TEMPLATE_MAX_SOURCE) < 0)
        return -ENOMEM;
    uint32_t *index = hs_calloc(size, sizeof *index);
    if (!index)
        return -ENOMEM;
    hs_free(p->index);
    p->index = index;
    p->index_size = size;
    for (uint32_t i = 0; i < p->n_names; i++)
        *place(p, p->names[i].as.s, p->names[i].len) = i + 1;
    return 0;
}

int hs__jintern(hs__jparser *p, const char *name, size_t len, uint32_t *ret)
{
    hs__jprogram *g = p->program;
    uint32_t sym = hs__jprogram_find(g, name, len);
    if (sym == UINT32_MAX) {
        if (g->n_names == g->index_size / 2 && grow_names(g) < 0)
            return p->code = hs_err_set(p->err, -ENOMEM, "%s: out of memory", g->where);
        sym = g->n_names++;
        g->names[sym] = hs__jstr(name, len);
        *place(g, name, len) = sym + 1;
    }
    *ret = sym;
    return 0;
}

int hs__jprogram_compile(hs__jprogram *g, const char *source, size_t len, const char *where, hs_err *err)
{
    static const char *const fixed[HS__SYM_FIXED] = {"loop", "caller", "varargs", "kwargs"};
    *g = (hs__jprogram){.left = HS_TEMPLATE_MAX_MEMORY, .where = where};
    hs__jarena_init(&g->arena, false, &g->left);
    hs__jtoken *tokens = NULL;
    size_t n;
    int r = hs__jlex(g, source, len, &tokens, &n, err);
    hs__jparser p = {.program = g, .tok = tokens, .err = err};
    uint32_t sym;
    for (size_t i = 0; i < HS__SYM_FIXED && r == 0; i++)
        r = hs__jintern(&p, fixed[i], strlen(fixed[i]), &sym);
    if (r == 0)
        r = hs__jparse_program(&p);
    hs_free(tokens);
    if (r < 0)
        hs__jprogram_deinit(g);
    return r;
}

void hs__jprogram_deinit(hs__jprogram *g)
{
    hs__jarena_deinit(&g->arena);
    hs_free(g->names);
    hs_free(g->index);
    *g = (hs__jprogram){0};
}

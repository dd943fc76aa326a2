/* cmd_inspect.c - what a model holds: architecture, tensors by kind, sizes, compression. Reads headers only. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/option.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/shapes.h"
#include "cli/verbs.h"
#include "model/model.h"
#include "store/source.h"

#define MAX_KINDS 512 /* further kinds are summed up as "(others)" */
#define KIND_CAP  160

/* Tensors whose names differ in numbers only. */
typedef struct kind {
    char name[KIND_CAP];
    uint64_t hash; /* of name: a million kinds in a hostile header are compared by it */
    hs_dtype dtype;
    uint32_t n;
    uint64_t raw, stored;
} kind;

typedef struct inspection {
    const hs_source *source;
    const hs_checkpoint *checkpoint;
    const hs_model_spec *spec; /* NULL: an architecture that this build does not know */
    kind *kinds;
    size_t n_kinds;
    uint64_t raw, stored;
    uint64_t expert_raw, expert_stored; /* of all routed experts */
} inspection;

/* name with each run of digits between dots as N. */
static void generalise(const char *name, char *ret)
{
    size_t n = 0;
    bool at_begin = true;
    while (*name && n + 1 < KIND_CAP) {
        size_t digits = at_begin ? strspn(name, "0123456789") : 0;
        if (digits && (name[digits] == '.' || !name[digits])) {
            ret[n++] = 'N';
            name += digits;
            at_begin = false;
            continue;
        }
        at_begin = *name == '.';
        ret[n++] = *name++;
    }
    ret[n] = '\0';
    hs_make_printable(ret);
}

static uint64_t hash_of(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

static kind *find_kind(inspection *in, const char *name, hs_dtype dtype)
{
    uint64_t hash = hash_of(name);
    for (size_t i = 0; i < in->n_kinds; i++)
        if (in->kinds[i].hash == hash && in->kinds[i].dtype == dtype && !strcmp(in->kinds[i].name, name))
            return &in->kinds[i];
    if (in->n_kinds == MAX_KINDS - 1 && strcmp(name, "(others)") != 0)
        return find_kind(in, "(others)", HS_DTYPE_NONE);
    kind *k = &in->kinds[in->n_kinds++];
    snprintf(k->name, sizeof k->name, "%s", name);
    k->hash = hash;
    k->dtype = dtype;
    return k;
}

static int survey(inspection *in, hs_err *err)
{
    const hs_checkpoint *c = in->checkpoint;
    in->kinds = hs_calloc(MAX_KINDS, sizeof *in->kinds);
    if (!in->kinds)
        return hs_err_set(err, -ENOMEM, "inspect: out of memory");
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        char name[KIND_CAP];
        generalise(c->tensors[i].name, name);
        kind *k = find_kind(in, name, c->tensors[i].dtype);
        uint64_t stored = hs_source_stored_bytes(in->source, i);
        k->n++;
        k->raw += c->tensors[i].nbytes;
        k->stored += stored;
        in->raw += c->tensors[i].nbytes;
        in->stored += stored;
    }
    uint64_t n_parts = in->spec ? (uint64_t)in->spec->n_moe_layers * in->spec->n_experts * HS_EXPERT_PARTS : 0;
    for (uint64_t i = 0; i < n_parts; i++) {
        uint32_t t = in->spec->expert_parts[i];
        in->expert_raw += t == HS_NO_TENSOR ? 0 : c->tensors[t].nbytes;
        in->expert_stored += t == HS_NO_TENSOR ? 0 : hs_source_stored_bytes(in->source, t);
    }
    return 0;
}

static double ratio(uint64_t stored, uint64_t raw)
{
    return raw ? (double)stored / (double)raw : 1;
}

static uint64_t n_experts(const inspection *in)
{
    return in->spec ? (uint64_t)in->spec->n_moe_layers * in->spec->n_experts : 0;
}

/* Of the experts that one token uses; share = all experts' bytes. */
static uint64_t per_token(const inspection *in, uint64_t share)
{
    uint64_t n = n_experts(in);
    return n ? share / n * in->spec->n_moe_layers * in->spec->top_k : 0;
}

static int print_json(const inspection *in, const char *path)
{
    const hs_model_spec *s = in->spec;
    json_int_t one_expert = 0;
    if (n_experts(in))
        one_expert = (json_int_t)in->expert_raw / (json_int_t)n_experts(in);
    json_t *kinds = json_array();
    for (size_t i = 0; i < in->n_kinds; i++) {
        const kind *k = &in->kinds[i];
        json_array_append_new(kinds,
                              json_pack("{s:s, s:s, s:i, s:I, s:I, s:f}", "kind", k->name, "dtype",
                                        hs_dtype_name(k->dtype), "tensors", (int)k->n, "raw_bytes", (json_int_t)k->raw,
                                        "stored_bytes", (json_int_t)k->stored, "ratio", ratio(k->stored, k->raw)));
    }
    json_t *o = json_pack("{s:s, s:b, s:s?, s:i, s:I, s:I, s:f, s:o}", "path", path, "packed",
                          hs_source_is_packed(in->source), "arch", s ? s->arch : NULL, "tensors",
                          (int)in->checkpoint->n_tensors, "raw_bytes", (json_int_t)in->raw, "stored_bytes",
                          (json_int_t)in->stored, "ratio", ratio(in->stored, in->raw), "kinds", kinds);
    if (o && hs_source_raw_bytes(in->source))
        json_object_set_new(o, "kept_raw_bytes", json_integer((json_int_t)hs_source_raw_bytes(in->source)));
    if (o && s) {
        json_t *more = json_pack(
            "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I}", "layers", (int)s->n_layers, "hidden",
            (int)s->hidden, "vocab", (int)s->vocab, "max_context", (int)s->max_context, "moe_layers",
            (int)s->n_moe_layers, "experts_per_layer", (int)s->n_experts, "top_k", (int)s->top_k, "dense_bytes",
            (json_int_t)s->dense_bytes, "expert_bytes", one_expert, "experts_bytes", (json_int_t)in->expert_raw,
            "bytes_per_token", (json_int_t)s->dense_bytes + (json_int_t)per_token(in, in->expert_raw),
            "expert_bytes_per_token_stored", (json_int_t)per_token(in, in->expert_stored));
        json_object_update(o, more);
        json_decref(more);
    }
    return hs_print_json(o);
}

static void print_text(const inspection *in, const char *path)
{
    const hs_model_spec *s = in->spec;
    char a[32], b[32], c[32];
    printf("%s: %s, %s\n", path, s ? s->arch : "an architecture this build does not run",
           hs_source_is_packed(in->source) ? "packed"
           : in->checkpoint->gguf          ? "GGUF"
                                           : "safetensors");
    if (s) {
        printf("  %u layers of %u, vocabulary %u, context up to %u tokens\n", s->n_layers, s->hidden, s->vocab,
               s->max_context);
        printf("  %u layers with %u experts each, %u used per token\n", s->n_moe_layers, s->n_experts, s->top_k);
        if (n_experts(in))
            printf("  one expert %s, all %llu experts %s, always needed %s\n",
                   hs_format_size(in->expert_raw / n_experts(in), a, sizeof a), (unsigned long long)n_experts(in),
                   hs_format_size(in->expert_raw, b, sizeof b), hs_format_size(s->dense_bytes, c, sizeof c));
        printf("  one token uses %s of weights, %s of them experts (%s on disk)\n",
               hs_format_size(s->dense_bytes + per_token(in, in->expert_raw), a, sizeof a),
               hs_format_size(per_token(in, in->expert_raw), b, sizeof b),
               hs_format_size(per_token(in, in->expert_stored), c, sizeof c));
    }
    printf("  %u tensors, %s, on disk %s (%.3f)\n", in->checkpoint->n_tensors, hs_format_size(in->raw, a, sizeof a),
           hs_format_size(in->stored, b, sizeof b), ratio(in->stored, in->raw));
    if (hs_source_raw_bytes(in->source))
        printf("  what is compressed is kept raw as well: %s more\n",
               hs_format_size(hs_source_raw_bytes(in->source), a, sizeof a));
    printf("\n");
    printf("  %-58s %-8s %7s %11s %11s %6s\n", "kind", "type", "tensors", "bytes", "on disk", "ratio");
    for (size_t i = 0; i < in->n_kinds; i++) {
        const kind *k = &in->kinds[i];
        printf("  %-58s %-8s %7u %11s %11s %6.3f\n", k->name, hs_dtype_name(k->dtype), k->n,
               hs_format_size(k->raw, a, sizeof a), hs_format_size(k->stored, b, sizeof b), ratio(k->stored, k->raw));
    }
}

static int run_inspect(const hs_args *a)
{
    const char *path = a->operands[0];
    hs_source *source = NULL;
    hs_model_spec *spec = NULL;
    inspection in = {0};
    hs_err err = {0};
    int status = 0;
    int r = hs_source_open(path, &source, &err);
    if (r < 0)
        return hs_fail(&err);
    in.source = source;
    in.checkpoint = hs_source_checkpoint(source);
    r = hs_model_spec_create(in.checkpoint, &spec, &err);
    if (r == -ENOTSUP) { /* the tensors are worth a look all the same */
        hs_say("note: %s", err.text);
        r = 0;
    }
    in.spec = spec;
    if (r == 0)
        r = survey(&in, &err);
    if (r < 0)
        status = hs_fail(&err);
    else if (hs_args_has(a, "json"))
        status = print_json(&in, path);
    else
        print_text(&in, path);
    hs_free(in.kinds);
    hs_model_spec_destroy(&spec);
    hs_source_close(&source);
    return status;
}

static const hs_flag flags[] = {HS_FLAG_JSON, HS_FLAGS_END};

const hs_verb hs_verb_inspect = {.name = "inspect",
                                 .synopsis = "PATH",
                                 .summary = "What a model holds: architecture, sizes, bytes per token, compression.",
                                 .details = "Reads headers only; needs no tokenizer files.",
                                 .flags = flags,
                                 .min_operands = 1,
                                 .max_operands = 1,
                                 .first = HS_NEEDED_MODEL,
                                 .run = run_inspect};

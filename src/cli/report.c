/* report.c - see report.h. Pure. */
#include "cli/report.h"

#include <stdio.h>

#include "base/option.h"

typedef struct line {
    const char *name;
    uint64_t bytes;
    const char *what;
} line;

void hs_plan_format(const hs_plan *p, const char *path, hs_buf *out)
{
    const line parts[] = {
        {"dense", p->dense, "weights that every token needs"},
        {"cache", p->cache, NULL},
        {"kv", p->kv, "keys and values"},
        {"scratch", p->scratch, "activations, tiles, logits"},
        {"staging", p->staging, p->warm ? "experts decoded for use" : "compressed experts on their way"},
        {"tables", p->tables, "index of tensors and experts"},
        {"text", p->text, "tokenizer and template"},
        {"runtime", p->runtime, "program, threads, libraries"},
        {"outside", p->outside, "server, other models"}};
    char a[32], b[32], c[32];
    bool is_mixed = p->least_slot_bytes < p->slot_bytes;
    hs_buf_printf(out, "%s (%s, %s, %s)\n", path, p->arch,
                  p->is_shape ? "not here yet"
                  : p->packed ? "packed"
                  : p->gguf   ? "GGUF"
                              : "safetensors",
                  hs_format_size(p->model_bytes, a, sizeof a));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        hs_buf_printf(out, "  %-12s %12s   ", parts[i].name, hs_format_size(parts[i].bytes, a, sizeof a));
        if (parts[i].what)
            hs_buf_printf(out, "%s\n", parts[i].what);
        else
            hs_buf_printf(out, "%u of %u experts%s of %s%s%s\n", p->n_slots, p->n_experts,
                          p->warm ? ", compressed (warm tier)," : "", hs_format_size(p->slot_bytes, b, sizeof b),
                          is_mixed ? " and " : "", is_mixed ? hs_format_size(p->least_slot_bytes, c, sizeof c) : "");
    }
    hs_buf_printf(out, "  %-12s %12s   of a limit of %s\n", "total", hs_format_size(p->total, a, sizeof a),
                  hs_format_size(p->limit, b, sizeof b));
    hs_buf_printf(out, "  %-12s %12s\n  %-12s %12s\n", "floor", hs_format_size(p->floor, a, sizeof a), "recommended",
                  hs_format_size(p->recommended, b, sizeof b));
    hs_buf_printf(out, "  context %u tokens, %u at a time, prefill in chunks of %u, %u threads\n", p->context,
                  p->parallel, p->prefill_chunk, p->threads);
    hs_buf_printf(out, "  one token uses %u experts (%s), read from cold: %s; all experts: %s\n", p->token_cycle,
                  hs_format_size(p->token_cycle_bytes, a, sizeof a),
                  hs_format_size(p->bytes_per_token_cold, b, sizeof b),
                  hs_format_size(p->expert_bytes_all, c, sizeof c));
}

json_t *hs_plan_json(const hs_plan *p, const char *path)
{
    return json_pack(
        "{s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:i}",
        "path", path, "arch", p->arch, "packed", p->packed, "warm_tier", p->warm, "dense", (json_int_t)p->dense,
        "cache", (json_int_t)p->cache, "kv", (json_int_t)p->kv, "scratch", (json_int_t)p->scratch, "staging",
        (json_int_t)p->staging, "tables", (json_int_t)p->tables, "text", (json_int_t)p->text, "runtime",
        (json_int_t)p->runtime, "outside", (json_int_t)p->outside, "total", (json_int_t)p->total, "floor",
        (json_int_t)p->floor, "recommended", (json_int_t)p->recommended, "limit", (json_int_t)p->limit, "slot_bytes",
        (json_int_t)p->slot_bytes, "least_slot_bytes", (json_int_t)p->least_slot_bytes, "expert_bytes_all",
        (json_int_t)p->expert_bytes_all, "token_cycle_bytes", (json_int_t)p->token_cycle_bytes, "bytes_per_token_cold",
        (json_int_t)p->bytes_per_token_cold, "kv_per_token", (json_int_t)p->kv_per_token, "slots", (int)p->n_slots,
        "min_slots", (int)p->min_slots, "experts", (int)p->n_experts, "token_cycle", (int)p->token_cycle, "context",
        (int)p->context, "parallel", (int)p->parallel, "prefill_chunk", (int)p->prefill_chunk, "threads",
        (int)p->threads, "model_bytes", (json_int_t)p->model_bytes, "moe_layers", (int)p->moe_layers);
}

hs_receipt hs_receipt_between(const hs_engine_stats *before, const hs_engine_stats *after, double prefill_s,
                              double decode_s)
{
    return (hs_receipt){.bytes_read = after->bytes_read - before->bytes_read,
                        .expert_hits = after->expert_hits - before->expert_hits,
                        .expert_misses = after->expert_misses - before->expert_misses,
                        .prefill_s = prefill_s,
                        .decode_s = decode_s,
                        .disk_wait_s = (double)(after->disk_wait_ns - before->disk_wait_ns) * 1e-9,
                        .expand_s = (double)(after->expand_ns - before->expand_ns) * 1e-9,
                        .prefetch_issued = after->prefetch_issued - before->prefetch_issued,
                        .prefetch_useful = after->prefetch_useful - before->prefetch_useful,
                        .unpacked = after->unpacked - before->unpacked,
                        .prompt_tokens = (uint32_t)(after->prompt_tokens - before->prompt_tokens),
                        .generated_tokens = (uint32_t)(after->generated_tokens - before->generated_tokens)};
}

json_t *hs_receipt_json(const hs_receipt *r)
{
    uint64_t uses = r->expert_hits + r->expert_misses;
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "bytes_read",
                     (json_int_t)r->bytes_read, "hits", (json_int_t)r->expert_hits, "misses",
                     (json_int_t)r->expert_misses, "hit_rate", uses ? (double)r->expert_hits / (double)uses : 1.0,
                     "queue_s", r->queue_s, "prefill_s", r->prefill_s, "decode_s", r->decode_s, "disk_wait_s",
                     r->disk_wait_s, "expand_s", r->expand_s, "prefetch_issued", (json_int_t)r->prefetch_issued,
                     "prefetch_useful", (json_int_t)r->prefetch_useful, "unpacked", (json_int_t)r->unpacked);
}

/* A number of the object; false if it has none of that name. */
static bool number(const json_t *o, const char *key, double *ret)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v))
        return false;
    *ret = json_number_value(v);
    return true;
}

void hs_receipt_format(const json_t *hotset, int64_t prompt_tokens, int64_t generated_tokens, hs_buf *out)
{
    double v, w;
    char a[32];
    hs_buf_printf(out, "%lld prompt + %lld generated tokens", (long long)prompt_tokens, (long long)generated_tokens);
    if (number(hotset, "queue_s", &v) && v >= 0.05)
        hs_buf_printf(out, " · queued %.1f s", v);
    if (number(hotset, "prefill_s", &v))
        hs_buf_printf(out, " · prefill %.2f s", v);
    if (number(hotset, "decode_s", &v)) {
        hs_buf_printf(out, " · decode %.2f s", v);
        if (v > 0 && generated_tokens > 0)
            hs_buf_printf(out, " (%.1f tokens/s)", (double)generated_tokens / v);
    }
    if (number(hotset, "hit_rate", &v))
        hs_buf_printf(out, " · hit rate %.0f %%", v * 100);
    if (number(hotset, "bytes_read", &v))
        hs_buf_printf(out, " · read %s", hs_format_size((uint64_t)v, a, sizeof a));
    if (number(hotset, "disk_wait_s", &v))
        hs_buf_printf(out, " · disk wait %.2f s", v);
    if (number(hotset, "prefetch_issued", &v) && number(hotset, "prefetch_useful", &w))
        hs_buf_printf(out, " · prefetch %.0f of %.0f used", w, v);
    if (number(hotset, "unpacked", &v) && v > 0)
        hs_buf_printf(out, " · %.0f read unpacked", v);
}

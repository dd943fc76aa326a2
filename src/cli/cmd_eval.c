/*
 * cmd_eval.c - the door for oracles: logits, perplexity, routing decisions and a greedy continuation of given tokens.
 *
 * The prompt runs in chunks, so that only chunk x vocabulary logits are held (16 MiB at most, one row at least);
 * results do not depend on the chunking. Output files appear only when everything has worked.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/ids.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/shapes.h"
#include "cli/text.h"
#include "cli/trace_csv.h"
#include "cli/verbs.h"

#define LOGITS_BYTES (16u << 20)
#define MAX_CHUNK    2048u

typedef struct evaluation {
    const hs_args *args;
    const char *model;
    hs_facts facts;
    uint32_t *tokens;
    size_t n_tokens;
    uint32_t n_greedy, chunk;
    hs_engine *engine;
    hs_session *session;
    float *logits;    /* [chunk][vocab] */
    uint32_t *greedy; /* [n_greedy] */
    hs_npy *npy;
    hs_trace_csv *trace;
    hs_progress progress;
    uint32_t at; /* prompt tokens done */
    double nll;  /* sum over predicted tokens */
    double prefill_s, decode_s;
} evaluation;

static int read_text(const char *model, const char *path, uint32_t **ret_ids, size_t *ret_n, hs_err *err)
{
    hs_tokenizer *t = NULL;
    char *text = NULL;
    size_t len;
    int r = hs_load_tokenizer(model, &t, err);
    if (r == 0)
        r = hs_read_input(path, HS_IDS_MAX_BYTES, &text, &len, err);
    if (r == 0)
        r = hs_tokenizer_encode(t, text, len, true, ret_ids, ret_n, err);
    hs_free(text);
    hs_tokenizer_destroy(&t);
    return r;
}

static int read_tokens(evaluation *e, hs_err *err)
{
    const char *ids = hs_args_text(e->args, "ids"), *text = hs_args_text(e->args, "text");
    int r = ids ? hs_ids_read(ids, &e->tokens, &e->n_tokens, err)
                : read_text(e->model, text, &e->tokens, &e->n_tokens, err);
    if (r < 0)
        return r;
    const char *where = ids ? ids : text;
    if (e->n_tokens == 0)
        return hs_err_set(err, -EINVAL, "%s: holds no tokens", where);
    for (size_t i = 0; i < e->n_tokens; i++)
        if (e->tokens[i] >= e->facts.vocab)
            return hs_err_set(err, -EINVAL, "%s: token %zu: id %u is outside the vocabulary of %u", where, i,
                              e->tokens[i], e->facts.vocab);
    if (e->n_tokens + e->n_greedy > e->facts.max_context)
        return hs_err_set(err, -E2BIG, "%s: %zu tokens and %u more exceed the model's context of %u", where,
                          e->n_tokens, e->n_greedy, e->facts.max_context);
    return 0;
}

static int open_outputs(evaluation *e, const hs_trace_info *info, hs_err *err)
{
    const char *logits = hs_args_text(e->args, "logits"), *routes = hs_args_text(e->args, "routes");
    int r = 0;
    if (logits)
        r = hs_npy_create(logits, e->n_tokens, e->facts.vocab, &e->npy, err);
    if (r == 0 && routes)
        r = hs_trace_csv_create(routes, info, &e->trace, err);
    return r;
}

static int open_engine(evaluation *e, const hs_config *config, hs_err *err)
{
    hs_engine_options opt;
    hs_engine_options_from_config(config, &opt);
    uint64_t row = (uint64_t)e->facts.vocab * sizeof(float), rows = LOGITS_BYTES / row;
    e->chunk = rows < 1 ? 1 : rows > MAX_CHUNK ? MAX_CHUNK : (uint32_t)rows;
    e->chunk = e->n_tokens < e->chunk ? (uint32_t)e->n_tokens : e->chunk;
    const char *name = strrchr(e->model, '/');
    hs_trace_info info = {.model = name && name[1] ? name + 1 : e->model,
                          .arch = e->facts.arch,
                          .n_layers = e->facts.n_layers,
                          .n_experts = e->facts.n_experts,
                          .top_k = e->facts.top_k,
                          .layers = e->facts.layers,
                          .n_moe_layers = e->facts.n_moe_layers,
                          .chunk_tokens = e->chunk};
    opt.path = e->model;
    opt.mirror = hs_args_text(e->args, "mirror");
    opt.without_text = true;
    opt.memory_outside = e->chunk * row + (hs_args_has(e->args, "routes") ? hs_trace_csv_bytes(&info) : 0);
    if (!hs_config_is_set(config, "kv", "type"))
        opt.kv_type = "f32";
    if (!opt.context)
        opt.context = (uint32_t)e->n_tokens + e->n_greedy;
    int r = hs_load_engine(&opt, &e->engine, err);
    if (r == 0)
        r = hs_session_create(e->engine, &e->session, err);
    if (r < 0)
        return r;
    e->logits = hs_map_alloc(e->chunk * row);
    e->greedy = hs_calloc(e->n_greedy + 1, sizeof *e->greedy);
    if (!e->logits || !e->greedy)
        return hs_err_set(err, -ENOMEM, "out of memory for %u rows of logits", e->chunk);
    r = open_outputs(e, &info, err);
    if (r == 0 && e->trace)
        hs_engine_on_route(e->engine, hs_trace_csv_on_route, e->trace);
    return r;
}

/* -log of the probability that the row gives to token. */
static double surprise(const float *row, uint32_t vocab, uint32_t token)
{
    float max = row[0];
    for (uint32_t i = 1; i < vocab; i++)
        max = row[i] > max ? row[i] : max;
    double sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        sum += exp((double)row[i] - (double)max);
    return log(sum) + (double)max - (double)row[token];
}

static uint32_t argmax(const float *row, uint32_t vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        best = row[i] > row[best] || row[best] != row[best] ? i : best;
    return best;
}

static int on_prefill(void *ctx, uint64_t done, uint64_t total)
{
    evaluation *e = ctx;
    uint64_t n = e->n_tokens - e->at < e->chunk ? e->n_tokens - e->at : e->chunk;
    uint64_t layers = n ? total / n : 0;
    hs_progress_update(&e->progress, "prefill", HS_PROGRESS_PERCENT, e->at * layers + done, e->n_tokens * layers,
                       hs_now_ns());
    return hs_stop_asked();
}

static int run_prompt(evaluation *e, hs_err *err)
{
    uint32_t vocab = e->facts.vocab;
    while (e->at < e->n_tokens) {
        uint32_t left = (uint32_t)e->n_tokens - e->at, n = left < e->chunk ? left : e->chunk;
        if (e->trace)
            hs_trace_csv_begin_chunk(e->trace, e->at, n, false);
        int r = hs_session_prefill(e->session, e->tokens + e->at, n, e->logits, n, on_prefill, e, err);
        if (r < 0)
            return r;
        if (e->trace)
            hs_trace_csv_end_chunk(e->trace);
        if (e->npy)
            hs_npy_write(e->npy, e->logits, n);
        for (uint32_t i = 0; i < n && e->at + i + 1 < e->n_tokens; i++)
            e->nll += surprise(e->logits + (size_t)i * vocab, vocab, e->tokens[e->at + i + 1]);
        e->at += n;
        if (e->at == e->n_tokens)
            e->greedy[0] = argmax(e->logits + (size_t)(n - 1) * vocab, vocab);
    }
    hs_progress_clear(&e->progress);
    return 0;
}

static int run_greedy(evaluation *e, hs_err *err)
{
    for (uint32_t i = 1; i < e->n_greedy; i++) {
        if (hs_stop_asked())
            return hs_err_set(err, -ECANCELED, "stopped as asked");
        if (e->trace)
            hs_trace_csv_begin_chunk(e->trace, hs_session_length(e->session), 1, true);
        int r = hs_session_decode(&e->session, &e->greedy[i - 1], 1, e->logits, err);
        if (r < 0)
            return r;
        if (e->trace)
            hs_trace_csv_end_chunk(e->trace);
        e->greedy[i] = argmax(e->logits, e->facts.vocab);
    }
    return 0;
}

static json_t *number_or_null(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static int report(const evaluation *e, const hs_receipt *receipt)
{
    size_t predicted = e->n_tokens - 1;
    double mean = predicted ? e->nll / (double)predicted : NAN;
    if (!hs_args_has(e->args, "json")) {
        hs_buf line;
        hs_buf_init(&line, 4096);
        json_t *cost = hs_receipt_json(receipt);
        hs_receipt_format(cost, receipt->prompt_tokens, receipt->generated_tokens, &line);
        printf("tokens      %zu\nnll         %.6f\nperplexity  %.4f\n", e->n_tokens, mean, exp(mean));
        for (uint32_t i = 0; i < e->n_greedy; i++)
            printf("%s %u%s", i ? "" : "greedy     ", e->greedy[i], i + 1 == e->n_greedy ? "\n" : "");
        hs_say("%s", line.len ? line.data : "");
        json_decref(cost);
        hs_buf_deinit(&line);
        return 0;
    }
    json_t *o = json_pack("{s:s, s:I, s:I, s:o, s:o, s:o}", "model", e->model, "tokens", (json_int_t)e->n_tokens,
                          "predicted", (json_int_t)predicted, "nll", number_or_null(mean), "nll_total",
                          number_or_null(predicted ? e->nll : NAN), "perplexity", number_or_null(exp(mean)));
    if (o && hs_args_has(e->args, "greedy")) {
        json_t *ids = json_array();
        for (uint32_t i = 0; i < e->n_greedy; i++)
            json_array_append_new(ids, json_integer(e->greedy[i]));
        json_object_set_new(o, "greedy", ids);
    }
    if (o)
        json_object_set_new(o, "receipt", hs_receipt_json(receipt));
    return hs_print_json(o);
}

static void deinit(evaluation *e)
{
    hs_npy_destroy(&e->npy);
    hs_trace_csv_destroy(&e->trace);
    if (e->logits)
        hs_map_free(e->logits, (size_t)e->chunk * e->facts.vocab * sizeof(float));
    hs_session_destroy(&e->session);
    hs_engine_destroy(&e->engine);
    hs_free(e->greedy);
    hs_free(e->tokens);
    hs_facts_deinit(&e->facts);
}

static int evaluate(evaluation *e, const hs_config *config, hs_receipt *ret_receipt, hs_err *err)
{
    int r = hs_facts_read(e->model, &e->facts, err);
    if (r == 0)
        r = read_tokens(e, err);
    if (r == 0)
        r = open_engine(e, config, err);
    if (r < 0)
        return r;
    hs_engine_stats before = hs_engine_get_stats(e->engine);
    uint64_t t0 = hs_now_ns();
    r = run_prompt(e, err);
    uint64_t t1 = hs_now_ns();
    if (r == 0)
        r = run_greedy(e, err);
    hs_engine_stats after = hs_engine_get_stats(e->engine);
    *ret_receipt = hs_receipt_between(&before, &after, (double)(t1 - t0) * 1e-9, (double)(hs_now_ns() - t1) * 1e-9);
    if (r == 0 && e->npy)
        r = hs_npy_commit(e->npy, err);
    if (r == 0 && e->trace)
        r = hs_trace_csv_commit(e->trace, err);
    return r;
}

static int run_eval(const hs_args *a)
{
    if (!hs_args_has(a, "ids") == !hs_args_has(a, "text"))
        return hs_fail_usage(a->verb, "eval needs either --ids FILE or --text FILE");
    const char *logits = hs_args_text(a, "logits"), *routes = hs_args_text(a, "routes");
    if (logits && routes && !strcmp(logits, routes))
        return hs_fail_usage(a->verb, "--logits and --routes name the same file");
    hs_config *config = NULL;
    int status = hs_load_config(a, &config);
    if (status)
        return status;
    evaluation e = {.args = a, .model = a->operands[0], .n_greedy = (uint32_t)hs_args_int(a, "greedy", 0)};
    hs_progress_init(&e.progress, stderr);
    hs_signals_setup();
    hs_receipt receipt;
    hs_err err = {0};
    int r = evaluate(&e, config, &receipt, &err);
    hs_progress_clear(&e.progress);
    status = r < 0 ? hs_fail(&err) : report(&e, &receipt);
    deinit(&e);
    hs_config_destroy(&config);
    return status;
}

static const hs_flag flags[] = {
    {"ids", HS_FLAG_TEXT, "FILE", 0, 0,
     "the prompt as token ids, separated by white space; - is stdin; needs no tokenizer files"},
    {"text", HS_FLAG_TEXT, "FILE", 0, 0, "the prompt as text; special tokens in it are recognised, no BOS is added"},
    {"logits", HS_FLAG_TEXT, "FILE.npy", 0, 0, "write the prompt's logits: float32, tokens x vocabulary"},
    {"routes", HS_FLAG_TEXT, "FILE.csv", 0, 0,
     "write every routing decision as route_trace v1, prompt and continuation; FILE.csv.gz: gzipped"},
    {"greedy", HS_FLAG_INT, "N", 0, 16777216,
     "continue with the N likeliest tokens, one after the other; an end token does not stop it"},
    HS_FLAG_MIRROR,
    HS_FLAGS_CONFIG,
    HS_FLAG_JSON,
    HS_FLAGS_END};

const hs_verb hs_verb_eval = {
    .name = "eval",
    .synopsis = "MODEL",
    .summary = "Logits, perplexity, routes and greedy continuation of given tokens.",
    .details =
        "nll is the mean negative log-likelihood, in nats, of the prompt's tokens after the first; perplexity is "
        "its exponential. Keys and values are stored as f32 unless kv.type is set.",
    .flags = flags,
    .min_operands = 1,
    .max_operands = 1,
    .first = HS_NEEDED_MODEL,
    .run = run_eval};

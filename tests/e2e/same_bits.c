/*
 * same_bits.c - the promise that nothing but the model and the tokens decides a logit, and the one that the plan bounds
 * memory.
 *
 * The axes are in `axes` below: how the model is stored, and which way its packed experts are read; cache, policy,
 * scope, checksums, prefetch, I/O engine, threads, neighbours. Of their product as many combinations run that any
 * values of any four axes meet (of any three with a GGUF file), each in a process of its own, which reports a hash of
 * all logits and the plan's total; the parent compares hashes and the process's peak RSS as the kernel counted it.
 *
 *   same_bits MODEL_DIR WORK_DIR      of the model, and packed with zstd and exponents (the parent)
 *   same_bits FILE.gguf               of a GGUF file
 *   same_bits --one PATH WAY CACHE POLICY PREFETCH ENGINE THREADS BESIDE SCOPE VERIFY      one of them
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/err.h"
#include "combine.h"
#include "engine/engine_int.h"
#include "pack/pack.h"
#include "residency/residency_int.h"
#include "sanitized.h"

#define PROMPT 40u
#define STEPS  12u
#define OTHERS 3u

/* Ids spread over the vocabulary. */
static uint32_t token_of(uint32_t sequence, uint32_t position, uint32_t vocab)
{
    return (sequence * 7919u + position * 104729u + 17u) % vocab;
}

static int fail(const char *what, const hs_err *err)
{
    fprintf(stderr, "same_bits: %s: %s\n", what, err->text);
    return 1;
}

static int feed(hs_session *s, uint32_t sequence, uint32_t n, uint32_t vocab, float *logits, hs_err *err)
{
    uint32_t tokens[PROMPT];
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = token_of(sequence, i, vocab);
    return hs_session_prefill(s, tokens, n, logits, logits ? n : 0, NULL, NULL, err);
}

/* Logits of sequence 0 for the prompt and STEPS generated tokens; beside: three others, of other lengths, decode with
 * it. */
static int run(hs_engine *e, bool beside, uint64_t *ret_hash, hs_err *err)
{
    uint32_t vocab = hs_engine_vocab(e), n = beside ? 1 + OTHERS : 1;
    hs_session *s[1 + OTHERS] = {0};
    float *prompt = calloc((size_t)PROMPT * vocab, sizeof *prompt);
    float *step = calloc((size_t)n * vocab, sizeof *step);
    XXH3_state_t *h = XXH3_createState();
    XXH3_64bits_reset(h);
    int r = prompt && step && h ? 0 : -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        r = hs_session_create(e, &s[i], err);
        if (r == 0)
            r = feed(s[i], i, i == 0 ? PROMPT : 5 + 11 * i, vocab, i == 0 ? prompt : NULL, err);
    }
    if (r == 0)
        XXH3_64bits_update(h, prompt, (size_t)PROMPT * vocab * sizeof *prompt);
    for (uint32_t k = 0; r == 0 && k < STEPS; k++) {
        uint32_t tokens[1 + OTHERS];
        for (uint32_t i = 0; i < n; i++)
            tokens[i] = token_of(i, PROMPT + k, vocab);
        r = hs_session_decode(s, tokens, n, step, err);
        if (r == 0)
            XXH3_64bits_update(h, step, vocab * sizeof *step);
    }
    *ret_hash = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    for (uint32_t i = 0; i < n; i++)
        hs_session_destroy(&s[i]);
    free(prompt);
    free(step);
    return r;
}

enum { PATH, WAY, CACHE, POLICY, PREFETCH, ENGINE, THREADS, BESIDE, SCOPE, VERIFY, AXES };

static bool is(char *const *a, int axis, const char *value)
{
    return !strcmp(a[axis], value);
}

/* Which way a packed expert is read depends on time, unless it is said here. */
static int take_way(hs_engine *e, const char *way, hs_err *err)
{
    hs__ways *w = &e->residency->ways;
    bool raw = !strcmp(way, "source");
    if (raw && !w->is_possible)
        return hs_err_set(err, -ENOENT, "what the model was packed from is not at hand");
    hs__block never = {.period = UINT32_MAX, .turn = HS__NONE};
    /* n: so many steps have been, as if, that no forecast is asked. */
    *w = (hs__ways){.is_possible = raw, .raw = raw, .is_chosen = true, .n = 32, .block = never};
    return 0;
}

static int run_one(char **a)
{
    hs_engine_options opt = {.path = a[PATH],
                             .policy = a[POLICY],
                             .cache_by_layer = is(a, SCOPE, "layer"),
                             .warm_tier = is(a, WAY, "warm") ? HS_WARM_ON : HS_WARM_OFF,
                             .prefetch = is(a, PREFETCH, "on"),
                             .io_engine = a[ENGINE],
                             .io_verify_always = is(a, VERIFY, "always"),
                             .threads = (uint32_t)atoi(a[THREADS]),
                             .kv_type = "f32",
                             .context = 256,
                             .parallel = 1 + OTHERS,
                             /* what this program itself holds: logits of the prompt */
                             .memory_outside = 4u << 20,
                             .without_text = true};
    hs_err err = {0};
    hs_plan plan;
    if (is(a, CACHE, "floor")) {
        int r = hs_plan_make(&opt, &plan, &err);
        if (r < 0)
            return fail("plan", &err);
        opt.cache_kind = HS_CACHE_BYTES;
        opt.cache_bytes = plan.min_slots * plan.slot_bytes;
    } else {
        opt.cache_kind = HS_CACHE_PERCENT;
        opt.cache_percent = atof(a[CACHE]);
    }
    hs_engine *e = NULL;
    if (hs_engine_create(&opt, &e, &err) < 0)
        return fail("create", &err);
    uint64_t hash;
    int r = take_way(e, a[WAY], &err);
    if (r == 0)
        r = run(e, is(a, BESIDE, "beside"), &hash, &err);
    hs_engine_stats st = hs_engine_get_stats(e);
    if (r == 0)
        printf("%016" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n", hash,
               hs_engine_plan(e)->total, st.expert_misses, st.unpacked, st.warm_hits, st.prefetch_issued,
               hs_engine_io_name(e));
    hs_engine_destroy(&e);
    return r < 0 ? fail("run", &err) : 0;
}

typedef struct result {
    uint64_t hash, plan, misses, unpacked, warm, prefetched, peak;
    char io[16];
} result;

static int spawn(const char *self, char **a, result *ret)
{
    int fd[2];
    if (pipe(fd) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], 1);
        close(fd[0]);
        close(fd[1]);
        char *argv[AXES + 3] = {(char *)self, (char *)"--one"};
        memcpy(argv + 2, a, AXES * sizeof *a);
        execv(self, argv);
        _exit(127);
    }
    close(fd[1]);
    FILE *f = fdopen(fd[0], "r");
    int n = fscanf(f, "%" SCNx64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %15s", &ret->hash,
                   &ret->plan, &ret->misses, &ret->unpacked, &ret->warm, &ret->prefetched, ret->io);
    fclose(f);
    int status;
    struct rusage ru;
    if (wait4(pid, &status, 0, &ru) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
        return -1;
    ret->peak = (uint64_t)ru.ru_maxrss * 1024;
    return n == 7 ? 0 : -1;
}

typedef struct tally {
    uint64_t hash;
    uint32_t runs, different, over, otherwise;
    uint64_t prefetched, to_prefetch; /* reads ahead; runs that have reason to */
    double fullest;                   /* peak / plan */
} tally;

static void tell(const char *what, char *const *a)
{
    printf("%s: %s %s, cache %s %s of %s, prefetch %s, %s verifies %s, %s threads, %s\n", what, a[PATH], a[WAY],
           a[CACHE], a[POLICY], a[SCOPE], a[PREFETCH], a[ENGINE], a[VERIFY], a[THREADS], a[BESIDE]);
}

static void judge(tally *t, char *const *a, const result *r)
{
    bool first = t->runs++ == 0;
    if (first)
        t->hash = r->hash;
    if (r->hash != t->hash) {
        t->different++;
        tell("other bits", a);
    }
    double share = (double)r->peak / (double)r->plan;
    t->fullest = share > t->fullest ? share : t->fullest;
    if (!SANITIZED && r->peak > r->plan) { /* shadow memory is not the plan's */
        t->over++;
        printf("peak RSS %" PRIu64 " over the plan %" PRIu64 "\n", r->peak, r->plan);
        tell("over the plan", a);
    }
    if (is(a, PREFETCH, "on") && is(a, CACHE, "25")) {
        t->prefetched += r->prefetched;
        t->to_prefetch++;
    }
    if (!r->misses || (is(a, PREFETCH, "off") && r->prefetched) || is(a, WAY, "source") != (r->unpacked > 0) ||
        (is(a, WAY, "warm") ? is(a, CACHE, "25") && !r->warm : r->warm > 0) ||
        (!is(a, ENGINE, "auto") && !is(a, ENGINE, r->io))) {
        t->otherwise++;
        tell("this combination did not do what it says", a);
    }
}

/* Whether the kernel lets this process use io_uring: auto would have taken it. */
static bool can_uring(const char *model)
{
    hs_engine_options opt = {.path = model, .context = 64, .without_text = true};
    hs_engine *e = NULL;
    hs_err err = {0};
    bool can = hs_engine_create(&opt, &e, &err) == 0 && !strcmp(hs_engine_io_name(e), "io_uring");
    hs_engine_destroy(&e);
    return can;
}

typedef struct axis {
    const char *value[COMBINE_VALUES]; /* NULL behind the last */
} axis;

static uint32_t axis_length(const axis *a)
{
    uint32_t n = 0;
    while (n < COMBINE_VALUES && a->value[n])
        n++;
    return n;
}

/* Only what is packed can be read from its source, or kept compressed. */
static bool is_possible(const uint32_t *at)
{
    return at[PATH] > 0 || at[WAY] == 0;
}

static int run_combination(const char *self, const axis *axes, const uint32_t at[AXES], tally *t)
{
    char *a[AXES];
    for (uint32_t x = 0; x < AXES; x++)
        a[x] = (char *)axes[x].value[at[x]];
    result r = {0};
    if (spawn(self, a, &r) < 0) {
        tell("failed", a);
        return -1;
    }
    judge(t, a, &r);
    return 0;
}

static int run_all(const char *self, const axis *axes, uint32_t strength)
{
    tally t = {0};
    uint32_t total = 1, lengths[AXES], at[AXES];
    for (uint32_t x = 0; x < AXES; x++)
        total *= lengths[x] = axis_length(&axes[x]);
    bool *chosen = calloc(total, sizeof *chosen);
    if (!chosen)
        return 1;
    uint32_t possible = combine(lengths, AXES, strength, is_possible, chosen);
    for (uint32_t i = 0; i < total; i++) {
        combine_at(lengths, AXES, i, at);
        if (chosen[i] && run_combination(self, axes, at, &t) < 0)
            return 1;
    }
    free(chosen);
    printf("%u of %u combinations, all in which any values of %u axes meet; %u with other bits, %u over the plan "
           "(fullest %.2f of it)\n",
           t.runs, possible, strength, t.different, t.over, t.fullest);
    if (t.to_prefetch && !t.prefetched)
        printf("nothing was ever read ahead\n");
    return t.different || t.over || t.otherwise || (t.to_prefetch && !t.prefetched) ? 1 : 0;
}

int main(int argc, char **argv)
{
    axis axes[AXES] = {[PATH] = {{argc > 1 ? argv[1] : NULL}}, [WAY] = {{"packed"}},
                       [CACHE] = {{"floor", "50", "100"}},     [POLICY] = {{"lru", "lfu", "ewma", "s3fifo", "arc"}},
                       [PREFETCH] = {{"on", "off"}},           [ENGINE] = {{"auto"}},
                       [THREADS] = {{"1", "2", "3"}},          [BESIDE] = {{"alone", "beside"}},
                       [SCOPE] = {{"global", "layer"}},        [VERIFY] = {{"auto", "always"}}};
    if (argc == AXES + 2 && !strcmp(argv[1], "--one"))
        return run_one(argv + 2);
    if (argc == 2)
        return run_all(argv[0], axes, 3);
    if (argc != 3)
        return 2;
    static char packed[2][1024], other[1024];
    hs_err err = {0};
    mkdir(argv[2], 0777);
    snprintf(other, sizeof other, "%s/other", argv[2]);
    for (int i = 0; i < 2; i++) {
        snprintf(packed[i], sizeof packed[i], "%s/%s", argv[2], i ? "striped" : "zstd");
        /* The one as it is, the other with experts' matrices in two folders. */
        hs_pack_options po = {.src = argv[1],
                              .dst = packed[i],
                              .codec = i ? HS_PACK_EXPONENT : HS_PACK_ZSTD,
                              .stripe = (const char *const[]){other},
                              .n_stripe = (uint32_t)i,
                              .split_bytes = (uint64_t)i};
        if (hs_pack(&po, &err) < 0)
            return fail("pack", &err);
        axes[PATH].value[1 + i] = packed[i];
    }
    axes[CACHE].value[1] = "25";
    axes[WAY].value[1] = "source";
    axes[WAY].value[2] = "warm";
    axes[ENGINE] = (axis){{"pread", "io_uring"}};
    if (!can_uring(argv[1])) {
        printf("SKIP of the io_uring half: the kernel denies it here\n");
        axes[ENGINE].value[1] = NULL;
    }
    return run_all(argv[0], axes, 4);
}

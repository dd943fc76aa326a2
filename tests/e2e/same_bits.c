/*
 * same_bits.c - the promise that nothing but the model and the tokens decides a logit, and the one that the plan bounds
 * memory.
 *
 * Every combination of {safetensors, packed with zstd, packed with exponents} x {cache at the floor, 25 %, 100 %} x
 * {lru, lfu, ewma} x {prefetch on, off} x {io_uring, pread} x {1, 2, 3 threads} x {alone, beside three others} runs in
 * a process of its own, which reports a hash of all logits and the plan's total; the parent compares hashes and the
 * process's peak RSS as the kernel counted it. Of a GGUF file: {cache at the floor, 50 %, 100 %} x {prefetch on, off} x
 * {1, 2, 3 threads} x {alone, beside three others}.
 *
 *   same_bits MODEL_DIR WORK_DIR      all combinations (the parent)
 *   same_bits FILE.gguf               those of a GGUF file
 *   same_bits --one PATH CACHE POLICY PREFETCH ENGINE THREADS BESIDE      one of them
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
#include "hotset/hotset.h"
#include "pack/pack.h"

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

static int run_one(char **a)
{
    hs_engine_options opt = {.path = a[0],
                             .policy = a[2],
                             .prefetch = !strcmp(a[3], "on"),
                             .io_engine = a[4],
                             .threads = (uint32_t)atoi(a[5]),
                             .kv_type = "f32",
                             .context = 256,
                             .parallel = 1 + OTHERS,
                             /* what this program itself holds: logits of the prompt */
                             .memory_outside = 4u << 20,
                             .without_text = true};
    hs_err err = {0};
    hs_plan plan;
    if (!strcmp(a[1], "floor")) {
        int r = hs_plan_make(&opt, &plan, &err);
        if (r < 0)
            return fail("plan", &err);
        opt.cache_kind = HS_CACHE_BYTES;
        opt.cache_bytes = plan.min_slots * plan.slot_bytes;
    } else {
        opt.cache_kind = HS_CACHE_PERCENT;
        opt.cache_percent = atof(a[1]);
    }
    hs_engine *e = NULL;
    if (hs_engine_create(&opt, &e, &err) < 0)
        return fail("create", &err);
    uint64_t hash;
    int r = run(e, !strcmp(a[6], "beside"), &hash, &err);
    hs_engine_stats st = hs_engine_get_stats(e);
    if (r == 0)
        printf("%016" PRIx64 " %" PRIu64 " %u %" PRIu64 " %" PRIu64 " %s\n", hash, hs_engine_plan(e)->total,
               hs_engine_plan(e)->n_slots, st.expert_misses, st.prefetch_issued, hs_engine_io_name(e));
    hs_engine_destroy(&e);
    return r < 0 ? fail("run", &err) : 0;
}

typedef struct result {
    uint64_t hash, plan, misses, prefetched, peak;
    unsigned slots;
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
        execl(self, self, "--one", a[0], a[1], a[2], a[3], a[4], a[5], a[6], (char *)NULL);
        _exit(127);
    }
    close(fd[1]);
    FILE *f = fdopen(fd[0], "r");
    int n = fscanf(f, "%" SCNx64 " %" SCNu64 " %u %" SCNu64 " %" SCNu64 " %15s", &ret->hash, &ret->plan, &ret->slots,
                   &ret->misses, &ret->prefetched, ret->io);
    fclose(f);
    int status;
    struct rusage ru;
    if (wait4(pid, &status, 0, &ru) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
        return -1;
    ret->peak = (uint64_t)ru.ru_maxrss * 1024;
    return n == 6 ? 0 : -1;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RSS_COUNTS 0 /* shadow memory is not the plan's */
#else
#define RSS_COUNTS 1
#endif

typedef struct tally {
    uint64_t hash;
    uint32_t runs, different, over, read_nothing;
    double fullest; /* peak / plan */
} tally;

static void judge(tally *t, char **a, const result *r)
{
    bool first = t->runs++ == 0;
    if (first)
        t->hash = r->hash;
    if (r->hash != t->hash) {
        t->different++;
        printf("other bits: %s cache=%s %s prefetch=%s %s threads=%s %s\n", a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    }
    double share = (double)r->peak / (double)r->plan;
    t->fullest = share > t->fullest ? share : t->fullest;
    if (RSS_COUNTS && r->peak > r->plan) {
        t->over++;
        printf("peak RSS %" PRIu64 " over the plan %" PRIu64 ": %s cache=%s %s prefetch=%s %s threads=%s %s\n", r->peak,
               r->plan, a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    }
    if (!r->misses || (!strcmp(a[3], "on") && !strcmp(a[1], "25") && !r->prefetched) ||
        (strcmp(r->io, a[4]) && strcmp(a[4], "auto"))) {
        t->read_nothing++;
        printf("this combination did not do what it says: %s cache=%s prefetch=%s io=%s\n", a[0], a[1], a[3], r->io);
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

#define AXES 7

typedef struct axis {
    const char *value[3]; /* NULL behind the last */
} axis;

static uint32_t axis_length(const axis *a)
{
    uint32_t n = 0;
    while (n < 3 && a->value[n])
        n++;
    return n;
}

/* Every combination, the last axis fastest: path, cache, policy, prefetch, engine, threads, beside. */
static int all_combinations(const char *self, const axis *axes)
{
    tally t = {0};
    uint32_t total = 1;
    for (uint32_t x = 0; x < AXES; x++)
        total *= axis_length(&axes[x]);
    for (uint32_t i = 0; i < total; i++) {
        char *a[AXES];
        for (uint32_t k = i, x = AXES; x-- > 0; k /= axis_length(&axes[x]))
            a[x] = (char *)axes[x].value[k % axis_length(&axes[x])];
        result r = {0};
        if (spawn(self, a, &r) < 0) {
            printf("failed: %s cache=%s %s prefetch=%s %s threads=%s %s\n", a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
            return 1;
        }
        judge(&t, a, &r);
    }
    printf("%u combinations, %u with other bits, %u over the plan (fullest %.2f of it)\n", t.runs, t.different, t.over,
           t.fullest);
    return t.different || t.over || t.read_nothing ? 1 : 0;
}

int main(int argc, char **argv)
{
    axis axes[AXES] = {{{argc > 1 ? argv[1] : NULL}},
                       {{"floor", "50", "100"}},
                       {{"ewma"}},
                       {{"on", "off"}},
                       {{"auto"}},
                       {{"1", "2", "3"}},
                       {{"alone", "beside"}}};
    if (argc == 9 && !strcmp(argv[1], "--one"))
        return run_one(argv + 2);
    if (argc == 2)
        return all_combinations(argv[0], axes);
    if (argc != 3)
        return 2;
    static char packed[2][1024];
    hs_err err = {0};
    mkdir(argv[2], 0777);
    for (int i = 0; i < 2; i++) {
        snprintf(packed[i], sizeof packed[i], "%s/%s", argv[2], i ? "exponent" : "zstd");
        hs_pack_options po = {.src = argv[1], .dst = packed[i], .codec = i ? HS_PACK_EXPONENT : HS_PACK_ZSTD};
        if (hs_pack(&po, &err) < 0)
            return fail("pack", &err);
        axes[0].value[1 + i] = packed[i];
    }
    axes[1].value[1] = "25";
    axes[2] = (axis){{"lru", "lfu", "ewma"}};
    axes[4] = (axis){{"pread", "io_uring"}};
    if (!can_uring(argv[1])) {
        printf("SKIP of the io_uring half: the kernel denies it here\n");
        axes[4].value[1] = NULL;
    }
    return all_combinations(argv[0], axes);
}

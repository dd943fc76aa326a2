/*
 * made_routes.h - routes of models that nobody had to run: drawn by lot, the same for the same seed.
 *
 * The logit of an expert is the sum of its popularity; of what the topic says, which changes from turn to turn; of what
 * the word says; of some that wander, for so many tokens each; of a bonus, if the token before used it; and of noise.
 * Each layer uses the k highest, highest first. Topic, word and wandering are either each expert's own, or a state that
 * all layers see through matrices of their own, which change from layer to layer.
 *
 * Whoever asks for it is told how likely each use was, to one who knows everything but the lots still to be drawn: no
 * policy can know as much.
 */
#ifndef MADE_ROUTES_H
#define MADE_ROUTES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MADE_WANDERS   2
#define MADE_TOP_MOST  16u
#define MADE_REPEATS   64u  /* words back that may be said again */
#define MADE_BALANCING 1500 /* tokens, each of another topic */

typedef struct made_kind {
    const char *name;
    uint32_t tokens, layers, experts, top_k;
    float popular; /* these are standard deviations; noise is added to each logit of each token */
    float topic, word;
    float wander[MADE_WANDERS], wander_tokens[MADE_WANDERS];
    float stay; /* what a use adds to the next token's logit */
    float noise;
    uint32_t topics, turn_tokens; /* a turn: half as many tokens to half as many more; then another topic */
    uint32_t words;               /* by Zipf's law; most of them in an order of the topic's */
    uint32_t state;               /* numbers of it; 0: each expert has its own */
    uint32_t groups, top_groups;  /* only experts of the best groups are used; 0: no groups */
    uint32_t chats;               /* that take turns token by token; 0 = 1 */
    bool balanced;                /* biases make all experts of a layer used alike in the long run */
    bool zipf;                    /* popularity by rank, 1 / (rank + 1), in an order of the layer's own */
    bool prompts;                 /* between two turns a prompt is read: sessions, and nothing wanders on */
} made_kind;

typedef struct made_routes {
    uint64_t n;          /* uses */
    uint32_t *object;    /* [n] layer * experts + expert */
    uint32_t *token;     /* [n] */
    uint16_t *turn;      /* [n], NULL without prompts */
    float *soon, *later; /* [tokens][layers * experts] as known after that token: uses within some 3, some 20 */
} made_routes;

static inline uint64_t made_bits(uint64_t *rng)
{
    uint64_t z = *rng += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint32_t made_below(uint64_t *rng, uint32_t n)
{
    return (uint32_t)((made_bits(rng) >> 32) * n >> 32);
}

/* Nearly normal, of deviation 1: eight dice. */
static inline float made_normal(uint64_t *rng)
{
    uint32_t sum = 0;
    for (int i = 0; i < 2; i++) {
        uint64_t b = made_bits(rng);
        sum += (uint32_t)((b & 0xffff) + (b >> 16 & 0xffff) + (b >> 32 & 0xffff) + (b >> 48));
    }
    return ((float)sum - 262140) / 53510;
}

/* n zeros of that size. Ends the program if there is no memory. */
static inline void *made_room(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        exit(1);
    return p;
}

static inline float *made_normals(uint64_t *rng, size_t n, float deviation)
{
    float *x = made_room(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = deviation * made_normal(rng);
    return x;
}

typedef struct made_chat {
    float *wander[MADE_WANDERS]; /* [dims] */
    uint8_t *used;               /* [objects] by its last token */
    uint32_t topic, left, turn;  /* left: tokens of the turn */
    uint32_t said[MADE_REPEATS]; /* words, the last ones */
} made_chat;

typedef struct made_model {
    const made_kind *kind;
    uint64_t rng;
    uint32_t objects, dims;
    float *popular, *topic, *word, *lens; /* lens: [layers][state][experts] */
    float *bias, *edge;                   /* edge: [layers] where the k-th is, on average */
    float *h, *logit;                     /* [dims]; [objects] */
    float *usual;                         /* [dims] what words say on average, but for a topic's own */
    made_chat *chat;
    uint32_t tokens; /* so far */
} made_model;

static inline void made_popularity(made_model *m)
{
    const made_kind *k = m->kind;
    m->popular = made_normals(&m->rng, m->objects, k->popular);
    for (uint32_t l = 0; k->zipf && l < k->layers; l++) {
        float *of = m->popular + (size_t)l * k->experts;
        for (uint32_t e = 0; e < k->experts; e++)
            of[e] = -k->popular * logf(1 + (float)e);
        for (uint32_t e = k->experts; e-- > 1;) {
            uint32_t o = made_below(&m->rng, e + 1);
            float was = of[e];
            of[e] = of[o];
            of[o] = was;
        }
    }
}

/* A layer sees the state nearly as the one before does. */
static inline void made_lenses(made_model *m)
{
    const made_kind *k = m->kind;
    size_t one = (size_t)k->state * k->experts;
    m->lens = made_normals(&m->rng, one * k->layers, 1);
    for (size_t i = one; i < one * k->layers; i++)
        m->lens[i] = 0.866f * m->lens[i - one] + 0.5f * m->lens[i];
    for (size_t i = 0; i < one * k->layers; i++)
        m->lens[i] /= sqrtf((float)k->state);
}

static inline void made_begin(made_model *m, const made_kind *k, uint64_t seed)
{
    uint32_t chats = k->chats ? k->chats : 1;
    *m = (made_model){.kind = k, .rng = seed, .objects = k->layers * k->experts};
    m->dims = k->state ? k->state : m->objects;
    made_popularity(m);
    m->topic = made_normals(&m->rng, (size_t)k->topics * m->dims, k->topic);
    m->word = made_normals(&m->rng, (size_t)k->words * m->dims, k->word);
    if (k->state)
        made_lenses(m);
    m->bias = made_room(m->objects, sizeof(float));
    m->edge = made_room(k->layers, sizeof(float));
    m->h = made_room(m->dims, sizeof(float));
    m->logit = made_room(m->objects, sizeof(float));
    m->usual = made_room(m->dims, sizeof(float));
    for (uint32_t z = 0; z < k->words / 8; z++)
        for (uint32_t d = 0; d < m->dims; d++)
            m->usual[d] += m->word[(size_t)z * m->dims + d] * logf(1 + 1 / (1 + (float)z)) / logf((float)k->words);
    m->chat = made_room(chats, sizeof *m->chat);
    for (uint32_t c = 0; c < chats; c++) {
        m->chat[c].used = made_room(m->objects, 1);
        for (int i = 0; i < MADE_WANDERS; i++)
            m->chat[c].wander[i] = made_normals(&m->rng, m->dims, k->wander[i]);
    }
}

static inline void made_end(made_model *m)
{
    for (uint32_t c = 0; c < (m->kind->chats ? m->kind->chats : 1); c++) {
        free(m->chat[c].used);
        for (int i = 0; i < MADE_WANDERS; i++)
            free(m->chat[c].wander[i]);
    }
    free(m->chat);
    free(m->popular);
    free(m->topic);
    free(m->word);
    free(m->lens);
    free(m->bias);
    free(m->edge);
    free(m->h);
    free(m->logit);
    free(m->usual);
}

/* Rank r with chance 1 / (r + 1), roughly: its logarithm is uniform. */
static inline uint32_t made_word(made_model *m, made_chat *c)
{
    uint32_t words = m->kind->words, back = made_below(&m->rng, MADE_REPEATS);
    uint32_t z = (uint32_t)expf(logf((float)words) * (float)made_below(&m->rng, 1 << 20) / (1 << 20)) - 1;
    if (z >= words / 8) /* words of the topic */
        z = words / 8 + (z + c->topic * 7919) % (words - words / 8);
    if (made_below(&m->rng, 10) < 3)
        z = c->said[back];
    memmove(c->said + 1, c->said, sizeof c->said - sizeof *c->said);
    return c->said[0] = z;
}

static inline void made_turn(made_model *m, made_chat *c, bool balancing)
{
    const made_kind *k = m->kind;
    if (c->left--)
        return;
    c->turn++;
    c->topic = k->topics ? made_below(&m->rng, k->topics) : 0;
    c->left = balancing || !k->turn_tokens ? 0 : k->turn_tokens / 2 + made_below(&m->rng, k->turn_tokens);
    for (int i = 0; k->prompts && i < MADE_WANDERS; i++)
        for (uint32_t d = 0; d < m->dims && k->wander[i] > 0; d++)
            c->wander[i][d] = k->wander[i] * made_normal(&m->rng);
}

/* The state of the next token. */
static inline void made_think(made_model *m, made_chat *c, bool balancing)
{
    const made_kind *k = m->kind;
    made_turn(m, c, balancing);
    memset(m->h, 0, m->dims * sizeof *m->h);
    if (k->topics)
        memcpy(m->h, m->topic + (size_t)c->topic * m->dims, m->dims * sizeof *m->h);
    if (k->words) {
        const float *w = m->word + (size_t)made_word(m, c) * m->dims;
        for (uint32_t d = 0; d < m->dims; d++)
            m->h[d] += w[d];
    }
    for (int i = 0; i < MADE_WANDERS; i++) {
        if (!(k->wander[i] > 0))
            continue;
        float keep = expf(-1 / k->wander_tokens[i]), fresh = k->wander[i] * sqrtf(1 - keep * keep);
        for (uint32_t d = 0; d < m->dims; d++) {
            c->wander[i][d] = keep * c->wander[i][d] + fresh * made_normal(&m->rng);
            m->h[d] += c->wander[i][d];
        }
    }
}

/* to[experts] += what the layer sees of the state. */
static inline void made_see(const made_model *m, const float *h, uint32_t layer, float *to)
{
    uint32_t n = m->kind->experts;
    if (!m->kind->state) {
        for (uint32_t e = 0; e < n; e++)
            to[e] += h[(size_t)layer * n + e];
        return;
    }
    for (uint32_t d = 0; d < m->dims; d++) {
        const float *row = m->lens + ((size_t)layer * m->dims + d) * n;
        for (uint32_t e = 0; e < n; e++)
            to[e] += h[d] * row[e];
    }
}

/* Only the groups whose two best are best. */
static inline void made_group(const made_kind *k, float *x)
{
    float worth[64];
    uint32_t each = k->groups ? k->experts / k->groups : 0;
    for (uint32_t g = 0; g < k->groups; g++) {
        float best = -1e9f, next = -1e9f;
        for (uint32_t e = g * each; e < (g + 1) * each; e++) {
            next = x[e] > best ? best : x[e] > next ? x[e] : next;
            best = x[e] > best ? x[e] : best;
        }
        worth[g] = best + next;
    }
    for (uint32_t g = 0; g < k->groups; g++) {
        uint32_t better = 0;
        for (uint32_t o = 0; o < k->groups; o++)
            better += worth[o] > worth[g];
        for (uint32_t e = g * each; better >= k->top_groups && e < (g + 1) * each; e++)
            x[e] -= 1e6f;
    }
}

/* The k highest of x, highest first. */
static inline void made_top(const float *x, uint32_t experts, uint32_t k, uint32_t ret[MADE_TOP_MOST])
{
    uint32_t n = 0;
    for (uint32_t e = 0; e < experts; e++) {
        if (n == k && x[e] <= x[ret[n - 1]])
            continue;
        uint32_t at = n < k ? n++ : n - 1;
        for (; at && x[ret[at - 1]] < x[e]; at--)
            ret[at] = ret[at - 1];
        ret[at] = e;
    }
}

/* One token; ret: [layers][top_k] objects. */
static inline void made_token(made_model *m, bool balancing, uint32_t *ret)
{
    const made_kind *k = m->kind;
    made_chat *c = &m->chat[m->tokens++ % (k->chats ? k->chats : 1)];
    made_think(m, c, balancing);
    for (uint32_t l = 0; l < k->layers; l++) {
        size_t first = (size_t)l * k->experts;
        float *x = m->logit + first, step = 0.03f * (1 - (float)m->tokens / (MADE_BALANCING + 100));
        uint32_t top[MADE_TOP_MOST];
        for (uint32_t e = 0; e < k->experts; e++)
            x[e] = m->popular[first + e] + m->bias[first + e] + k->noise * made_normal(&m->rng) +
                   (c->used[first + e] ? k->stay : 0);
        made_see(m, m->h, l, x);
        made_group(k, x);
        made_top(x, k->experts, k->top_k, top);
        m->edge[l] += (x[top[k->top_k - 1]] - m->edge[l]) / (float)(m->tokens < 100 ? m->tokens : 100);
        memset(c->used + first, 0, k->experts);
        for (uint32_t i = 0; i < k->top_k; i++) {
            c->used[first + top[i]] = 1;
            ret[l * k->top_k + i] = (uint32_t)first + top[i];
        }
        for (uint32_t e = 0; balancing && e < k->experts; e++)
            m->bias[first + e] += step * ((float)k->top_k / (float)k->experts - c->used[first + e]);
    }
}

/* What is known after a token of the one s tokens later: expected logits, and how far off they may be. */
static inline void made_expect(made_model *m, const made_chat *c, uint32_t s, float *x, float *ret_deviation)
{
    const made_kind *k = m->kind;
    float stays = k->topics ? powf(1 - 1 / (float)k->turn_tokens, (float)s) : 0;
    float v = k->noise * k->noise + k->word * k->word + k->topic * k->topic * (1 - stays);
    for (uint32_t d = 0; d < m->dims; d++)
        m->h[d] = 0.7f * m->usual[d] + (k->topics ? stays * m->topic[(size_t)c->topic * m->dims + d] : 0);
    for (uint32_t i = 0; k->words && i < MADE_REPEATS; i++)
        for (uint32_t d = 0; d < m->dims; d++)
            m->h[d] += 0.3f / MADE_REPEATS * m->word[(size_t)c->said[i] * m->dims + d];
    for (int i = 0; i < MADE_WANDERS; i++) {
        if (!(k->wander[i] > 0))
            continue;
        float keep = expf(-(float)s / k->wander_tokens[i]) * (k->prompts ? stays : 1);
        v += k->wander[i] * k->wander[i] * (1 - keep * keep);
        for (uint32_t d = 0; d < m->dims; d++)
            m->h[d] += keep * c->wander[i][d];
    }
    for (uint32_t o = 0; o < m->objects; o++)
        x[o] = m->popular[o] + m->bias[o] + (s == 1 && c->used[o] ? k->stay : 0);
    for (uint32_t l = 0; l < k->layers; l++)
        made_see(m, m->h, l, x + (size_t)l * k->experts);
    *ret_deviation = sqrtf(v);
}

static inline void made_foretell(made_model *m, float *soon, float *later)
{
    static const uint32_t at[] = {1, 2, 4, 8, 16, 32, 64};
    const made_kind *k = m->kind;
    uint32_t chats = k->chats ? k->chats : 1;
    for (uint32_t c = 0; c < chats; c++) {
        for (uint32_t i = 0; i < sizeof at / sizeof *at; i++) {
            float deviation;
            made_expect(m, &m->chat[c], at[i], m->logit, &deviation);
            float near = (float)at[i] * expf(-(float)at[i] / 3), far = (float)at[i] * expf(-(float)at[i] / 20);
            for (uint32_t o = 0; o < m->objects; o++) {
                float p = 1 / (1 + expf(-1.7f * (m->logit[o] - m->edge[o / k->experts]) / deviation));
                soon[o] += near * p;
                later[o] += far * p;
            }
        }
    }
}

/* foretell: fills soon and later. Free it with made_routes_free. */
static inline made_routes made_routes_of(const made_kind *k, uint64_t seed, bool foretell)
{
    made_model m;
    uint32_t each = k->layers * k->top_k;
    made_routes r = {.n = (uint64_t)k->tokens * each};
    r.object = made_room(r.n, sizeof *r.object);
    r.token = made_room(r.n, sizeof *r.token);
    r.turn = k->prompts ? made_room(r.n, sizeof *r.turn) : NULL;
    made_begin(&m, k, seed);
    for (uint32_t i = 0; k->balanced && i < MADE_BALANCING; i++)
        made_token(&m, true, r.object);
    if (foretell) {
        r.soon = made_room((size_t)k->tokens * m.objects, sizeof(float));
        r.later = made_room((size_t)k->tokens * m.objects, sizeof(float));
    }
    for (uint32_t t = 0; t < k->tokens; t++) {
        uint64_t at = (uint64_t)t * each;
        made_token(&m, false, r.object + at);
        for (uint32_t i = 0; i < each; i++) {
            r.token[at + i] = t;
            if (r.turn)
                r.turn[at + i] = (uint16_t)m.chat[0].turn;
        }
        if (foretell)
            made_foretell(&m, r.soon + (size_t)t * m.objects, r.later + (size_t)t * m.objects);
    }
    made_end(&m);
    return r;
}

static inline void made_routes_free(made_routes *r)
{
    free(r->object);
    free(r->token);
    free(r->turn);
    free(r->soon);
    free(r->later);
}

/* Shapes of models that are in use, and what makes one cache better than another. The first ones were looked at when
 * policies were made, the others only to judge them. */
static const made_kind made_kinds[] = {
#define DS64 .layers = 10, .experts = 64, .top_k = 6
#define V3   .layers = 10, .experts = 256, .top_k = 8, .balanced = true
    {"deepseek-v2-lite", 2500, DS64, .popular = .05f, .topic = .8f, .word = .3f, .wander = {1.2f, .5f},
     .wander_tokens = {.9f, 4}, .noise = 1, .topics = 300, .turn_tokens = 110, .words = 400, .prompts = true},
    {"olmoe, state", 1500, .layers = 12, .experts = 64, .top_k = 8, .popular = .5f, .topic = 1, .word = 1,
     .wander = {.7f, 0}, .wander_tokens = {8, 0}, .noise = .7f, .topics = 50, .turn_tokens = 200, .words = 1500,
     .state = 48},
    {"mixtral", 1500, .layers = 32, .experts = 8, .top_k = 2, .popular = .15f, .topic = .3f, .word = .3f,
     .wander = {.6f, 0}, .wander_tokens = {1, 0}, .noise = 1, .topics = 30, .turn_tokens = 200, .words = 300},
    {"gpt-oss-120b", 1000, .layers = 16, .experts = 128, .top_k = 4, .popular = .5f, .topic = .7f, .word = .6f,
     .wander = {.8f, .5f}, .wander_tokens = {1, 10}, .noise = 1, .topics = 10, .turn_tokens = 250, .words = 300},
    {"qwen3-235b, state", 900, .layers = 12, .experts = 128, .top_k = 8, .popular = .7f, .topic = 1, .word = 1,
     .wander = {.8f, 0}, .wander_tokens = {10, 0}, .noise = .8f, .topics = 20, .turn_tokens = 200, .words = 1500,
     .state = 48, .prompts = true},
    {"deepseek-v3", 900, V3, .popular = .2f, .topic = .8f, .word = .4f, .wander = {1, .8f}, .wander_tokens = {1.5f, 12},
     .noise = 1, .topics = 12, .turn_tokens = 300, .words = 300, .groups = 8, .top_groups = 4},
    {"popularity alone", 1200, DS64, .popular = 1, .noise = 1.3f, .zipf = true},
    {"bursts", 1200, .layers = 10, .experts = 128, .top_k = 8, .popular = .1f, .wander = {1.8f, 0},
     .wander_tokens = {4, 0}, .noise = 1},
    {"uses that last", 1200, .layers = 10, .experts = 128, .top_k = 6, .popular = .4f, .stay = 1.6f, .noise = 1},
    {"drift", 2000, .layers = 10, .experts = 128, .top_k = 8, .popular = .3f, .wander = {1.2f, .6f},
     .wander_tokens = {150, 2}, .word = .3f, .words = 300, .noise = 1},
    {"four chats", 1600, .layers = 10, .experts = 128, .top_k = 6, .popular = .4f, .topic = .9f, .word = .5f,
     .wander = {.8f, .6f}, .wander_tokens = {1.5f, 10}, .noise = 1, .topics = 20, .turn_tokens = 150, .words = 300,
     .chats = 4},
    {"topics that return", 2000, DS64, .popular = .2f, .topic = 1.5f, .word = .3f, .wander = {.6f, 0},
     .wander_tokens = {1.5f, 0}, .noise = 1, .topics = 5, .turn_tokens = 100, .words = 200},

    {"deepseek-v2-lite, state", 2500, DS64, .popular = .2f, .topic = .9f, .word = .8f, .wander = {.5f, 0},
     .wander_tokens = {3, 0}, .noise = .9f, .topics = 300, .turn_tokens = 80, .words = 1500, .state = 40,
     .prompts = true},
    {"olmoe", 1500, .layers = 12, .experts = 64, .top_k = 8, .popular = .4f, .topic = 1, .word = .8f,
     .wander = {.8f, .5f}, .wander_tokens = {1.5f, 20}, .noise = 1, .topics = 20, .turn_tokens = 150, .words = 300},
    {"mixtral, state", 1500, .layers = 32, .experts = 8, .top_k = 2, .popular = .2f, .topic = .6f, .word = 1,
     .wander = {.6f, 0}, .wander_tokens = {3, 0}, .noise = .6f, .topics = 50, .turn_tokens = 150, .words = 1500,
     .state = 32, .balanced = true},
    {"gpt-oss-20b, state", 1500, .layers = 16, .experts = 32, .top_k = 4, .popular = .5f, .topic = 1, .word = 1,
     .wander = {.7f, 0}, .wander_tokens = {8, 0}, .noise = .7f, .topics = 50, .turn_tokens = 200, .words = 1500,
     .state = 48, .prompts = true},
    {"gpt-oss-120b, state", 1000, .layers = 16, .experts = 128, .top_k = 4, .popular = .6f, .topic = 1, .word = 1,
     .wander = {.7f, 0}, .wander_tokens = {8, 0}, .noise = .8f, .topics = 50, .turn_tokens = 200, .words = 1500,
     .state = 48},
    {"qwen3-235b, words", 900, .layers = 12, .experts = 128, .top_k = 8, .popular = .6f, .topic = .5f, .word = 1.2f,
     .wander = {.6f, .6f}, .wander_tokens = {1.5f, 10}, .noise = .8f, .topics = 8, .turn_tokens = 200, .words = 400},
    {"deepseek-v3, state", 900, V3, .popular = .2f, .topic = 1, .word = 1, .wander = {.7f, 0}, .wander_tokens = {8, 0},
     .noise = .7f, .topics = 40, .turn_tokens = 150, .words = 1500, .state = 48, .groups = 8, .top_groups = 4,
     .prompts = true},
    {"kimi-k2, state", 700, .layers = 10, .experts = 384, .top_k = 8, .popular = .3f, .topic = 1, .word = 1,
     .wander = {.7f, 0}, .wander_tokens = {8, 0}, .noise = .7f, .topics = 40, .turn_tokens = 150, .words = 1500,
     .state = 48, .balanced = true},
    {"glm-4.5", 900, .layers = 12, .experts = 160, .top_k = 8, .popular = .4f, .topic = .8f, .word = .5f,
     .wander = {1, 1}, .wander_tokens = {2, 8}, .noise = 1, .topics = 10, .turn_tokens = 250, .words = 300},
    {"phi-3.5", 1500, .layers = 24, .experts = 16, .top_k = 2, .popular = .3f, .topic = .5f, .word = .5f,
     .wander = {.6f, .4f}, .wander_tokens = {1.5f, 10}, .noise = 1, .topics = 30, .turn_tokens = 150, .words = 300},
    {"llama-4", 1500, .layers = 16, .experts = 128, .top_k = 1, .popular = .5f, .topic = .8f, .word = 1.2f,
     .wander = {.8f, 0}, .wander_tokens = {2, 0}, .noise = 1, .topics = 12, .turn_tokens = 200, .words = 300},
    {"popular and lasting", 900, V3, .popular = .5f, .stay = 1.2f, .noise = 1},
    {"short turns that return", 1500, .layers = 10, .experts = 128, .top_k = 6, .popular = .2f, .topic = 1.3f,
     .word = .3f, .wander = {.6f, 0}, .wander_tokens = {1.5f, 0}, .noise = 1, .topics = 12, .turn_tokens = 25,
     .words = 200},
    {"four chats, state", 1200, V3, .popular = .15f, .topic = 1, .word = 1, .wander = {.7f, 0}, .wander_tokens = {8, 0},
     .noise = .7f, .topics = 40, .turn_tokens = 150, .words = 1500, .state = 48, .chats = 4},
    {"short bursts", 1200, DS64, .popular = .1f, .wander = {1.8f, 0}, .wander_tokens = {1.2f, 0}, .noise = 1},
    {"balanced drift", 1500, .layers = 10, .experts = 64, .top_k = 8, .popular = .3f, .wander = {1, .8f},
     .wander_tokens = {60, 3}, .noise = 1, .balanced = true},
#undef DS64
#undef V3
};

enum { MADE_KINDS = sizeof made_kinds / sizeof *made_kinds, MADE_HELD_OUT = 12 /* from there on */ };

#endif

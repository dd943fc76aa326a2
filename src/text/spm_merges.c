/*
 * spm_merges.c - merges out of scores. SentencePiece merges the neighbours whose joint token has the highest score, of
 * equal ones the leftmost; that is merging by rank (bpe.c), with one rank for each score.
 */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "text/spm.h"
#include "text/utf8.h"

typedef struct scored {
    float score;
    uint32_t id;
} scored;

static int by_score(const void *pa, const void *pb)
{
    const scored *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* ranks[id]: how many scores are higher. */
static int rank_scores(const float *scores, uint32_t n, uint32_t **ret_ranks, const char *where, hs_err *err)
{
    scored *list = hs_calloc(n + 1ull, sizeof *list);
    uint32_t *ranks = hs_calloc(n + 1ull, sizeof *ranks);
    int r = list && ranks ? 0 : hs_err_set(err, -ENOMEM, "%s: out of memory", where);
    for (uint32_t i = 0; i < n && r == 0; i++) {
        list[i] = (scored){scores[i], i};
        if (isnan(scores[i]))
            r = hs_err_set(err, -EINVAL, "%s: tokenizer.ggml.scores: that of token %u is not a number", where, i);
    }
    if (r == 0) {
        qsort(list, n, sizeof *list, by_score);
        for (uint32_t i = 1; i < n; i++)
            ranks[list[i].id] = ranks[list[i - 1].id] + (list[i].score != list[i - 1].score);
    }
    hs_free(list);
    if (r < 0) {
        hs_free(ranks);
        return r;
    }
    *ret_ranks = ranks;
    return 0;
}

/* Counts the merges that make token id; puts them into v if ranks is not NULL. */
static size_t split_token(hs__vocab *v, uint32_t id, const uint32_t *ranks)
{
    const hs__token *t = &v->tokens[id];
    const char *p = v->bytes + t->offset;
    size_t n = 0;
    if (t->kind != HS__PLAIN || t->len < 2 || !hs__utf8_is_valid(p, t->len) ||
        hs__vocab_find(v, p, t->len, HS__PLAIN) != id)
        return 0;
    for (size_t cut = hs__utf8_len(p); cut < t->len; cut += hs__utf8_len(p + cut)) {
        uint32_t left = hs__vocab_find(v, p, cut, HS__PLAIN);
        uint32_t right = left == HS_NO_TOKEN ? left : hs__vocab_find(v, p + cut, t->len - cut, HS__PLAIN);
        if (right == HS_NO_TOKEN)
            continue;
        n++;
        if (ranks)
            hs__vocab_add_merge(v, left, right, ranks[id], id);
    }
    return n;
}

int hs__spm_merges(hs__vocab *v, const float *scores, const char *where, hs_err *err)
{
    uint32_t *ranks = NULL;
    size_t n = 0;
    int r = rank_scores(scores, v->n_tokens, &ranks, where, err);
    for (uint32_t i = 0; i < v->n_tokens && r == 0; i++) {
        if (v->tokens[i].kind == HS__PLAIN && v->tokens[i].len > HS__MAX_SCORED_LEN)
            r = hs_err_set(err, -E2BIG, "%s: token %u has %u bytes; at most %d are possible", where, i,
                           (unsigned)v->tokens[i].len, HS__MAX_SCORED_LEN);
        else
            n += split_token(v, i, NULL);
    }
    if (r == 0) {
        r = hs__vocab_init_merges(v, n, err);
        if (r < 0)
            hs_err_prefix(err, "%s", where);
    }
    for (uint32_t i = 0; i < v->n_tokens && r == 0; i++)
        (void)split_token(v, i, ranks);
    hs_free(ranks);
    return r;
}

/*
 * rival.h - what LRU would hold and hit in as many slots, and whether it does better; inside cache/.
 *
 * Its lists cost a few steps per use. As soon as LRU has hit more than the policy beside it, by about the uses of a
 * token, it leads for a while: residents that it would not hold go first, and all that is used is admitted, so that the
 * cache becomes LRU's. Then the policy has another try; each that fails makes the next while twice as long. What the
 * policy was ahead counts for it, up to some tokens.
 */
#ifndef HS_CACHE_RIVAL_H
#define HS_CACHE_RIVAL_H

#include "cache/list.h"

typedef struct hs__rival {
    hs__layer_classes classes;
    uint32_t n_objects;
    uint32_t n_held[HS_CLASSES_MAX], n_resident[HS_CLASSES_MAX];
    bool full[HS_CLASSES_MAX]; /* a victim has been asked for: LRU holds as many as are resident */
    uint8_t *is;               /* [n_objects] held by LRU, resident */
    hs__lists lists;           /* of each class: what LRU holds; the residents that it does not hold */
    uint64_t now;
    uint32_t uses, token_uses; /* of the token under way; of the one before */
    int64_t behind;            /* uses that LRU hit and the policy did not, less the others */
    bool leads;
    uint64_t since, until, period; /* tokens: when the policy's try began, when LRU's while ends, how long it is */
} hs__rival;

size_t hs__rival_bytes(const hs_policy_shape *s);
void hs__rival_init(hs__rival *r, void *mem, const hs_policy_shape *s);
/* The object, resident or not, is used. */
void hs__rival_use(hs__rival *r, uint32_t object, uint64_t now);
void hs__rival_insert(hs__rival *r, uint32_t object);
void hs__rival_evict(hs__rival *r, uint32_t object);
/* The resident that leaves first while LRU leads; HS_POLICY_NONE: the policy is to choose. */
uint32_t hs__rival_victim(hs__rival *r, uint32_t class, hs_policy_keep_fn keep, void *ctx);

#endif

/*
 * classes.h - objects of several sizes: which layers share slots of one size, and how many slots of each there are.
 *
 * A recipe that gives some layers more bits makes their experts bigger; slots that hold the biggest would waste the
 * rest. A layer belongs to the class of its biggest object; layers of nearly one size share a class, because a cache
 * that is cut in two hits a little less. How many slots each class has follows from how many there are in all, so that
 * plan, governor, residency and replay cannot disagree, and fewer in all are never more for one class.
 */
#ifndef HS_CACHE_CLASSES_H
#define HS_CACHE_CLASSES_H

#include <stdint.h>

#define HS_CLASSES_MAX 8u

typedef struct hs_class {
    uint64_t size;    /* of its biggest object */
    uint64_t bytes;   /* of a slot: as much, unless the caller knows better */
    uint32_t objects; /* of all its layers */
    uint32_t floor;   /* least slots with which each of its layers can be served */
} hs_class;

typedef struct hs_classes {
    uint32_t n;
    hs_class of[HS_CLASSES_MAX]; /* biggest first */
} hs_classes;

/* layer_size[n_layers >= 1]: the biggest object of each layer, in bytes; NULL: all are alike. least: slots that a layer
 * needs; more than its layer_objects count as these. */
void hs_classes_make(hs_classes *ret, const uint64_t *layer_size, uint32_t n_layers, uint32_t layer_objects,
                     uint32_t least);
/* The class of a layer whose biggest object has that size, one of those that were given to make. */
uint32_t hs_classes_find(const hs_classes *c, uint64_t size);
/* Least slots in all with which every class has its floor; and so many as there are objects. */
uint32_t hs_classes_floor(const hs_classes *c);
uint32_t hs_classes_objects(const hs_classes *c);
/* n slots in all, at most one for each object: first the floors, then in proportion to what is left of the objects.
 * Under the floor, in proportion to the floors. No class has more with a smaller n. */
void hs_classes_split(const hs_classes *c, uint32_t n, uint32_t ret_slots[HS_CLASSES_MAX]);
/* What n slots in all take; and the most slots, at most one for each object, that take no more than `bytes`. */
uint64_t hs_classes_bytes(const hs_classes *c, uint32_t n);
uint32_t hs_classes_fit(const hs_classes *c, uint64_t bytes);

#endif

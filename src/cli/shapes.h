/* shapes.h - published models by name: what `plan` needs to know of a model that is not here yet. */
#ifndef HS_CLI_SHAPES_H
#define HS_CLI_SHAPES_H

#include "base/err.h"
#include "base/json.h"

typedef struct hs_known_model {
    const char *name;
    const char *published; /* how its publisher stores it, for people */
    const char *config;    /* what matters of its config.json; text */
} hs_known_model;

/* All of them; a NULL name ends the list. */
extern const hs_known_model hs_known_models[];

/* By name, upper and lower case alike; NULL = unknown. */
const hs_known_model *hs_known_model_find(const char *name);
/* The name that is nearest to a misspelt one, or NULL. */
const char *hs_known_model_near(const char *name);

#endif

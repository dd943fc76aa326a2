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

/* Models that somebody may ask for, and what they need that is not here. A NULL name ends the list. */
typedef struct hs_unserved_model {
    const char *name, *needs;
} hs_unserved_model;
extern const hs_unserved_model hs_unserved_models[];
/* NULL: it is not among them. */
const char *hs_unserved_model_why(const char *name);

/* By name, upper and lower case alike; NULL = unknown. */
const hs_known_model *hs_known_model_find(const char *name);
/* ORGANISATION/NAME, as the hub has it, without the organisation; any other name as it is. */
const char *hs_model_plain_name(const char *name);
/* For who needs files: an error if nothing is at path, but it is the name of a published model: it tells that, and
 * asks for what is `needed`. Otherwise 0, also if nothing is there: who opens it says so. */
#define HS_NEEDED_MODEL "its folder or .gguf file, once it is here"
int hs_files_check(const char *path, const char *needed, hs_err *err) HS_MUST_CHECK;
#define HS_MODELS_NEAR_MAX 6
/* Names of either list that somebody may have meant: the one that is spelt nearest, then those that contain the name,
 * or are part of it, but for punctuation. Returns how many. */
size_t hs_known_models_near(const char *name, const char *ret[HS_MODELS_NEAR_MAX]);

#endif

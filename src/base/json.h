/*
 * json.h - glue over jansson: bounded loading, and getters whose errors name the file and the field.
 * `where` is the name for error sentences, e.g. the file's path.
 */
#ifndef HS_BASE_JSON_H
#define HS_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* A text whose values would take more than that is refused (-E2BIG): a few MiB of "{},{},…" would take gigabytes. */
#define HS_JSON_MAX_MEMORY (256u << 20)

/* Loads a file of at most max bytes; duplicate keys are refused. *ret is a new reference (json_decref). */
int hs_json_load_file(const char *path, size_t max, json_t **ret, hs_err *err) HS_MUST_CHECK;
/* The same from memory. */
int hs_json_load(const char *text, size_t len, const char *where, json_t **ret, hs_err *err) HS_MUST_CHECK;

/* Required integer field in [min, max]. */
int hs_json_int(const json_t *obj, const char *where, const char *key, int64_t min, int64_t max, int64_t *ret,
                hs_err *err) HS_MUST_CHECK;
/* Optional: absent or null gives def. A wrong type or range is an error all the same. */
int hs_json_int_or(const json_t *obj, const char *where, const char *key, int64_t min, int64_t max, int64_t def,
                   int64_t *ret, hs_err *err) HS_MUST_CHECK;
/* Optional finite number. */
int hs_json_num_or(const json_t *obj, const char *where, const char *key, double def, double *ret,
                   hs_err *err) HS_MUST_CHECK;
int hs_json_bool_or(const json_t *obj, const char *where, const char *key, bool def, bool *ret,
                    hs_err *err) HS_MUST_CHECK;
/* Optional string; borrowed from obj. */
int hs_json_str_or(const json_t *obj, const char *where, const char *key, const char *def, const char **ret,
                   hs_err *err) HS_MUST_CHECK;

/* Appends n bytes of valid UTF-8 as the inside of a JSON string. */
int hs_json_escape(hs_buf *b, const char *text, size_t n);
/* The same with the quotes. */
int hs_json_string(hs_buf *b, const char *text, size_t n);

#endif

/* ids.h - token ids as text: whitespace-separated decimal numbers. */
#ifndef HS_CLI_IDS_H
#define HS_CLI_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HS_IDS_MAX_BYTES (64u << 20)

/* where: name of the text for error sentences, which name the line. *ret_ids is the caller's (hs_free). */
int hs_ids_parse(const char *text, size_t len, const char *where, uint32_t **ret_ids, size_t *ret_n,
                 hs_err *err) HS_MUST_CHECK;
int hs_ids_read(const char *path, uint32_t **ret_ids, size_t *ret_n, hs_err *err) HS_MUST_CHECK;

#endif

/* text.h - a model's tokenizer and chat template by its path: a folder that may hold only tokenizer files, a packed
 * folder, a GGUF file. */
#ifndef HS_CLI_TEXT_H
#define HS_CLI_TEXT_H

#include "base/err.h"
#include "text/template.h"
#include "text/tokenizer.h"

int hs_load_tokenizer(const char *path, hs_tokenizer **ret_tokenizer, hs_err *err) HS_MUST_CHECK;
/* file: take the template's text from there, or NULL. -ENOENT if there is no template. */
int hs_load_template(const char *path, const char *file, hs_template **ret_template, hs_err *err) HS_MUST_CHECK;

#endif

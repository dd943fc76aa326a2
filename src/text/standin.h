/* standin.h - makes the installed PCRE2 see the Unicode that the reference tokenizers see. Stateless; any thread. */
#ifndef HS_TEXT_STANDIN_H
#define HS_TEXT_STANDIN_H

#include <stdbool.h>
#include <stddef.h>

/* Does text (valid UTF-8) hold a character that PCRE2 and the reference put into different categories? */
bool hs__standin_needed(const char *text, size_t len);
/* Replaces each such character by one of the same length and of the right category, in place. */
void hs__standin_apply(char *text, size_t len);

#endif

/* ids.c - see ids.h. Pure but for reading the file. */
#include "cli/ids.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "cli/out.h"

int hs_ids_parse(const char *text, size_t len, const char *where, uint32_t **ret_ids, size_t *ret_n, hs_err *err)
{
    size_t words = 0;
    for (size_t i = 0; i < len; i++)
        words += !isspace((unsigned char)text[i]) && (i == 0 || isspace((unsigned char)text[i - 1]));
    uint32_t *ids = hs_calloc(words ? words : 1, sizeof *ids);
    if (!ids)
        return hs_err_set(err, -ENOMEM, "%s: out of memory for %zu ids", where, words);
    size_t n = 0, line = 1;
    for (size_t i = 0; i < len;) {
        if (isspace((unsigned char)text[i])) {
            line += text[i++] == '\n';
            continue;
        }
        size_t begin = i;
        uint64_t v = 0;
        while (i < len && isdigit((unsigned char)text[i]) && v < UINT32_MAX)
            v = v * 10 + (uint64_t)(text[i++] - '0');
        if (i == begin || (i < len && !isspace((unsigned char)text[i])) || v >= UINT32_MAX) {
            size_t end = begin;
            while (end < len && end - begin < 20 && !isspace((unsigned char)text[end]))
                end++;
            hs_free(ids);
            return hs_err_set(err, -EINVAL, "%s: line %zu: '%.*s' is not a token id", where, line, (int)(end - begin),
                              text + begin);
        }
        ids[n++] = (uint32_t)v;
    }
    *ret_ids = ids;
    *ret_n = n;
    return 0;
}

int hs_ids_read(const char *path, uint32_t **ret_ids, size_t *ret_n, hs_err *err)
{
    char *text;
    size_t len;
    int r = hs_read_input(path, HS_IDS_MAX_BYTES, &text, &len, err);
    if (r < 0)
        return r;
    r = hs_ids_parse(text, len, path, ret_ids, ret_n, err);
    hs_free(text);
    return r;
}

/* err.c - error sentences. Owns nothing; every hs_err is the caller's. Thread-safe. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

void hs_make_printable(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) /* U+0080 to U+009F are controls too */
            *p++ = '?';
        else if (*p >= 0x20 && *p != 0x7f)
            continue;
        *p = '?';
    }
}

int hs_err_set(hs_err *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
        hs_make_printable(err->text);
        err->code = code;
    }
    return code;
}

int hs_err_prefix(hs_err *err, const char *fmt, ...)
{
    if (!err)
        return -EIO;
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    hs_make_printable(err->text);
    if (n >= 0 && (size_t)n + 2 < sizeof err->text) {
        size_t room = sizeof err->text - 1 - ((size_t)n + 2), len = strnlen(old, sizeof old);
        len = len < room ? len : room;
        memcpy(err->text + n, ": ", 2);
        memcpy(err->text + n + 2, old, len);
        err->text[(size_t)n + 2 + len] = '\0';
    }
    return err->code ? err->code : -EIO;
}

const char *hs_strerror(int code)
{
    const char *s = strerrordesc_np(code < 0 ? -code : code);
    return s ? s : "unknown error";
}

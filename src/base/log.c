/* log.c - one line, one write(2), so that lines of several threads do not mix. Level and format are set once by main.
 */
#include "base/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level = HS_LOG_INFO;
static _Atomic int log_format = HS_LOG_TEXT;

static const char *const level_name[] = {"error", "warning", "info", "debug"};
static const int syslog_priority[] = {3, 4, 6, 7};

void hs_log_setup(hs_log_level level, hs_log_format format)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_format, (int)format);
}

/* Bytes of the UTF-8 character at p; 0 if it is none. */
static size_t utf8_length(const unsigned char *p)
{
    size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
               (*p == 0xf4 && p[1] > 0x8f);
    return bad ? 0 : n;
}

/* msg as the inside of a JSON string; cuts at the end of out. */
static void json_escape(const char *msg, char *out, size_t cap)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)msg; *p && n + 7 < cap;) {
        size_t k = utf8_length(p);
        if (*p == '"' || *p == '\\')
            n += (size_t)snprintf(out + n, cap - n, "\\%c", *p);
        else if (*p < 0x20 || !k)
            n += (size_t)snprintf(out + n, cap - n, "\\u%04x", k ? *p : 0xfffdu);
        else {
            memcpy(out + n, p, k);
            n += k;
        }
        p += k ? k : 1;
    }
    out[n] = '\0';
}

/* What came from outside shall not begin a line of its own. */
static void flatten(char *msg)
{
    for (; *msg; msg++)
        if ((unsigned char)*msg < 0x20 && *msg != '\t')
            *msg = ' ';
}

void hs_log(hs_log_level level, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    char msg[1024], escaped[2048], line[2304];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    int n, format = atomic_load_explicit(&log_format, memory_order_relaxed);
    if (format != HS_LOG_JSON)
        flatten(msg);
    switch (format) {
    case HS_LOG_SYSTEMD:
        n = snprintf(line, sizeof line, "<%d>%s\n", syslog_priority[level], msg);
        break;
    case HS_LOG_JSON:
        json_escape(msg, escaped, sizeof escaped);
        n = snprintf(line, sizeof line, "{\"ts\":%lld,\"level\":\"%s\",\"msg\":\"%s\"}\n", (long long)time(NULL),
                     level_name[level], escaped);
        break;
    default:
        n = level == HS_LOG_INFO ? snprintf(line, sizeof line, "hotset: %s\n", msg)
                                 : snprintf(line, sizeof line, "hotset: %s: %s\n", level_name[level], msg);
    }
    if (n > 0 && write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
        return; /* nowhere left to say it */
}

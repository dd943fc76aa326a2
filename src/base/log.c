/* log.c - one line, one write(2), so that lines of several threads do not mix. Level and format are set once by main.
 */
#include "base/log.h"

#include <stdatomic.h>
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

/* msg as the inside of a JSON string; cuts at the end of out. */
static void json_escape(const char *msg, char *out, size_t cap)
{
    size_t n = 0;
    for (; *msg && n + 7 < cap; msg++) {
        unsigned char c = (unsigned char)*msg;
        if (c == '"' || c == '\\')
            n += (size_t)snprintf(out + n, cap - n, "\\%c", c);
        else if (c < 0x20)
            n += (size_t)snprintf(out + n, cap - n, "\\u%04x", c);
        else
            out[n++] = (char)c;
    }
    out[n] = '\0';
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
    int n;
    switch (atomic_load_explicit(&log_format, memory_order_relaxed)) {
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

/*
 * log.h - the daemon's log. Library rooms log at debug only; everything a person must know travels as an error or an
 * event, but for damage that another copy has made good, which is nobody's error. Thread-safe: one line, one write(2).
 * Goes to stderr.
 */
#ifndef HS_BASE_LOG_H
#define HS_BASE_LOG_H

#include "base/err.h"

typedef enum hs_log_level { HS_LOG_ERROR, HS_LOG_WARN, HS_LOG_INFO, HS_LOG_DEBUG } hs_log_level;
typedef enum hs_log_format {
    HS_LOG_TEXT,    /* "hotset: warning: sentence" */
    HS_LOG_SYSTEMD, /* "<4>sentence": journald reads the priority */
    HS_LOG_JSON     /* {"ts":…,"level":"warning","msg":"…"} */
} hs_log_format;

void hs_log_setup(hs_log_level level, hs_log_format format);
void hs_log(hs_log_level level, const char *fmt, ...) HS_PRINTF(2, 3);

#define hs_error(...) hs_log(HS_LOG_ERROR, __VA_ARGS__)
#define hs_warn(...)  hs_log(HS_LOG_WARN, __VA_ARGS__)
#define hs_info(...)  hs_log(HS_LOG_INFO, __VA_ARGS__)
#define hs_debug(...) hs_log(HS_LOG_DEBUG, __VA_ARGS__)

#endif

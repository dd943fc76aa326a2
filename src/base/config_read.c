/*
 * config_read.c - configuration files: their lines, by inih, and hotset.conf.d/.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/config.h"
#include "base/config_int.h"
#include "base/file.h"
#include "base/mem.h"

#define MAX_FILE_BYTES (1 << 20)
#define MAX_FILES      256
#define MAX_LINE       4096
#define MAX_SECTION    49 /* inih keeps no more of it */

#define STRING_OF(x)  STRING_OF_(x)
#define STRING_OF_(x) #x

/*
 * inih's reader. It counts lines (Debian's inih does not pass their numbers to the handler), and keeps from inih what
 * it would get wrong: indented keys (continuations of the value before, to it), comments and values longer than its 200
 * bytes, and names of sections that it would cut.
 */
typedef struct reader {
    hs_config *c;
    const char *path;
    const char *at, *end;
    int line;
    const char *value, *value_end; /* of a line too long for inih, else NULL */
    hs_err *err;
    int result, result_line; /* the first refusal */
} reader;

static char *refuse(reader *rd, const char *what)
{
    rd->result = hs_err_set(rd->err, -EINVAL, "%s:%d: %s", rd->path, rd->line, what);
    rd->result_line = rd->line;
    return NULL;
}

/* The next line, blanks at its start left out, with its newline. */
static const char *next_line(reader *rd, size_t *ret_n)
{
    const char *nl = memchr(rd->at, '\n', (size_t)(rd->end - rd->at)), *p = rd->at;
    const char *end = nl ? nl + 1 : rd->end;
    rd->at = end;
    rd->line++;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    *ret_n = (size_t)(end - p);
    return p;
}

static char *read_line(char *buf, int cap, void *stream)
{
    reader *rd = stream;
    size_t n;
    if (rd->at == rd->end || rd->result < 0)
        return NULL;
    const char *p = next_line(rd, &n);
    rd->value = NULL;
    if (memchr(p, '\0', n))
        return refuse(rd, "the line contains a zero byte");
    if (n && (*p == '#' || *p == ';'))
        n = 0;
    const char *close = n && *p == '[' ? memchr(p, ']', n) : NULL;
    if (close && close - p - 1 > MAX_SECTION)
        return refuse(rd, "the section's name is longer than " STRING_OF(MAX_SECTION) " characters");
    if (n + 2 > (size_t)cap) {
        const char *eq = memchr(p, '=', n);
        if (!eq || eq - p + 3 > cap || n > MAX_LINE)
            return refuse(rd, "the line is too long");
        rd->value = eq + 1;
        rd->value_end = p + n;
        n = (size_t)(rd->value - p);
    }
    memcpy(buf, p, n);
    if (!n || buf[n - 1] != '\n')
        buf[n++] = '\n';
    buf[n] = '\0';
    return buf;
}

/* The value of a long line as inih would give it: without blanks around it and without a comment after " ;". */
static void long_value(const reader *rd, char ret[MAX_LINE + 1])
{
    const char *p = rd->value, *end = rd->value_end;
    while (p < end && isspace((unsigned char)*p))
        p++;
    for (const char *c = p; c < end; c++)
        if (*c == ';' && isspace((unsigned char)c[-1]))
            end = c;
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    memcpy(ret, p, (size_t)(end - p));
    ret[end - p] = '\0';
}

static int handle(void *user, const char *section, const char *name, const char *value)
{
    reader *rd = user;
    if (rd->result < 0 || !name)
        return 1;
    char origin[300], whole[MAX_LINE + 1];
    snprintf(origin, sizeof origin, "%s:%d", rd->path, rd->line);
    if (rd->value) {
        long_value(rd, whole);
        value = whole;
    }
    hs_err e = {0};
    int r = hs__config_put(rd->c, section, name, value ? value : "", origin, &e);
    if (r < 0) {
        rd->result = hs_err_set(rd->err, r, "%s: %s", origin, e.text);
        rd->result_line = rd->line;
    }
    return 1;
}

int hs_config_load_file(hs_config *c, const char *path, hs_err *err)
{
    char *text;
    size_t len;

    int r = hs_file_read(path, MAX_FILE_BYTES, &text, &len, err);
    if (r < 0)
        return r;
    reader rd = {.c = c, .path = path, .at = text, .end = text + len, .err = err};
    int line = ini_parse_stream(read_line, &rd, handle, &rd);
    r = rd.result;
    if (line > 0 && (r == 0 || line < rd.result_line))
        r = hs_err_set(err, -EINVAL, "%s:%d: neither [section], key = value nor a # comment", path, line);
    else if (r == 0 && line < 0)
        r = hs_err_set(err, -ENOMEM, "%s: out of memory", path);
    hs_free(text);
    return r;
}

static int is_conf(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 5 && !strcmp(d->d_name + n - 5, ".conf");
}

/* Not alphasort, whose order depends on the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int hs_config_load(hs_config *c, const char *path, bool missing_ok, hs_err *err)
{
    struct stat st;
    bool missing = stat(path, &st) < 0 && errno == ENOENT;
    int r = missing && missing_ok ? 0 : hs_config_load_file(c, path, err);
    if (r < 0)
        return r;
    char *dir = hs_asprintf("%s.d", path);
    if (!dir)
        return hs_err_set(err, -ENOMEM, "config: out of memory");
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_conf, by_bytes);
    if (n < 0 && errno != ENOENT)
        r = hs_err_set(err, -errno, "%s: %s", dir, hs_strerror(errno));
    for (int i = 0; i < n; i++) {
        char *file = i < MAX_FILES && r == 0 ? hs_asprintf("%s/%s", dir, names[i]->d_name) : NULL;
        if (file)
            r = hs_config_load_file(c, file, err);
        else if (r == 0)
            r = hs_err_set(err, -E2BIG, "%s: more than %d files", dir, MAX_FILES);
        hs_free(file);
        free(names[i]);
    }
    free(names);
    hs_free(dir);
    return r;
}

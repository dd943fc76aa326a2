/* state_dir.c - see state_dir.h. No state of its own. */
#include "base/state_dir.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

/* The value of a variable, NULL if it is unset or no absolute path. */
static const char *absolute(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++)
        if (!strncmp(*env, name, n) && (*env)[n] == '=')
            return (*env)[n + 1] == '/' ? *env + n + 1 : NULL;
    return NULL;
}

char *hs_state_dir(char *const *env)
{
    const char *dir = absolute(env, "STATE_DIRECTORY");
    if (dir)
        return hs_strndup(dir, strcspn(dir, ":"));
    dir = absolute(env, "XDG_STATE_HOME");
    if (dir)
        return hs_asprintf("%s/hotset", dir);
    dir = absolute(env, "HOME");
    return dir ? hs_asprintf("%s/.local/state/hotset", dir) : NULL;
}

static int make_dirs(const char *dir, hs_err *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return hs_err_set(err, -ENAMETOOLONG, "%s: path is too long", dir);
    for (char *slash = path; *slash && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(errno));
    return 0;
}

int hs_state_write(const char *dir, const char *name, const void *data, size_t len, hs_err *err)
{
    int r = make_dirs(dir, err);
    if (r < 0)
        return r;
    char *path = hs_asprintf("%s/%s", dir, name);
    if (!path)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", dir);
    r = hs_file_write_atomic(path, data, len, err);
    hs_free(path);
    return r;
}

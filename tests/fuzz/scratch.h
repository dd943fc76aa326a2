/*
 * scratch.h - a folder in memory for targets whose code opens folders. One per process, removed at exit. A crash leaves
 * it behind: such folders of processes that are gone are removed at the next start.
 */
#ifndef HS_TESTS_FUZZ_SCRATCH_H
#define HS_TESTS_FUZZ_SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define SCRATCH_PREFIX "hotset-fuzz-"

static char scratch_path[64];

static inline const char *scratch_file(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", scratch_path, name);
    return path;
}

/* Removes what is in folder `path`, at most two levels of it, and the folder itself. */
static inline void scratch_remove(const char *path)
{
    char name[1024];
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(name, sizeof name, "%.511s/%.255s", path, e->d_name);
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (e->d_type == DT_DIR)
            scratch_remove(name);
        else
            unlink(name);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static inline void scratch_end(void)
{
    scratch_remove(scratch_path);
}

static inline void scratch_sweep(const char *root)
{
    char name[1024];
    DIR *d = opendir(root);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, SCRATCH_PREFIX, strlen(SCRATCH_PREFIX)))
            continue;
        long pid = strtol(e->d_name + strlen(SCRATCH_PREFIX), NULL, 10);
        snprintf(name, sizeof name, "%.511s/%.255s", root, e->d_name);
        if (pid > 1 && kill((pid_t)pid, 0) < 0)
            scratch_remove(name);
    }
    if (d)
        closedir(d);
}

/* Makes the folder at the first call. */
static inline void scratch_begin(void)
{
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    if (*scratch_path)
        return;
    scratch_sweep(root);
    snprintf(scratch_path, sizeof scratch_path, "%s/" SCRATCH_PREFIX "%ld", root, (long)getpid());
    FUZZ_CHECK(mkdir(scratch_path, 0700) == 0);
    atexit(scratch_end);
}

/* A file of `size` bytes that begins with the n given ones; the rest reads as zeros. */
static inline void scratch_write(const char *name, const void *data, size_t n, uint64_t size)
{
    int fd = open(scratch_file(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    FUZZ_CHECK(size == n || ftruncate(fd, (off_t)size) == 0);
    close(fd);
}

#endif

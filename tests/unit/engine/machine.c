/* machine.c - see machine.h. */
#include "machine.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

char machine_root[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

int machine_create(void **state)
{
    (void)state;
    snprintf(machine_root, sizeof machine_root, "/tmp/hotset-memory-XXXXXX");
    return mkdtemp(machine_root) ? 0 : -1;
}

int machine_destroy(void **state)
{
    (void)state;
    return nftw(machine_root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void machine_put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", machine_root, name);
    for (char *p = path + strlen(machine_root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

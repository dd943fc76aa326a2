/*
 * main.c - runs a fuzz target over files, without libFuzzer: each argument is a file, or a folder whose files are taken
 * in name order. Each input lies in a block of exactly its size, so that AddressSanitizer sees the first byte too many.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static int n_files;

static int run_file(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    int bad = !data || fread(data, 1, size, f) != size;
    if (bad) {
        fprintf(stderr, "%s: cannot be read\n", path);
    } else {
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
        n_files++;
    }
    free(data);
    fclose(f);
    return bad;
}

static int not_hidden(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int run_folder(const char *path)
{
    struct dirent **names;
    int bad = 0, n = scandir(path, &names, not_hidden, alphasort);
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        bad |= run_file(file);
        free(names[i]);
    }
    free(names);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool is_folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        bad |= is_folder ? run_folder(argv[i]) : run_file(argv[i]);
    }
    if (!n_files)
        fprintf(stderr, "no file was run\n");
    return bad || !n_files;
}

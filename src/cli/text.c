/* text.c - a model's tokenizer and chat template by its path. A folder's own files count; without them, what the GGUF
 * model says that is there. */
#include "cli/text.h"

#include <sys/stat.h>

#include "base/mem.h"
#include "store/source.h"

static bool is_there(const char *dir, const char *name)
{
    struct stat st;
    char *path = hs_asprintf("%s/%s", dir, name);
    bool there = path && stat(path, &st) == 0;
    hs_free(path);
    return there;
}

/* *ret_source stays NULL if path is a folder whose own files count. */
static int open_gguf(const char *path, hs_source **ret_source, hs_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return hs_err_set(err, -errno, "%s: %s", path, hs_strerror(-errno));
    int r = hs_source_check_files(path, err);
    if (r < 0 || (S_ISDIR(st.st_mode) && (is_there(path, "tokenizer.json") || !is_there(path, "manifest.json"))))
        return r;
    r = hs_source_open(path, ret_source, err);
    if (r == 0 && !hs_source_checkpoint(*ret_source)->vocab)
        hs_source_close(ret_source);
    return r;
}

int hs_load_tokenizer(const char *path, hs_tokenizer **ret_tokenizer, hs_err *err)
{
    hs_source *s = NULL;
    int r = open_gguf(path, &s, err);
    if (r < 0)
        return r;
    r = s ? hs_tokenizer_create_gguf(hs_source_checkpoint(s)->vocab, path, ret_tokenizer, err)
          : hs_tokenizer_load(path, ret_tokenizer, err);
    hs_source_close(&s);
    return r;
}

int hs_load_template(const char *path, const char *file, hs_template **ret_template, hs_err *err)
{
    hs_source *s = NULL;
    int r = open_gguf(path, &s, err);
    if (r < 0)
        return r;
    if (s)
        r = hs_template_create_gguf(hs_source_checkpoint(s)->vocab, path, file, ret_template, err);
    else
        r = file ? hs_template_load_file(path, file, ret_template, err) : hs_template_load(path, ret_template, err);
    hs_source_close(&s);
    return r;
}

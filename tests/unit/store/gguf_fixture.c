/* gguf_fixture.c - see gguf_fixture.h. */
#include "unit/store/gguf_fixture.h"

#include <stdio.h>

char gguf_folder[FOLDER_PATH], gguf_path[FOLDER_PATH + 16];

int gguf_set_up(void **state)
{
    (void)state;
    folder_create(gguf_folder);
    snprintf(gguf_path, sizeof gguf_path, "%s/m.gguf", gguf_folder);
    return 0;
}

int gguf_tear_down(void **state)
{
    (void)state;
    folder_destroy(gguf_folder);
    return 0;
}

hs_source *gguf_accepted(void)
{
    hs_source *s = NULL;
    hs_err err = {0};
    if (hs_source_open(gguf_path, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

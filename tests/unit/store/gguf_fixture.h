/* gguf_fixture.h - the one GGUF file of a test: where it lies, and opening it. One test at a time. */
#ifndef TESTS_STORE_GGUF_FIXTURE_H
#define TESTS_STORE_GGUF_FIXTURE_H

#include "unit/store/folder.h"

#include "store/source.h"

/* A folder for one test's file, gguf_path; and the file opened, or the test failed. */
extern char gguf_folder[FOLDER_PATH], gguf_path[FOLDER_PATH + 16];
int gguf_set_up(void **state);
int gguf_tear_down(void **state);
hs_source *gguf_accepted(void);

#endif

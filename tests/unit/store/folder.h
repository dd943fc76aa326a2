/*
 * folder.h - model folders for store's tests, made in a temporary folder. The packed ones are written by the layout
 * header alone, so that reader and writer are tested against the format and not against each other.
 * Every function fails the running test when the system does not play along.
 */
#ifndef TESTS_STORE_FOLDER_H
#define TESTS_STORE_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hotset/shard_format.h"

#define FOLDER_PATH 64

void folder_create(char path[FOLDER_PATH]);
void folder_destroy(const char *path); /* flat: files, then the folder */
void folder_write(const char *path, const char *name, const void *data, size_t n);
/* The whole file, to be freed with free. */
uint8_t *folder_read(const char *path, const char *name, size_t *ret_n);
int folder_open(const char *path, const char *name, int flags);
/* A safetensors file from its header's text and n bytes of data (NULL: zeros). */
void folder_safetensors(const char *path, const char *name, const char *header, const void *data, size_t n);

/* Opening the folder must fail with a sentence that contains `part`. */
void folder_refused(const char *path, const char *part);
/* Opening path, a folder or file, with each allocation failing in turn: a sentence and no source, until it works. */
void folder_without_memory(const char *path);

#define TINY_MAX_TENSORS 32
#define TINY_DENSE       (-1)

/* A tensor of [rows][cols] elements of `elem` bytes (rows = 0: empty). */
typedef struct tiny_tensor {
    const char *name, *dtype;
    uint32_t rows, cols, elem;
    int container; /* which .safetensors file, 0 or 1 */
    int record;    /* of the experts shard, or TINY_DENSE: a record of its own in the dense shard */
    hs_codec codec;
} tiny_tensor;

typedef struct tiny_model {
    const tiny_tensor *tensors;
    uint32_t n, n_records; /* records of the experts shard */
} tiny_model;

extern const tiny_model tiny_small; /* bytes to a few hundred bytes each */
extern const tiny_model tiny_wide;  /* tensors of several frames */

uint64_t tiny_nbytes(const tiny_tensor *t);
/* The tensor's bytes: the same for the same name; compressible. */
void tiny_bytes(const tiny_tensor *t, uint8_t *out);
const tiny_tensor *tiny_find(const tiny_model *m, const char *name);
/* model-00001/2-of-00002.safetensors with an index, and config.json. */
void tiny_write_plain(const tiny_model *m, const char *path);
/* The same model packed: manifest.json, headers, dense-00000.hss, experts-00000.hss. */
void tiny_write_packed(const tiny_model *m, const char *path);
/* The same with a record more: it begins with byte `at` of that tensor. */
void tiny_write_cut(const tiny_model *m, const char *path, const char *tensor, uint64_t at);
/* manifest.json from the text of a JSON object, its checksum added. */
void tiny_write_manifest(const char *path, const char *text, size_t n);

/* What byte `at` of a shard image belongs to. */
typedef enum tiny_area { TINY_PADDING, TINY_HEADER, TINY_RECORD, TINY_TABLE, TINY_FOOTER } tiny_area;
tiny_area tiny_area_of(const uint8_t *shard, size_t n, size_t at, uint32_t *ret_record);

#endif

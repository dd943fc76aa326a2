/* rooms: store */
/*
 * fuzz_safetensors.c - a folder of safetensors files as a publisher, or anybody else, made it. Input: up to three
 * parts: the header of model.safetensors, model.safetensors.index.json, config.json. The data behind the header is
 * zeros, as many as the header's biggest number under 2^20 says, so that it may fit.
 *
 * An opened folder keeps what source.h and objects.h promise: tensors inside their files, no two over one another,
 * ranges inside their slot.
 */
#include "parts.h"
#include "scratch.h"

#include "three_parts.h"

static void write_folder(const uint8_t *data, size_t size)
{
    static uint8_t file[8 + (1 << 16)];
    const char *text;
    size_t n = take_part(&data, &size, &text);
    n = n < sizeof file - 8 ? n : sizeof file - 8;
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)n >> 8 * i);
    memcpy(file + 8, text, n);
    scratch_write("model.safetensors", file, n + 8, n + 8 + biggest_number(text, n, 1u << 20));
    n = take_part(&data, &size, &text);
    unlink(scratch_file("model.safetensors.index.json"));
    if (n)
        scratch_write("model.safetensors.index.json", text, n, n);
    scratch_write("config.json", size ? (const void *)data : "{}", size ? size : 2, size ? size : 2);
}

static void check_tensors(const hs_source *s)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    struct stat st;
    uint64_t total = 0;
    FUZZ_CHECK(stat(scratch_file("model.safetensors"), &st) == 0);
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        const hs_tensor *t = &c->tensors[i];
        FUZZ_CHECK(t->file == 0 && t->record == HS_NO_RECORD && t->n_dims <= HS_MAX_DIMS);
        FUZZ_CHECK(t->offset <= (uint64_t)st.st_size && t->nbytes <= (uint64_t)st.st_size - t->offset);
        FUZZ_CHECK(i == 0 || strcmp(c->tensors[i - 1].name, t->name) < 0);
        FUZZ_CHECK(hs_checkpoint_find(c, t->name) == i);
        FUZZ_CHECK(hs_source_stored_bytes(s, i) == t->nbytes);
        for (uint32_t k = 0; k < i; k++) {
            const hs_tensor *o = &c->tensors[k];
            FUZZ_CHECK(!t->nbytes || !o->nbytes || o->offset + o->nbytes <= t->offset ||
                       t->offset + t->nbytes <= o->offset);
        }
        total += t->nbytes;
    }
    FUZZ_CHECK(total == c->total_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs_source *s = NULL;
    hs_err err = {0};
    scratch_begin();
    write_folder(data, size);
    int r = hs_source_open(scratch_path, &s, &err);
    FUZZ_CHECK(r == 0 ? s != NULL : s == NULL && r == err.code && *err.text);
    if (r == 0) {
        check_tensors(s);
        check_objects(".safetensors, tensor ", s);
    }
    hs_source_close(&s);
    return 0;
}

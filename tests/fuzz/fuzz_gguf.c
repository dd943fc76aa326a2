/* rooms: store, max_len: 8192 */
/*
 * fuzz_gguf.c - a GGUF model as anybody made it. Input: a byte (how many times 4096 zeros follow the file), two bytes
 * (the length of the second part), the first part, the second part. Both are there under their names, whether the first
 * one asks for the second or not.
 *
 * An opened model keeps what source.h, objects.h and checkpoint.h promise: tensors inside their files, no two over one
 * another, shapes that have the stored size, ranges inside their slot, a vocabulary that can be read; and its memory is
 * within a bound that follows from the files' size.
 */
#include "scratch.h"

#include "base/json.h"
#include "three_parts.h"

#define FIRST  "m-00001-of-00002.gguf"
#define SECOND "m-00002-of-00002.gguf"

static void write_files(const uint8_t *data, size_t size)
{
    uint64_t zeros = data[0] * 4096ull;
    size_t second = data[1] + data[2] * 256u;
    data += 3;
    size -= 3;
    second = second < size ? second : size;
    scratch_write(FIRST, data, size - second, size - second + zeros);
    scratch_write(SECOND, data + size - second, second, second + zeros);
}

static void check_shape(const hs_tensor *t)
{
    uint64_t rows = 1, row = t->n_dims ? t->dims[t->n_dims - 1] : 1;
    for (uint32_t d = 0; d < HS_MAX_DIMS; d++) {
        FUZZ_CHECK(t->dims[d] && (d < t->n_dims || t->dims[d] == 1));
        rows *= t->n_dims && d == t->n_dims - 1 ? 1 : t->dims[d];
    }
    FUZZ_CHECK(t->dtype == HS_DTYPE_OTHER || hs_dtype_bytes(t->dtype, row) * rows == t->nbytes);
}

static void check_tensors(const hs_source *s)
{
    const hs_checkpoint *c = hs_source_checkpoint(s);
    uint64_t sizes[2], total = 0;
    struct stat st;
    FUZZ_CHECK(stat(scratch_file(FIRST), &st) == 0);
    sizes[0] = (uint64_t)st.st_size;
    FUZZ_CHECK(stat(scratch_file(SECOND), &st) == 0);
    sizes[1] = (uint64_t)st.st_size;
    for (uint32_t i = 0; i < c->n_tensors; i++) {
        const hs_tensor *t = &c->tensors[i];
        FUZZ_CHECK(t->file < 2 && t->record == HS_NO_RECORD && t->n_dims <= HS_MAX_DIMS && t->nbytes);
        FUZZ_CHECK(t->offset <= sizes[t->file] && t->nbytes <= sizes[t->file] - t->offset);
        FUZZ_CHECK(i == 0 || strcmp(c->tensors[i - 1].name, t->name) < 0);
        FUZZ_CHECK(hs_checkpoint_find(c, t->name) == i && hs_source_stored_bytes(s, i) == t->nbytes);
        check_shape(t);
        for (uint32_t k = i < 64 ? 0 : i - 64; k < i; k++) {
            const hs_tensor *o = &c->tensors[k];
            FUZZ_CHECK(t->file != o->file || o->offset + o->nbytes <= t->offset || t->offset + t->nbytes <= o->offset);
        }
        total += t->nbytes;
    }
    FUZZ_CHECK(total == c->total_bytes);
}

/* Touches every byte that it is said to have. */
static void check_vocab(const hs_vocab_data *v)
{
    uint64_t sum = 0;
    FUZZ_CHECK(v && (v->n_tokens > 0) == (v->tokens != NULL) && (v->n_merges > 0) == (v->merges != NULL));
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        for (uint32_t k = 0; k <= v->tokens[i].len; k++)
            sum += (uint8_t)v->tokens[i].data[k];
        sum += v->scores ? v->scores[i] == 0.0f : 0;
        sum += v->token_type ? (uint32_t)v->token_type[i] : 0;
    }
    for (uint32_t i = 0; i < v->n_merges; i++)
        for (uint32_t k = 0; k <= v->merges[i].len; k++)
            sum += (uint8_t)v->merges[i].data[k];
    sum += v->model ? strlen(v->model) : 0;
    sum += v->pre ? strlen(v->pre) : 0;
    sum += v->chat_template ? strlen(v->chat_template) : 0;
    FUZZ_CHECK(v->bos >= -1 && v->bos < (int64_t)v->n_tokens && v->padding < (int64_t)v->n_tokens);
    FUZZ_CHECK(sum < UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs_source *s = NULL;
    hs_err err = {0};
    if (size < 3)
        return 0;
    scratch_begin();
    write_files(data, size);
    int r = hs_source_open(scratch_file(FIRST), &s, &err);
    FUZZ_CHECK(r == 0 ? s != NULL : s == NULL && r == err.code && strstr(err.text, ".gguf"));
    if (r == 0) {
        const hs_checkpoint *c = hs_source_checkpoint(s);
        FUZZ_CHECK(c->gguf && json_is_object(c->config) && !hs_source_is_packed(s));
        FUZZ_CHECK(hs_source_bytes(s) < (1u << 20) + 64 * (size + 2 * 4096ull * data[0]) + 256ull * c->n_tensors);
        check_tensors(s);
        check_objects(".gguf, tensor ", s);
        check_vocab(c->vocab);
    }
    hs_source_close(&s);
    return 0;
}

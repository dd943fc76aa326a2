/*
 * tokenizer.h - text to token ids and back: BPE over bytes, or over characters with bytes to fall back to
 * (SentencePiece-like), as tokenizer.json or a GGUF file describes it.
 *
 * Immutable after load, so every thread may encode and look up. Untrusted input: file sizes, counts and ids are
 * bounded, regular expressions run under match limits, and encoding takes time O(n log n) in the length of the text.
 */
#ifndef HS_TEXT_TOKENIZER_H
#define HS_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/checkpoint.h"
#include "base/err.h"

#define HS_NO_TOKEN UINT32_MAX

typedef struct hs_tokenizer hs_tokenizer;

/* Loads dir/tokenizer.json. -ENOENT if there is none; -EINVAL names file and field; a step (normalizer, pre-tokenizer,
 * model, decoder) that is not implemented is refused by name with -ENOTSUP. */
int hs_tokenizer_load(const char *dir, hs_tokenizer **ret_tokenizer, hs_err *err) HS_MUST_CHECK;
/* From the vocabulary of a GGUF file, which is not needed afterwards; where names the file. -ENOENT if it has none;
 * -EINVAL names token or merge; a model or pre-tokenizer that is not implemented is refused by name with -ENOTSUP. */
int hs_tokenizer_create_gguf(const hs_vocab_data *v, const char *where, hs_tokenizer **ret_tokenizer,
                             hs_err *err) HS_MUST_CHECK;
/* What creating it takes at most. */
uint64_t hs_tokenizer_gguf_bytes(const hs_vocab_data *v);
void hs_tokenizer_destroy(hs_tokenizer **tokenizer);

/* Ids are in [0, size); not every id of that range need exist. */
uint32_t hs_tokenizer_size(const hs_tokenizer *t);
/* Memory held, bytes. */
uint64_t hs_tokenizer_bytes(const hs_tokenizer *t);

/* The token that a plain prompt begins with according to the GGUF file; HS_NO_TOKEN if none does, or the tokenizer is
 * of another kind. */
uint32_t hs_tokenizer_bos(const hs_tokenizer *t);

/* Encodes len bytes (U+0000 is legal; invalid UTF-8 is replaced by U+FFFD first, as Rust's lossy conversion does). No
 * BOS is added. specials: the text of added tokens is recognised as those tokens. *ret_ids is the caller's (hs_free),
 * not NULL, *ret_n its length, which may be 0. -E2BIG: more than 256 MiB, one word of more than 512 KiB, or a split
 * pattern needs too many steps; -ETIMEDOUT: a split pattern is too slow. */
int hs_tokenizer_encode(const hs_tokenizer *t, const char *text, size_t len, bool specials, uint32_t **ret_ids,
                        size_t *ret_n, hs_err *err) HS_MUST_CHECK;

/* The same for a chat that hs_template_render made: bytes of is_input are plain text, so that nothing in them passes
 * for an added token of the template's (runs of white space excepted, which are text wherever they stand). is_input
 * NULL: as with specials. -EILSEQ: not UTF-8, which a rendering always is. */
int hs_tokenizer_encode_rendered(const hs_tokenizer *t, const char *text, const uint8_t *is_input, size_t len,
                                 uint32_t **ret_ids, size_t *ret_n, hs_err *err) HS_MUST_CHECK;

/* What encoding len bytes of valid UTF-8 takes at most, *ret_ids included; ordinary text takes much less. */
uint64_t hs_tokenizer_encode_bytes(size_t len);

/* All bytes of the ids, lossily made UTF-8 (one U+FFFD per maximal broken prefix). Ids that do not exist give nothing.
 * skip_special: leaves out added tokens that are marked special. */
int hs_tokenizer_decode(const hs_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special, hs_buf *out,
                        hs_err *err) HS_MUST_CHECK;

/* The raw bytes of one token (borrowed; may be a part of a character, or begin with a blank that decoding leaves out);
 * NULL with *ret_len 0 if the id does not exist.
 */
const char *hs_tokenizer_token_bytes(const hs_tokenizer *t, uint32_t id, size_t *ret_len);
bool hs_tokenizer_is_special(const hs_tokenizer *t, uint32_t id);
/* The id of an added token by its exact text ("<|im_end|>"), or HS_NO_TOKEN. */
uint32_t hs_tokenizer_find_added(const hs_tokenizer *t, const char *text);

#endif

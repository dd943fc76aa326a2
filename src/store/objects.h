/*
 * objects.h - the object index: a streamed object is a fixed tuple of tensors (an expert: gate, up, down with their
 * scales).
 *
 * Tells for each object which byte ranges of which files to read, where they land, which frames have to be decoded, and
 * where each tensor's bytes are in a slot afterwards. Immutable after create; decode functions are thread-safe.
 *
 * Three kinds, decided per object:
 *   - safetensors: ranges are rounded out to 4096 and land directly in the slot, each at a 4096-aligned place (tensor
 * bytes start at the skew inside); adjacent or nearly adjacent tensors are merged into one range. No frames.
 *   - packed, all parts RAW: one range (striped: one of each drive that has some of it), directly into the slot;
 * frames only carry checksums.
 *   - packed, some part compressed: the same into a staging buffer; frames are decoded from staging into the slot.
 */
#ifndef HS_STORE_OBJECTS_H
#define HS_STORE_OBJECTS_H

#include <stdbool.h>

#include "store/source.h"

#define HS_OBJECT_MAX_PARTS  8
#define HS_OBJECT_MAX_RANGES 8

typedef struct hs_objects hs_objects;

/* A read: [offset, offset+len) of file -> dst_offset in the slot (or in the staging buffer if staged). All multiples of
 * 4096, except that the last range of a file may end past the file's end (the reader accepts the short read there). */
typedef struct hs_range {
    uint32_t file;
    uint64_t offset;
    uint64_t len;
    uint64_t dst_offset;
} hs_range;

typedef struct hs_frame {
    uint64_t stored_offset; /* in the staging buffer (or, unstaged, in the slot) */
    uint32_t stored_bytes;
    uint64_t raw_offset; /* in the slot */
    uint32_t raw_bytes;
    uint32_t check; /* of the stored bytes */
    uint8_t codec;
} hs_frame;

/* parts: [n_objects][n_parts] tensor indexes of the source's checkpoint; HS_NO_TENSOR = that part does not exist.
 * The array is copied as far as needed. In a packed source the parts of an object must lie in at most
 * HS_PACK_MAX_PIECES records. */
int hs_objects_create(const hs_source *s, const uint32_t *parts, uint32_t n_objects, uint32_t n_parts,
                      hs_objects **ret_objects, hs_err *err) HS_MUST_CHECK;
void hs_objects_destroy(hs_objects **objects);

/* An object's number with this bit means the same object in the model that a packed one was packed from: raw, and at
 * other places in the slot. Only where hs_objects_has_raw: some record is compressed, and the manifest's source lies
 * unchanged on the same drive. Every hs_object_ function takes it. */
#define HS_OBJECT_RAW (1u << 31)
bool hs_objects_has_raw(const hs_objects *o);

uint32_t hs_objects_count(const hs_objects *o);
uint64_t hs_objects_slot_bytes(const hs_objects *o);    /* of the biggest object, multiple of 4096 */
uint64_t hs_objects_staging_bytes(const hs_objects *o); /* biggest staged object's read length; 0 = nothing is staged */
uint64_t hs_objects_table_bytes(const hs_objects *o);   /* memory held by this index */
/* File descriptors the ranges' `file` indexes refer to, those of all copies, the index's own (hs_io_create takes them
 * and switches O_DIRECT on them). */
const int *hs_objects_fds(const hs_objects *o, uint32_t *ret_n);
uint32_t hs_objects_copies(const hs_objects *o);                      /* of each file: 1 and the source's mirrors */
const char *hs_objects_copy_path(const hs_objects *o, uint32_t copy); /* of the model that it belongs to */

/* Fills ranges, returns their number (>= 1). */
uint32_t hs_object_ranges(const hs_objects *o, uint32_t object, hs_range ranges[HS_OBJECT_MAX_RANGES]);
bool hs_object_is_staged(const hs_objects *o, uint32_t object);
uint64_t hs_object_read_bytes(const hs_objects *o, uint32_t object); /* sum of the ranges' len */
/* Room that it takes in a slot, by either way that it can be read; a multiple of 4096. */
uint64_t hs_object_slot_bytes(const hs_objects *o, uint32_t object);
uint64_t hs_object_raw_bytes(const hs_objects *o, uint32_t object); /* of its tensors */
uint32_t hs_object_frames(const hs_objects *o, uint32_t object);    /* 0 = nothing to check or decode */
/* Iterating frames 0..n-1 in order is O(1) per step with *it zeroed before the first call. */
typedef struct hs_frame_iter {
    uint32_t piece; /* record of the object; the others: within it */
    uint32_t next;
    uint64_t stored_offset;
    uint64_t raw_offset;
    uint32_t part;
} hs_frame_iter;
bool hs_object_next_frame(const hs_objects *o, uint32_t object, hs_frame_iter *it, hs_frame *ret_frame);

/* Checks a frame and decodes it into the slot: stored = base of the staging buffer (or the slot, unstaged: check only).
 * Errors
 * (-EBADMSG) name shard and record. One decoder per thread. */
typedef struct hs_decoder hs_decoder;
int hs_decoder_create(hs_decoder **ret, hs_err *err) HS_MUST_CHECK;
void hs_decoder_destroy(hs_decoder **d);
uint64_t hs_decoder_bytes(void); /* upper bound of one decoder's memory */
int hs_object_decode_frame(const hs_objects *o, uint32_t object, const hs_frame *frame, hs_decoder *d,
                           const void *stored, void *slot, hs_err *err) HS_MUST_CHECK;

/* Where each part's tensor bytes begin inside a READY slot; NULL for absent parts. No alignment is promised. */
void hs_object_parts(const hs_objects *o, uint32_t object, const void *slot,
                     const void *ret_parts[HS_OBJECT_MAX_PARTS]);

/* "experts-00001.hss, record 17 (layers.3.mlp.experts.5 …)" or "model.safetensors, tensor …": what the object's range
 * of that number reads first; for error sentences. */
void hs_object_describe(const hs_objects *o, uint32_t object, uint32_t range, char *buf, size_t cap);

#endif

/* decode.h - one frame: checksum, then codec. Inside store and for pack's verify. */
#ifndef HS_STORE_DECODE_H
#define HS_STORE_DECODE_H

#include "hotset/shard_format.h"
#include "store/objects.h"

/* Checks and decodes a stored frame into exactly raw_bytes at raw (never more). raw == stored: check only (RAW).
 * -EBADMSG. */
int hs__frame_decode(hs_decoder *d, hs_codec codec, uint32_t check, const void *stored, uint32_t stored_bytes,
                     void *raw, uint32_t raw_bytes) HS_MUST_CHECK;

#endif

/*
 * shard_format.h - layout of a packed model folder; no code. Writer: src/pack. Reader: src/store. They share only this
 * file.
 *
 * A packed folder is flat:
 *   manifest.json          written last (write, fsync, rename): a folder without it is not a packed model
 *   NAME.header            for each source container NAME (a .safetensors or .gguf file): its first data_start bytes,
 * as they were dense-00000.hss        tensors that are always resident: one record per tensor, in source order
 *   experts-NNNNN.hss      streamed objects: one record per (layer, expert), layer-major
 *   raw-NNNNN.hss          (version 2) every record of experts shard NNNNN that is compressed once more, with RAW parts
 *   every other regular file of the source, verbatim (manifest "files" maps names if one collides with ours)
 * A shard may be a symbolic link to a file elsewhere: `hotset pack --stripe` puts experts on several drives so. The
 * manifest names no folder but this one: drives may be mounted elsewhere later, the links being made anew, and a copy
 * that follows links is the same packed folder on one drive. The shards of a drive then have its experts alone, and
 * (version 3) a record what of an expert is on one drive: (version 4) its raw image from one place to another. A tensor
 * that is cut in two so is the last part of one record, whose raw image then is a multiple of 4096 bytes, and the first
 * one of the next: in memory the images follow one another, and the tensor is whole.
 *
 * A shard (.hss), all integers little-endian:
 *   [0, 4096)              hs_shard_header, zero-padded
 *   records                each starts on a 4096 boundary; the gap to the next one is zero
 *   table                  4096-aligned: hs_shard_record[n_records], hs_shard_part[n_parts], hs_shard_frame[n_frames]
 *   last 4096 bytes        hs_shard_footer, zero-padded
 * Header and footer are written after everything else has been fsynced; the file is renamed from NAME.tmp then.
 *
 * A record holds the parts (tensors) of one object. Of a GGUF source one record of the dense shard has as its parts
 * what lies between and behind tensors, so that every byte comes back. Its raw image is the parts one after the other,
 * each at a 64-byte-aligned raw_offset and zero-padded to a multiple of 64. Each padded part is cut into frames of
 * HS_FRAME_RAW bytes (the last one is shorter). The stored record is the frames' stored bytes, back to back, in order;
 * a part with codec RAW stores its bytes as they are, so that a record with only RAW parts is stored as its raw image
 * and can be read straight into a slot.
 */
#ifndef HOTSET_SHARD_FORMAT_H
#define HOTSET_SHARD_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define HS_SHARD_MAGIC        "HOTSHARD" /* 8 bytes, no NUL */
#define HS_SHARD_FOOTER_MAGIC "HOTSFOOT"
#define HS_SHARD_VERSION      1u
#define HS_SHARD_ALIGN        4096u
#define HS_PART_ALIGN         64u
#define HS_FRAME_RAW          (256u * 1024u)

#define HS_PACK_FORMAT "hotset-pack" /* manifest "format" */
/* 4: an expert may be in up to HS_PACK_MAX_PIECES records, and a tensor be cut between two. 3: an expert's matrices may
 * be in several records, at most three. 2: there are shards of kind "raw", behind all others. A pack has the lowest
 * version that says what it has; 3 is not written any more. */
#define HS_PACK_VERSION       4
#define HS_PACK_VERSION_RAW   2
#define HS_PACK_VERSION_PLAIN 1
/* How manifest.json ends, with 16 hexadecimal digits between the two: XXH3_64bits of all the text before. */
#define HS_PACK_SEAL_BEGIN ",\n \"manifest_xxh3\": \""
#define HS_PACK_SEAL_END   "\"\n}\n"

/* Bounds a reader may rely on and must enforce. */
#define HS_SHARD_MAX_RECORDS (1u << 24)
#define HS_SHARD_MAX_PARTS   (1u << 26)
#define HS_SHARD_MAX_FRAMES  (1u << 28)
#define HS_RECORD_MAX_RAW    (1ull << 40) /* a dense tensor may be big */
#define HS_PACK_MAX_PIECES   4u           /* records of an expert */
#define HS_FRAME_MAX_STORED  (HS_FRAME_RAW + (HS_FRAME_RAW >> 7) + 1024u)

typedef enum hs_codec {
    HS_CODEC_RAW = 0,
    HS_CODEC_ZSTD = 1,        /* each frame is one zstd frame */
    HS_CODEC_ZSTD_PLANES = 2, /* 2-byte elements: all high bytes of the frame, then all low bytes, then one zstd frame
                               */
    HS_CODEC_EXPONENT_8 = 3,  /* FP8 e4m3: hs_exponent_frame */
    HS_CODEC_EXPONENT_16 = 4, /* BF16: hs_exponent_frame */
    HS_CODEC_END              /* the first unknown one */
} hs_codec;

/*
 * A frame whose elements' exponents are coded by rank. Sign and mantissa are noise and stay as they are; an exponent is
 * one of the 12 commonest of its frame, or is written out. Ranks are coded in levels of 2 bits: 0 to 2 name one of the
 * level's three exponents, 3 says that the next level has it; behind the last level it is a whole byte. On weights that
 * is within 1 % of what Huffman codes take, without a bit stream: 32 and more elements are decoded at a time.
 *
 * Stored: this header; the rest of each element; codes of level 0, 1, 2, 3; literals. n elements are taken as groups of
 * HS_EXPONENT_GROUP, the last one filled up with zeros (elements, or codes):
 *   rest      EXPONENT_8: sign << 3 | mantissa, two in a byte: of each half of a group, elements i and i + 64 in byte i
 *             (low 4 bits, high ones). EXPONENT_16: sign << 7 | mantissa, a byte each.
 *   codes     elements i, i + 64, i + 128, i + 192 of a group in byte i, from the low bits up. Level 0 has n codes,
 *             level k + 1 has as many as level k has threes (escapes[k]).
 *   literals  escapes[3] bytes
 * A frame that would not get smaller is stored as it is: then stored and raw size are the same.
 * escapes[0] <= n / 2: with more of them the codec gains nothing, and a reader's scratch is bounded.
 */
#define HS_EXPONENT_LEVELS 4u
#define HS_EXPONENT_GROUP  256u

typedef struct hs_exponent_frame {
    uint8_t symbol[HS_EXPONENT_LEVELS][3]; /* exponents; those of EXPONENT_8 are under 16 */
    uint32_t elements;
    uint32_t escapes[HS_EXPONENT_LEVELS];
} hs_exponent_frame;

static_assert(sizeof(hs_exponent_frame) == 32, "layout");

typedef struct hs_shard_header {
    char magic[8];
    uint32_t version;
    uint32_t n_records;
    uint64_t n_parts;
    uint64_t n_frames;
    uint64_t table_offset;
    uint64_t table_bytes;
    uint64_t table_hash;  /* XXH3_64bits of the table's bytes */
    uint64_t file_bytes;  /* of the whole shard, footer included */
    uint8_t identity[16]; /* of the packed model; the same in every shard and in the manifest */
    uint64_t header_hash; /* XXH3_64bits of all fields above */
} hs_shard_header;

typedef struct hs_shard_footer {
    char magic[8];
    uint32_t version;
    uint32_t reserved; /* 0 */
    uint64_t file_bytes;
    uint64_t header_hash; /* equals the header's */
    uint64_t footer_hash; /* XXH3_64bits of all fields above */
} hs_shard_footer;

typedef struct hs_shard_record {
    uint64_t offset; /* in the shard, multiple of 4096 */
    uint64_t stored_bytes;
    uint64_t raw_bytes;   /* of the raw image, padding included */
    uint64_t stored_hash; /* XXH3_64bits of the stored bytes */
    uint64_t raw_hash;    /* XXH3_64bits of the raw image */
    uint32_t first_part;
    uint32_t n_parts;
    uint32_t first_frame;
    uint32_t n_frames;
} hs_shard_record;

typedef struct hs_shard_part {
    uint32_t source;        /* index into the manifest's "sources" */
    uint32_t codec;         /* hs_codec */
    uint64_t source_offset; /* of the bytes in the source file, from the file's start */
    uint64_t bytes;         /* of the tensor, or of what of it is in this record, without padding */
    uint64_t raw_offset;    /* in the raw image, multiple of 64 */
} hs_shard_part;

typedef struct hs_shard_frame {
    uint32_t stored_bytes; /* <= HS_FRAME_MAX_STORED; for RAW parts equal to the raw size */
    uint32_t check;        /* low 32 bits of XXH3_64bits of the stored bytes */
} hs_shard_frame;

static_assert(sizeof(hs_shard_header) == 88, "layout");
static_assert(sizeof(hs_shard_footer) == 40, "layout");
static_assert(sizeof(hs_shard_record) == 56, "layout");
static_assert(sizeof(hs_shard_part) == 32, "layout");
static_assert(sizeof(hs_shard_frame) == 8, "layout");

/*
 * manifest.json:
 * { "format": "hotset-pack", "version": 1, "identity": "32 hex digits", "source_stamp": "32 hex", "created_by": "hotset
 * 0.1.0", "source": "/absolute/path" (optional: where the source lay; never needed), "options": {"codec": "zstd"|"raw",
 * "level": N, "shard_bytes": N, "keep_raw": true (version 2), "stripe": [N, ...], "split_bytes": N (drives' shares, and
 * from what size on matrices are dealt out; of no meaning to a reader)}, "sources": [{"name": "model.safetensors",
 * "bytes": N,
 * "mtime_ns": N, "data_start": N, "mode": 420, "header": "model.safetensors.header", "header_xxh3": "16 hex"}],
 * "shards":
 * [{"name": "dense-00000.hss", "kind": "dense"|"experts"|"raw", "bytes": N, "records": N, "header_hash": "16 hex"}],
 * "files":
 * [{"name": "config.json", "stored_as": "config.json", "bytes": N, "mode": 420, "xxh3": "16 hex"}], "raw_bytes": N,
 * "stored_bytes": N (without "raw" shards), "manifest_xxh3": "16 hex" } mode: permission bits of the original.
 * source_stamp: hash of the sources' names, sizes, mtimes and headers, by which the same source is known again.
 * manifest_xxh3 comes last, on its own line: XXH3_64bits of all text before the comma that precedes it, so that one
 * damaged byte is known for what it is. Record numbers are global: shards in manifest order, records in table order.
 */

#endif

/* pack_int.h - the inside of the packer: plan of a source, frame encoder, shard writer, and the reader of packs. */
#ifndef HS_PACK_PACK_INT_H
#define HS_PACK_PACK_INT_H

#include <stddef.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/checkpoint.h"
#include "base/json.h"
#include "base/mem.h"
#include "hotset/shard_format.h"
#include "pack/pack.h"

#define HS__PK_BATCH      64u /* frames in memory at a time */
#define HS__PK_MAX_FILES  4096u
#define HS__PK_MAX_JSON   (64u << 20)
#define HS__PK_MAX_HEADER (100000000u + 8u) /* safetensors' own cap, and the length before it */
#define HS__PK_MANIFEST   "manifest.json"
#define HS__PK_LOCK       "hotset-pack.lock"
#define HS__PK_STATE      "hotset-pack.state" /* what an unfinished pack was begun with */
#define HS__PK_TMP        "hotset-pack.tmp"   /* a copied file that is not complete yet */

/* ---- report.c: monitors, problems, cancelling ---- */

typedef struct hs__pk_work {
    const hs_pack_monitor *monitor;
    hs_pool *pool;
    hs_pool *own_pool;
    hs_pack_phase phase;
    uint64_t done, told, total; /* told: what progress has heard; done may step back when a record is done again */
    uint64_t problems;
    char first[500]; /* the first problem's sentence */
} hs__pk_work;

int hs__pk_work_init(hs__pk_work *w, const hs_pack_monitor *monitor, hs_pool *pool, uint32_t threads,
                     hs_err *err) HS_MUST_CHECK;
void hs__pk_work_deinit(hs__pk_work *w);
void hs__pk_phase(hs__pk_work *w, hs_pack_phase phase, uint64_t total);
/* Adds to done and tells; -ECANCELED when asked to stop. */
int hs__pk_advance(hs__pk_work *w, uint64_t bytes, hs_err *err) HS_MUST_CHECK;
int hs__pk_cancelled(const hs__pk_work *w, hs_err *err) HS_MUST_CHECK;
void hs__pk_note(const hs__pk_work *w, const char *fmt, ...) HS_PRINTF(2, 3);
void hs__pk_problem(hs__pk_work *w, const char *file, int64_t record, const char *fmt, ...) HS_PRINTF(4, 5);
/* 0, or -EBADMSG with number and first of the problems. */
int hs__pk_verdict(const hs__pk_work *w, const char *path, hs_err *err) HS_MUST_CHECK;

/* ---- folder.c: the files around the shards ---- */

typedef struct hs__pk_file {
    char *name;
    char *stored_as; /* name in the pack */
    uint64_t bytes;
    int64_t mtime[2]; /* seconds, nanoseconds */
    uint32_t mode;    /* permission bits */
    uint64_t hash;    /* XXH3_64bits of the contents, once copied */
} hs__pk_file;

typedef struct hs__pk_list {
    hs__pk_file *files; /* sorted by name */
    uint32_t n;
} hs__pk_list;

/* Regular files of folder `path`, symbolic links followed; subfolders and special files are left out with a note (w may
 * be NULL). */
int hs__pk_list_folder(const char *path, const hs__pk_work *w, hs__pk_list *ret, hs_err *err) HS_MUST_CHECK;
void hs__pk_list_free(hs__pk_list *l);
const hs__pk_file *hs__pk_list_find(const hs__pk_list *l, const char *name);

bool hs__pk_name_is_plain(const char *name);
/* Is it ours alone, so that a source's file of that name needs another one in the pack? */
bool hs__pk_name_is_reserved(const char *name);
char *hs__pk_path(const char *folder, const char *name, hs_err *err); /* NULL: out of memory, err set */

/* Opens a regular file for reading; *ret_st is filled. Returns the descriptor. */
int hs__pk_open(const char *path, struct stat *ret_st, hs_err *err) HS_MUST_CHECK;
/* Fails with -ESTALE if fd's size or mtime is not the given one any more. */
int hs__pk_unchanged(int fd, const char *path, uint64_t bytes, const int64_t mtime[2], hs_err *err) HS_MUST_CHECK;
/* XXH3_64bits of a whole file of exactly `bytes`. Advances w. */
int hs__pk_hash_file(hs__pk_work *w, const char *path, uint64_t bytes, uint64_t *ret, hs_err *err) HS_MUST_CHECK;
/* Copies from_folder/from to to_folder/to (through HS__PK_TMP, durable); mode for the new file; the contents' hash. */
int hs__pk_copy(hs__pk_work *w, const char *from_folder, const char *from, const char *to_folder, const char *to,
                uint32_t mode, uint64_t *ret_hash, hs_err *err) HS_MUST_CHECK;
/* Writes a small file the same way. */
int hs__pk_write(const char *folder, const char *name, const void *data, size_t len, uint32_t mode,
                 hs_err *err) HS_MUST_CHECK;
/* Makes folder/name a symbolic link to target, in the place of whatever is there. */
int hs__pk_link(const char *folder, const char *name, const char *target, hs_err *err) HS_MUST_CHECK;
/* fsync, close, rename tmp to path, fsync folder. fd is closed in any case. */
int hs__pk_commit(int fd, const char *tmp, const char *path, hs_err *err) HS_MUST_CHECK;

/* Refuses a dst that is src or lies inside it; creates it if `make`. */
int hs__pk_prepare_dst(const char *src, const char *dst, bool make, hs_err *err) HS_MUST_CHECK;
/* One writer per folder: -EBUSY. unlock removes the lock file. */
int hs__pk_lock(const char *folder, int *ret_fd, hs_err *err) HS_MUST_CHECK;
void hs__pk_unlock(const char *folder, int *fd);

/* ---- plan.c: what goes where ---- */

typedef struct hs__pk_container {
    char *name;
    char *path;
    char *header_name; /* in the pack */
    int fd;
    uint64_t bytes, data_start;
    uint64_t header_hash;
    int64_t mtime[2];
    uint32_t mode;
} hs__pk_container;

typedef struct hs__pk_part {
    uint32_t source;
    uint32_t element; /* bytes of an element; 0 = unknown */
    uint64_t offset;  /* in the container */
    uint64_t bytes;
} hs__pk_part;

typedef struct hs__pk_record {
    uint32_t first_part, n_parts;
    uint64_t raw_bytes; /* padding included */
} hs__pk_record;

typedef struct hs__pk_shard_plan {
    char name[32];
    bool dense;
    bool raw;      /* of another shard's records those that are compressed there */
    uint8_t drive; /* 0: dst; else a folder of stripe */
    uint32_t first_record, n_records;
    uint32_t *chosen;      /* if raw: [n_records] of the plan's records; else they follow one another */
    uint64_t source_bytes; /* of the parts, without padding */
} hs__pk_shard_plan;

typedef struct hs__pk_plan {
    char *src;
    char *folder; /* of the containers: src, or where the file src lies */
    hs__pk_container *containers;
    uint32_t n_containers;
    hs__pk_list files; /* every other regular file of src, if that is a folder */
    hs__pk_part *parts;
    uint32_t n_parts;
    hs__pk_record *records;
    uint32_t n_records;
    hs__pk_shard_plan *shards; /* raw ones last: they are added when the others are written */
    uint32_t n_shards;
    bool split;            /* some expert is several records */
    uint64_t source_bytes; /* of the parts */
    uint64_t file_bytes;   /* of the other files */
    uint32_t shard_mode;   /* what every container may be read with */
    uint8_t stamp[16];     /* of names, sizes, mtimes and headers of the containers */
} hs__pk_plan;

int hs__pk_plan_create(const char *src, uint64_t shard_bytes, const hs__pk_work *w, hs__pk_plan **ret,
                       hs_err *err) HS_MUST_CHECK;
void hs__pk_plan_destroy(hs__pk_plan **plan);
/* The plan's number of record i of a shard. */
static inline uint32_t hs__pk_record_of(const hs__pk_shard_plan *s, uint32_t i)
{
    return s->raw ? s->chosen[i] : s->first_record + i;
}
/* Adds an empty shard that begins with `record`. */
int hs__pk_plan_shard(hs__pk_plan *p, bool dense, uint32_t number, uint32_t record, hs_err *err) HS_MUST_CHECK;
struct hs__pk_shard;
/* Adds the raw shard of a written one, if any of its records is compressed. */
int hs__pk_plan_raw(hs__pk_plan *p, uint32_t shard, const struct hs__pk_shard *written, hs_err *err) HS_MUST_CHECK;
/* -ESTALE if a container's size or mtime changed since the plan was made. */
int hs__pk_plan_unchanged(const hs__pk_plan *p, hs_err *err) HS_MUST_CHECK;
/* Header bytes of a container (data_start of them; hs_free). */
int hs__pk_read_header(const hs__pk_container *c, uint8_t **ret, hs_err *err) HS_MUST_CHECK;

static inline uint64_t hs__pk_padded(uint64_t bytes)
{
    return (bytes + HS_PART_ALIGN - 1) / HS_PART_ALIGN * HS_PART_ALIGN;
}
static inline uint32_t hs__pk_n_frames(uint64_t part_bytes)
{
    return (uint32_t)((hs__pk_padded(part_bytes) + HS_FRAME_RAW - 1) / HS_FRAME_RAW);
}
/* Raw size of frame i of a part, padding included, and the tensor's bytes in it. */
static inline uint32_t hs__pk_frame_raw(uint64_t part_bytes, uint32_t i)
{
    uint64_t left = hs__pk_padded(part_bytes) - (uint64_t)i * HS_FRAME_RAW;
    return left < HS_FRAME_RAW ? (uint32_t)left : HS_FRAME_RAW;
}
static inline uint32_t hs__pk_frame_bytes(uint64_t part_bytes, uint32_t i)
{
    uint64_t left = part_bytes - (uint64_t)i * HS_FRAME_RAW;
    return left < HS_FRAME_RAW ? (uint32_t)left : HS_FRAME_RAW;
}

/* ---- gguf.c: what a GGUF source has of its own ---- */

/* The folder of a file ("." if its path names none); NULL: out of memory, err set. */
char *hs__pk_folder_of(const char *path, hs_err *err);
/* Where the first tensor of container `file` of `bytes` begins; its end if there is none. */
uint64_t hs__pk_gguf_data_start(const hs_checkpoint *c, uint32_t file, uint64_t bytes);
/* The bytes of all containers behind their headers that no tensor has: *ret_n ranges by place (hs_free). */
int hs__pk_gguf_gaps(const hs__pk_plan *p, const hs_checkpoint *c, hs__pk_part **ret, uint32_t *ret_n,
                     hs_err *err) HS_MUST_CHECK;
/* Structure, and whether every byte can be read; problems are told through w. */
int hs__pk_gguf_verify(hs__pk_work *w, const char *path, hs_err *err) HS_MUST_CHECK;

/* ---- groups.c: which tensors make an object ---- */

typedef struct hs__pk_expert_name {
    uint32_t layer, expert;
    size_t prefix;   /* length of what the names of a layer's experts have in common: up to "experts.", or "blk.<L>." */
    uint32_t matrix; /* 0 gate, 1 up, 2 down, 3 unknown */
    bool is_scale;   /* anything of a matrix that is not its weight */
} hs__pk_expert_name;

/* "…layers.<L>.….experts.<E>.<rest>", or "blk.<L>.ffn_…_exps.weight.<E>" */
bool hs__pk_parse_expert(const char *name, hs__pk_expert_name *ret);

/* ---- exponent.c ---- */

/* Encodes a frame of either exponent codec into out (room for raw_bytes); scratch: twice HS_FRAME_RAW bytes. Returns
 * the stored size: raw_bytes if it would not get smaller. */
uint32_t hs__pk_exponent_frame(hs_codec codec, const uint8_t *raw, uint32_t raw_bytes, uint8_t *scratch, uint8_t *out);

/* ---- encode.c: frames of one record ---- */

typedef struct hs__pk_encoder hs__pk_encoder;
typedef struct hs__pk_writer hs__pk_writer;

int hs__pk_encoder_create(hs__pk_work *w, int level, hs__pk_encoder **ret, hs_err *err) HS_MUST_CHECK;
void hs__pk_encoder_destroy(hs__pk_encoder **e);
/* Codecs that a pack may use, besides RAW; 0 = none. */
#define HS__PK_ZSTD     1u
#define HS__PK_EXPONENT 2u
/* Encodes and writes one record with the allowed codecs. */
int hs__pk_encode_record(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t record, uint32_t allowed, hs__pk_writer *out,
                         hs_err *err) HS_MUST_CHECK;
/* Gets a record's frames in order. */
typedef int (*hs__pk_frame_sink)(void *ctx, const void *stored, uint32_t n, uint32_t check, hs_err *err);
/* Encodes a record with the codecs that its parts have in a shard; *ret_stored, *ret_raw: its hashes. */
int hs__pk_encode_again(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t record, const hs_shard_part *parts,
                        hs__pk_frame_sink sink, void *ctx, uint64_t *ret_stored, uint64_t *ret_raw,
                        hs_err *err) HS_MUST_CHECK;
/* Hash of a record's raw image, read from the source, without encoding it. */
int hs__pk_hash_record(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t record, uint64_t *ret,
                       hs_err *err) HS_MUST_CHECK;
typedef struct hs__pk_trial {
    double ratio;       /* stored / raw; 1 = nothing was allowed or got smaller */
    double bytes_per_s; /* raw, of one thread; 0 = nothing to decode */
} hs__pk_trial;
/* Encodes the first frames of a part with each codec that is allowed and made for it, and decodes them again and again:
 * what the smallest gives. */
int hs__pk_try(hs__pk_encoder *e, const hs__pk_plan *p, uint32_t part, uint32_t allowed, hs__pk_trial *ret,
               hs_err *err) HS_MUST_CHECK;

/* ---- measure.c ---- */

/* Bytes per second with direct reads all over a file; 0 = cannot be told. */
double hs__pk_read_speed(hs__pk_work *w, const char *path, uint64_t bytes);

/* HS_PACK_AUTO: the codecs with which this machine gets weights fastest; 0 = raw ones. The reason is told as a note.
 * measured: bytes/s of the drives of dst; 0 = find out. */
int hs__pk_decide(hs__pk_work *w, const hs_pack_options *opt, const hs__pk_plan *p, double measured, hs__pk_encoder *e,
                  uint32_t *ret_allowed, hs_err *err) HS_MUST_CHECK;

/* ---- writer.c: one shard ---- */

typedef struct hs__pk_shard_info {
    uint64_t bytes, records, header_hash, raw_bytes, stored_bytes;
} hs__pk_shard_info;

/* Begins dst/NAME.tmp, or goes on with what an earlier run has left of it: *ret_done records are there, their bytes
 * compared with their hashes. */
int hs__pk_writer_create(const hs__pk_plan *p, uint32_t shard, const char *dst, const uint8_t identity[16],
                         hs__pk_writer **ret, uint32_t *ret_done, hs_err *err) HS_MUST_CHECK;
/* Unless finished, the records that are written are kept for the next run (keep), or removed. */
void hs__pk_writer_destroy(hs__pk_writer **w, bool keep);
/* Removes what a run that was stopped just behind finishing a shard has left beside it. */
void hs__pk_writer_forget(const char *shard);
/* Is a record's part what the plan has there? Codecs and places in the image are not looked at. */
bool hs__pk_is_planned(const hs__pk_plan *p, const hs__pk_record *want, const hs_shard_record *got,
                       const hs_shard_part *parts);
/* A record: begin (again: starts it over), frames in order, end. */
void hs__pk_writer_begin(hs__pk_writer *w, const hs__pk_plan *p, uint32_t record, const uint8_t *codecs);
int hs__pk_writer_frame(hs__pk_writer *w, const void *stored, uint32_t n, uint32_t check, hs_err *err) HS_MUST_CHECK;
int hs__pk_writer_end(hs__pk_writer *w, uint64_t stored_hash, uint64_t raw_hash, hs_err *err) HS_MUST_CHECK;
/* Table, fsync, header and footer, fsync, rename. */
int hs__pk_writer_finish(hs__pk_writer *w, hs__pk_shard_info *ret, hs_err *err) HS_MUST_CHECK;

/* ---- journal.c: which records of an unfinished shard are written ---- */

typedef struct hs__pk_journal hs__pk_journal;

/* That of the shard whose path is given, found or begun anew. */
int hs__pk_journal_open(const char *shard, const uint8_t identity[16], hs__pk_journal **ret, bool *ret_new,
                        hs_err *err) HS_MUST_CHECK;
void hs__pk_journal_close(hs__pk_journal **j, bool keep);
/* The next entry, of a record with as many parts and frames as `want`. -ENODATA: there is none, or it is damaged. */
int hs__pk_journal_next(hs__pk_journal *j, const hs_shard_record *want, hs_shard_record *ret, hs_shard_part *parts,
                        hs_shard_frame *frames) HS_MUST_CHECK;
/* The entry that next gave last is to be overwritten by the one that is added next. */
void hs__pk_journal_back(hs__pk_journal *j, const hs_shard_record *rec);
int hs__pk_journal_add(hs__pk_journal *j, hs_shard_record *rec, hs_shard_part *parts, hs_shard_frame *frames,
                       hs_err *err) HS_MUST_CHECK;

/* ---- packed.c: a pack, read without trust ---- */

typedef struct hs__pk_source {
    const char *name, *header; /* borrowed from the manifest */
    uint64_t bytes, data_start, header_hash;
    uint32_t mode;
} hs__pk_source;

typedef struct hs__pk_shard {
    const char *name;
    char *path;
    bool raw;                                     /* of kind "raw" */
    int fd;                                       /* -1: cannot be read (a problem was told) */
    bool usable;                                  /* header and table are sound: the next ones may be used */
    uint64_t bytes;                               /* of the file */
    uint64_t want_bytes, want_records, want_hash; /* the manifest's */
    hs_shard_header header;
    uint8_t *table;
    const hs_shard_record *records;
    const hs_shard_part *parts;
    const hs_shard_frame *frames;
} hs__pk_shard;

typedef struct hs__pk_copied {
    const char *name, *stored_as;
    uint64_t bytes, hash;
    uint32_t mode;
} hs__pk_copied;

typedef struct hs__pk_packed {
    char *path;
    json_t *manifest;
    uint8_t identity[16], stamp[16];
    hs__pk_source *sources;
    uint32_t n_sources;
    hs__pk_shard *shards;
    uint32_t n_shards;
    uint32_t n_raw; /* of the shards, the last ones: of kind "raw" */
    hs__pk_copied *files;
    uint32_t n_files;
    uint64_t raw_bytes; /* as the manifest says: tensors of all shards */
} hs__pk_packed;

/* Reads the manifest alone. Errors: -ENOENT none; -EINVAL not ours; -ENOTSUP a newer version; -EBADMSG damaged. */
int hs__pk_packed_open(const char *path, hs__pk_packed **ret, hs_err *err) HS_MUST_CHECK;
void hs__pk_packed_close(hs__pk_packed **p);
/* Of all its files, as the manifest says: what verifying reads. */
uint64_t hs__pk_packed_bytes(const hs__pk_packed *p);
/* Forgets the raw shards, for who needs every record once. */
void hs__pk_packed_without_raw(hs__pk_packed *p);
/* Opens and checks every shard's header, table and footer; problems are told through w. */
int hs__pk_packed_open_shards(hs__pk_work *w, hs__pk_packed *p, hs_err *err) HS_MUST_CHECK;
/* Do the usable shards' parts cover each source's data exactly once, and raw shards some of it again? Problems are told
 * through w. */
int hs__pk_packed_coverage(hs__pk_work *w, const hs__pk_packed *p, hs_err *err) HS_MUST_CHECK;
/* One shard: sh->path and sh->name set by the caller. 0 whatever is found; problems are told through w. */
int hs__pk_shard_open(hs__pk_work *w, hs__pk_shard *sh, const uint8_t identity[16], hs_err *err) HS_MUST_CHECK;
void hs__pk_shard_close(hs__pk_shard *sh);

/* ---- record.c: stored records back to bytes ---- */

typedef struct hs__pk_reader hs__pk_reader;
/* Gets a part's bytes piece by piece, in order: n bytes at `at` of the part, without padding. */
typedef int (*hs__pk_sink)(void *ctx, const hs_shard_part *part, uint64_t at, const uint8_t *data, uint32_t n,
                           hs_err *err);

int hs__pk_reader_create(hs__pk_work *w, hs__pk_reader **ret, hs_err *err) HS_MUST_CHECK;
void hs__pk_reader_destroy(hs__pk_reader **r);
/* Reads, checks and decodes record `record`. -EBADMSG: damaged, err names place and kind; what sink got before is then
 * worthless. sink may be NULL. Advances w by stored bytes (by_stored) or by the parts' bytes. */
int hs__pk_read_record(hs__pk_reader *r, const hs__pk_shard *sh, uint32_t record, bool by_stored, hs__pk_sink sink,
                       void *ctx, hs_err *err) HS_MUST_CHECK;
/* Whether [from, to) of the shard is zero; -EBADMSG otherwise. At most HS_SHARD_ALIGN bytes. */
int hs__pk_check_zero(const hs__pk_shard *sh, uint64_t from, uint64_t to, hs_err *err) HS_MUST_CHECK;

/* ---- manifest.c ---- */

/* How experts are dealt out to drives, dst first; n = 1: to dst alone. */
typedef struct hs__pk_stripe {
    uint32_t n, share[HS_PACK_MAX_STRIPE + 1];
    uint64_t split_bytes; /* the least that a drive gets of an expert, if not all */
} hs__pk_stripe;

/* Where shards lie; dst first. */
typedef struct hs__pk_folders {
    char *path[HS_PACK_MAX_STRIPE + 1]; /* [n] absolute; of a state file the first is NULL */
    int lock[HS_PACK_MAX_STRIPE + 1];   /* -1: none; dst's is its packer's */
    uint32_t n;
} hs__pk_folders;

/* What a pack is made with, once decided. */
typedef struct hs__pk_recipe {
    uint8_t stamp[16];
    uint32_t codecs; /* HS__PK_ZSTD, HS__PK_EXPONENT */
    int level;
    uint64_t shard_bytes;
    bool keep_raw; /* false if nothing is compressed */
    hs__pk_stripe stripe;
} hs__pk_recipe;

void hs__pk_identity(const hs__pk_recipe *r, uint8_t ret[16]);
/* The state file of an unfinished pack: -ENOENT, -EINVAL. folders (may be NULL): close them. */
int hs__pk_state_read(const char *dst, hs__pk_recipe *ret, hs__pk_folders *folders, hs_err *err) HS_MUST_CHECK;
int hs__pk_state_write(const char *dst, const hs__pk_recipe *r, const hs__pk_folders *folders,
                       hs_err *err) HS_MUST_CHECK;
int hs__pk_manifest_write(const char *dst, const hs__pk_plan *p, const hs__pk_recipe *r,
                          const hs__pk_shard_info *shards, hs_err *err) HS_MUST_CHECK;
/* With what a pack was made, and from where (borrowed), as its manifest says; the stamp is left alone. */
int hs__pk_manifest_recipe(const json_t *manifest, const char *path, hs__pk_recipe *ret, const char **ret_source,
                           hs_err *err) HS_MUST_CHECK;
/* Checks the checksum that ends the manifest's text. */
bool hs__pk_manifest_is_whole(const char *text, size_t len);
void hs__pk_hex(const uint8_t *bytes, size_t n, char *ret);
void hs__pk_hex64(uint64_t v, char ret[17]);
bool hs__pk_parse_hex(const char *text, uint8_t *ret, size_t n);
bool hs__pk_parse_hex64(const char *text, uint64_t *ret);

/* ---- stripe.c: experts over several drives ---- */

/* Resolves and locks the folders of dst, which exists, and stripe; makes these, unless an unfinished pack has begun in
 * them: then they must be its own. close is due whatever comes back. */
int hs__pk_folders_open(hs__pk_folders *f, const hs_pack_options *o, const hs__pk_folders *begun,
                        hs_err *err) HS_MUST_CHECK;
void hs__pk_folders_close(hs__pk_folders *f);
/* -EEXIST if stripe is given and a shard of a complete pack lies elsewhere. */
int hs__pk_folders_check(const hs_pack_options *o, const hs__pk_packed *p, hs_err *err) HS_MUST_CHECK;
/* The folders' shares as given, or by the speed of their drives, measured with a file of 256 MiB in each; else equal.
 * *ret_speed: bytes/s of all, if measured, else 0. bytes: of the model. */
void hs__pk_stripe_weigh(hs__pk_work *w, const hs__pk_folders *f, const hs_pack_options *o, uint64_t bytes,
                         hs__pk_stripe *ret, double *ret_speed);
/* Cuts the plan's experts shards anew, by drive. */
int hs__pk_plan_stripe(hs__pk_plan *p, const hs__pk_stripe *s, uint64_t shard_bytes, hs_err *err) HS_MUST_CHECK;

/* ---- remake.c: what the source of a pack gives again ---- */

typedef struct hs__pk_remaker hs__pk_remaker;
/* -ENOENT: the manifest names no source; -ESTALE: it is not what was packed any more. */
int hs__pk_remaker_create(hs__pk_work *w, const hs__pk_packed *p, hs__pk_remaker **ret, hs_err *err) HS_MUST_CHECK;
void hs__pk_remaker_destroy(hs__pk_remaker **m);
const char *hs__pk_remaker_source(const hs__pk_remaker *m);
/* A record, zeros up to the next page included, in pieces of whole pages: n bytes that belong at `at`.
 * Nothing is handed out before the whole record's checksums have come out as the shard's table says (else -EBADMSG). */
typedef int (*hs__pk_page_sink)(void *ctx, uint64_t at, const uint8_t *pages, uint32_t n, hs_err *err);
int hs__pk_remake_record(hs__pk_remaker *m, const hs__pk_shard *sh, uint32_t record, hs__pk_page_sink sink, void *ctx,
                         hs_err *err) HS_MUST_CHECK;
/* A container's header, or a copied file, written anew; -EBADMSG: the source's has another checksum. */
int hs__pk_remake_header(hs__pk_remaker *m, uint32_t source, hs_err *err) HS_MUST_CHECK;
int hs__pk_remake_file(hs__pk_remaker *m, uint32_t file, hs_err *err) HS_MUST_CHECK;

/* ---- verify.c, check.c ---- */

/* All of hs_verify for a packed folder whose manifest is open. */
int hs__pk_verify(hs__pk_work *w, hs__pk_packed *p, hs_err *err) HS_MUST_CHECK;
/* Compares a pack with a source: containers, records, files. Problems are told through w. */
int hs__pk_compare(hs__pk_work *w, hs__pk_packed *p, const hs__pk_plan *plan, hs_err *err) HS_MUST_CHECK;
/* The same without reading weights: names, sizes, stamps, small files' contents. */
int hs__pk_compare_outside(hs__pk_work *w, const hs__pk_packed *p, const hs__pk_plan *plan, bool *ret_same_stamp,
                           hs_err *err) HS_MUST_CHECK;

#endif

/* store_int.h - the inside of an opened source, shared by its readers and the object index. */
#ifndef HS_STORE_STORE_INT_H
#define HS_STORE_STORE_INT_H

#include "base/json.h"
#include "hotset/shard_format.h"
#include "store/disk.h"
#include "store/io.h"
#include "store/source.h"

#define HS__MAX_FILES        4096u
#define HS__MAX_STACK        4096u /* experts that one tensor stacks */
#define HS__MAX_TENSORS      (1u << 22)
#define HS__MAX_JSON         (64u << 20)
#define HS__MAX_HEADER       100000000u /* safetensors' own cap */
#define HS__MAX_TENSOR_BYTES (1ull << 40)

/* Strings that live as long as the source. */
typedef struct hs__names {
    struct hs__names_block *head;
    uint64_t bytes;
} hs__names;
char *hs__names_alloc(hs__names *n, size_t len); /* len bytes to be filled, and a NUL; NULL when out of memory */
char *hs__names_add(hs__names *n, const char *s, size_t len);
void hs__names_free(hs__names *n);

/* A file that holds weights: a safetensors file, or a shard. */
typedef struct hs__file {
    const char *name;
    const char *path;
    int fd; /* buffered */
    uint64_t bytes;
} hs__file;

/* A shard's table, checked. */
typedef struct hs__shard {
    hs_shard_header header;
    uint8_t *table; /* what the next three point into */
    const hs_shard_record *records;
    const hs_shard_part *parts;
    const hs_shard_frame *frames;
    uint32_t first_record; /* global number of records[0] */
    bool raw;              /* of records that other shards have compressed */
} hs__shard;

/* A tensor's place in a shard; of one that is cut, that of its first bytes. */
typedef struct hs__place {
    uint32_t shard, record, part; /* record within the shard, part within the shard's parts */
    uint32_t more;                /* 1 + index into hs_source.more of the bytes that follow; 0 = that is all */
} hs__place;

/* The vocabulary of a GGUF file; strings are in the source's names. */
typedef struct hs__vocab {
    hs_vocab_data data;
    hs_bytes *tokens, *merges;
    float *scores;
    int32_t *types;
    uint32_t n_scores, n_types;
    uint64_t bytes; /* of the arrays */
} hs__vocab;

struct hs_source {
    const char *path;   /* as given */
    const char *folder; /* what to put before a file's name */
    json_t *config, *generation;
    hs__names names;
    hs_tensor *tensors;
    uint32_t n_tensors;
    size_t cap_tensors;
    hs__file *files; /* safetensors files, parts of a GGUF model, or shards */
    uint32_t n_files;
    struct {
        const char *path;
        hs__file *files;       /* [n_files] */
    } mirrors[HS_MAX_MIRRORS]; /* the same files again */
    uint32_t n_mirrors;
    bool packed, gguf;
    bool prefers_raw;      /* packed: records of raw shards take the place of compressed ones */
    uint64_t raw_bytes;    /* packed: of raw shards, read or not */
    hs__vocab vocab;       /* if gguf */
    uint64_t config_bytes; /* memory of a GGUF config, about */
    hs__shard *shards;     /* [n_files] if packed */
    hs__place *places;     /* [n_tensors] if packed */
    hs__place *more;       /* [n_more] the other places of tensors that are cut */
    uint32_t n_more;
    uint8_t identity[16];
    hs_checkpoint checkpoint;
};

/* Appends the tensors of one safetensors header (text of len bytes; the buffer of `data` bytes begins at data_start of
 * file `file`). Every rule of the container is checked. `where` is for sentences. */
int hs__safetensors_parse(hs_source *s, const char *where, uint32_t file, const char *text, size_t len,
                          uint64_t data_start, uint64_t data, hs_err *err) HS_MUST_CHECK;
/* Opens all safetensors files of the folder and parses their headers. */
int hs__safetensors_open(hs_source *s, hs_err *err) HS_MUST_CHECK;
/* Has this folder a manifest of ours? One that cannot be read or parsed counts as ours, damaged; that of another tool
 * does not. */
bool hs__is_packed(const char *path);
/* Room for one more tensor in the directory, zeroed; n_tensors stays. NULL: no memory, or more than
 * HS__MAX_TENSORS. */
hs_tensor *hs__tensor_append(hs_source *s);
/* Opens a GGUF file and the other parts of its model: config, vocabulary and directory. */
int hs__gguf_open(hs_source *s, hs_err *err) HS_MUST_CHECK;
/* The parts of a GGUF model, while they are read in order. */
typedef struct hs__gguf_set {
    uint32_t n_parts;       /* 0: part 0 will tell */
    int64_t tensors_wanted; /* of all parts, as part 0 says; -1 = it does not */
    uint64_t tensors;       /* so far, stacks of experts counted as one */
} hs__gguf_set;

/* Reads the header of part `index`, whose first bytes are in f, of which the whole has `bytes`; its tensors get file =
 * index and are sorted by offset. Config and vocabulary come from part 0. After the last part the number of tensors is
 * checked. *ret_data_start: where header and padding end. */
int hs__gguf_parse(hs_source *s, const hs__file *f, uint64_t bytes, uint32_t index, hs__gguf_set *set,
                   uint64_t *ret_data_start, hs_err *err) HS_MUST_CHECK;
void hs__gguf_free(hs_source *s);
/* The manifest at `path` (json_decref), its format, version and seal checked. */
int hs__manifest_read(const char *path, json_t **ret, hs_err *err) HS_MUST_CHECK;
/* Opens packed source s once more, with the raw records that it keeps in the place of compressed ones. -ENOENT: it has
 * none. */
int hs__kept_open(const hs_source *s, hs_source **ret, hs_err *err) HS_MUST_CHECK;
/* Opens what packed source s was packed from. An error says why that cannot take its place. */
int hs__origin_open(const hs_source *s, hs_source **ret, hs_err *err) HS_MUST_CHECK;
/* Reads manifest, headers and shard tables. */
int hs__packed_open(hs_source *s, hs_err *err) HS_MUST_CHECK;

/* Finds every tensor's place in the shards' tables, which are checked. Tensors are still by container, then offset;
 * first: [n_sources + 1] of each container the first one. */
int hs__place_tensors(hs_source *s, const uint32_t *first, uint32_t n_sources, hs_err *err) HS_MUST_CHECK;

/* Opens `name` in the source's folder; *ret is filled. */
int hs__file_open(hs_source *s, const char *name, hs__file *ret, hs_err *err) HS_MUST_CHECK;
/* Why a file that does not begin as it should: " (...)", or "". */
const char *hs__file_instead(const hs__file *f);
/* A second, independent descriptor of the same file (its flags may be changed). -ESTALE if the path now leads elsewhere
 * or the size has changed. */
int hs__file_reopen(const hs__file *f, int *ret_fd, hs_err *err) HS_MUST_CHECK;
/* Of file f in copy c: 0 is the source itself, then its mirrors. */
static inline const hs__file *hs__copy_file(const hs_source *s, uint32_t c, uint32_t f)
{
    return c ? &s->mirrors[c - 1].files[f] : &s->files[f];
}
/* n <= 16 hexadecimal digits, nothing else; false if there is any other character. */
bool hs__parse_hex(const char *text, size_t n, uint64_t *ret);
/* A plain file name: no slash, not "." or "..", at most 255 bytes. */
bool hs__name_is_plain(const char *name);

/* Raw size of a part with its padding, and its number of frames. */
static inline uint64_t hs__part_padded(const hs_shard_part *p)
{
    return (p->bytes + HS_PART_ALIGN - 1) / HS_PART_ALIGN * HS_PART_ALIGN;
}
static inline uint32_t hs__part_frames(const hs_shard_part *p)
{
    return (uint32_t)((hs__part_padded(p) + HS_FRAME_RAW - 1) / HS_FRAME_RAW);
}
/* Where the bytes behind a place are; NULL: there are none. */
static inline const hs__place *hs__place_next(const hs_source *s, const hs__place *p)
{
    return p->more ? &s->more[p->more - 1] : NULL;
}
/* First frame, within the shard's frames, of a part (within the shard's parts) of rec. */
uint32_t hs__first_frame(const hs__shard *sh, const hs_shard_record *rec, uint32_t part);

/* A file to measure its drive with: O_DIRECT if asked for and not refused; else the page cache forgets it. fd, or an
 * error. */
int hs__disk_open(const char *file, bool buffered, uint64_t *ret_bytes, hs_err *err);
hs_io_engine_kind hs__disk_engine(const char *name); /* NULL = auto */

/* Waves of one size, and what they tell of a drive. */
typedef struct hs__wave_times {
    double took, waited; /* sums; waited: beyond what goes on beside them */
    double slowest;
    uint32_t n;
} hs__wave_times;
void hs__wave_add(hs__wave_times *t, double s, double beside_s);
/* At least two of each. */
void hs__wave_fit(const hs_disk_waves *run, const hs__wave_times *few, const hs__wave_times *many,
                  hs_disk_wave_times *ret);

#endif

/*
 * writer.c - one shard: NAME.tmp until everything of it is on the disk, then NAME. Beside it lies, until then, the
 * journal (journal.c), by which the next run goes on behind the last record that is whole.
 *
 * Invariants: records begin on HS_SHARD_ALIGN; every byte between them, after the table and after header and footer is
 * written as zero, so that a record that is begun again (with other codecs) leaves nothing behind; header and footer
 * are written only after an fsync of all the rest, so a file without them has never been a shard.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pack/pack_int.h"

#define FLUSH (32u << 20) /* written bytes after which the kernel is asked to begin writing back */
#define CHUNK (1u << 20)  /* of a record that is read again */

struct hs__pk_writer {
    char *tmp, *path;
    int fd;
    hs__pk_journal *journal;
    hs_shard_header header;
    hs_shard_record *records;
    hs_shard_part *parts;
    hs_shard_frame *frames;
    uint32_t n_records, n_parts, n_frames; /* finished */
    uint32_t now_parts, now_frames;        /* of the record at work */
    uint64_t max_parts, max_frames;
    uint64_t at;      /* where the next byte goes */
    uint64_t flushed; /* up to here writing back has begun */
    uint64_t raw_bytes, stored_bytes;
};

static int failed(const hs__pk_writer *w, int code, hs_err *err)
{
    return hs_err_set(err, code, "%s: %s", w->path, hs_strerror(code));
}

static int allocate(hs__pk_writer *w, const hs__pk_plan *p, const hs__pk_shard_plan *s, const char *dst, hs_err *err)
{
    for (uint32_t i = 0; i < s->n_records; i++) {
        const hs__pk_record *rec = &p->records[hs__pk_record_of(s, i)];
        w->max_parts += rec->n_parts;
        for (uint32_t k = 0; k < rec->n_parts; k++)
            w->max_frames += hs__pk_n_frames(p->parts[rec->first_part + k].bytes);
    }
    if (s->n_records > HS_SHARD_MAX_RECORDS || w->max_parts > HS_SHARD_MAX_PARTS || w->max_frames > HS_SHARD_MAX_FRAMES)
        return hs_err_set(err, -E2BIG, "%s: more records or frames than a shard may have: lower the shard size",
                          s->name);
    w->records = hs_calloc(s->n_records + 1u, sizeof *w->records);
    w->parts = hs_calloc(w->max_parts + 1u, sizeof *w->parts);
    w->frames = hs_calloc(w->max_frames + 1u, sizeof *w->frames);
    w->path = hs__pk_path(dst, s->name, err);
    w->tmp = w->path ? hs_asprintf("%s.tmp", w->path) : NULL;
    if (!w->records || !w->parts || !w->frames || !w->tmp)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->name);
    return 0;
}

static int pad(hs__pk_writer *w, hs_err *err)
{
    static const uint8_t zero[HS_SHARD_ALIGN];
    uint64_t end = hs_align_up(w->at, HS_SHARD_ALIGN);
    int r = hs_pwrite_full(w->fd, zero, (size_t)(end - w->at), (off_t)w->at);
    w->at = end;
    return r < 0 ? failed(w, r, err) : 0;
}

/* The record at work is whole: zeros up to the next one's place. */
static int close_record(hs__pk_writer *w, hs_err *err)
{
    const hs_shard_record *rec = &w->records[w->n_records++];
    w->n_parts += w->now_parts;
    w->n_frames += w->now_frames;
    w->raw_bytes += rec->raw_bytes;
    w->stored_bytes += rec->stored_bytes;
    return pad(w, err);
}

/* ---- what an earlier run has left ---- */

bool hs__pk_is_planned(const hs__pk_plan *p, const hs__pk_record *want, const hs_shard_record *got,
                       const hs_shard_part *parts)
{
    bool same = got->n_parts == want->n_parts;
    for (uint32_t k = 0; same && k < want->n_parts; k++) {
        const hs__pk_part *a = &p->parts[want->first_part + k];
        same = a->source == parts[k].source && a->offset == parts[k].source_offset && a->bytes == parts[k].bytes;
    }
    return same;
}

/* Would this record be written here? Its entry's checksum is right, so it is what some run of ours has written. */
static bool belongs_here(const hs__pk_writer *w, const hs__pk_plan *p, const hs__pk_record *want)
{
    const hs_shard_record *rec = &w->records[w->n_records];
    uint64_t stored = 0;
    for (uint32_t k = 0; k < rec->n_frames; k++)
        stored += w->frames[w->n_frames + k].stored_bytes;
    return hs__pk_is_planned(p, want, rec, &w->parts[w->n_parts]) && rec->offset == w->at &&
           rec->first_part == w->n_parts && rec->first_frame == w->n_frames && rec->raw_bytes == want->raw_bytes &&
           rec->stored_bytes == stored;
}

/* 0: the record's bytes are all there. */
static int compare_bytes(const hs__pk_writer *w, const hs_shard_record *rec, uint8_t *chunk, XXH3_state_t *h)
{
    int r = 0;
    XXH3_64bits_reset(h);
    for (uint64_t at = 0; r == 0 && at < rec->stored_bytes; at += CHUNK) {
        uint64_t n = rec->stored_bytes - at < CHUNK ? rec->stored_bytes - at : CHUNK;
        r = hs_pread_full(w->fd, chunk, n, (off_t)(rec->offset + at));
        XXH3_64bits_update(h, chunk, n);
    }
    return r == 0 && XXH3_64bits_digest(h) == rec->stored_hash ? 0 : -ENODATA;
}

/* Takes over records as long as all is well with them; what is behind is written again. */
static int take_over(hs__pk_writer *w, const hs__pk_plan *p, const hs__pk_shard_plan *s, hs_err *err)
{
    uint8_t *chunk = hs_malloc(CHUNK);
    XXH3_state_t *h = XXH3_createState();
    int r = chunk && h ? 0 : -ENOMEM;
    posix_fadvise(w->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    while (r == 0 && w->n_records < s->n_records) {
        const hs__pk_record *want = &p->records[hs__pk_record_of(s, w->n_records)];
        hs_shard_record *rec = &w->records[w->n_records], counts = {.n_parts = want->n_parts};
        for (uint32_t k = 0; k < want->n_parts; k++)
            counts.n_frames += hs__pk_n_frames(p->parts[want->first_part + k].bytes);
        r = hs__pk_journal_next(w->journal, &counts, rec, &w->parts[w->n_parts], &w->frames[w->n_frames]);
        if (r < 0)
            break;
        if (!belongs_here(w, p, want) || compare_bytes(w, rec, chunk, h) < 0) {
            hs__pk_journal_back(w->journal, rec);
            r = -ENODATA;
            break;
        }
        w->at = rec->offset + rec->stored_bytes;
        w->now_parts = rec->n_parts;
        w->now_frames = rec->n_frames;
        r = close_record(w, err);
    }
    w->records[w->n_records] = (hs_shard_record){0};
    w->flushed = w->at;
    hs_free(chunk);
    XXH3_freeState(h);
    return r == -ENODATA ? 0 : r == -ENOMEM ? hs_err_set(err, r, "%s: out of memory", w->path) : r;
}

/* Both files, old or new. */
static int open_files(hs__pk_writer *w, const hs__pk_plan *p, const hs__pk_shard_plan *s, const uint8_t identity[16],
                      hs_err *err)
{
    struct stat st;
    bool is_new = true;
    int r = hs__pk_journal_open(w->path, identity, &w->journal, &is_new, err);
    if (r < 0)
        return r;
    w->fd = is_new ? -1 : open(w->tmp, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (w->fd >= 0 && fstat(w->fd, &st) == 0 && S_ISREG(st.st_mode))
        return take_over(w, p, s, err);
    if (w->fd >= 0)
        close(w->fd);
    unlink(w->tmp);
    w->fd = open(w->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, p->shard_mode);
    return w->fd < 0 ? hs_err_set(err, -errno, "%s: %s", w->tmp, hs_strerror(-errno)) : 0;
}

int hs__pk_writer_create(const hs__pk_plan *p, uint32_t shard, const char *dst, const uint8_t identity[16],
                         hs__pk_writer **ret, uint32_t *ret_done, hs_err *err)
{
    const hs__pk_shard_plan *s = &p->shards[shard];
    hs__pk_writer *w = hs_calloc(1, sizeof *w);
    if (!w)
        return hs_err_set(err, -ENOMEM, "%s: out of memory", s->name);
    w->fd = -1;
    w->at = HS_SHARD_ALIGN;
    memcpy(w->header.magic, HS_SHARD_MAGIC, sizeof w->header.magic);
    w->header.version = HS_SHARD_VERSION;
    w->header.n_records = s->n_records;
    memcpy(w->header.identity, identity, sizeof w->header.identity);
    int r = allocate(w, p, s, dst, err);
    if (r == 0)
        r = open_files(w, p, s, identity, err);
    if (r < 0) {
        hs__pk_writer_destroy(&w, true);
        return r;
    }
    *ret_done = w->n_records;
    *ret = w;
    return 0;
}

void hs__pk_writer_destroy(hs__pk_writer **writer, bool keep)
{
    hs__pk_writer *w = *writer;
    if (!w)
        return;
    *writer = NULL;
    keep = keep && w->n_records;
    if (w->fd >= 0) {
        close(w->fd);
        if (!keep)
            unlink(w->tmp);
    }
    hs__pk_journal_close(&w->journal, keep);
    hs_free(w->tmp);
    hs_free(w->path);
    hs_free(w->records);
    hs_free(w->parts);
    hs_free(w->frames);
    hs_free(w);
}

void hs__pk_writer_begin(hs__pk_writer *w, const hs__pk_plan *p, uint32_t record, const uint8_t *codecs)
{
    const hs__pk_record *rec = &p->records[record];
    hs_shard_record *out = &w->records[w->n_records];
    uint64_t raw = 0;
    if (out->offset)
        w->at = out->offset; /* begun before */
    *out = (hs_shard_record){.offset = w->at,
                             .raw_bytes = rec->raw_bytes,
                             .first_part = w->n_parts,
                             .n_parts = rec->n_parts,
                             .first_frame = w->n_frames};
    for (uint32_t i = 0; i < rec->n_parts; i++) {
        const hs__pk_part *part = &p->parts[rec->first_part + i];
        w->parts[w->n_parts + i] = (hs_shard_part){.source = part->source,
                                                   .codec = codecs[i],
                                                   .source_offset = part->offset,
                                                   .bytes = part->bytes,
                                                   .raw_offset = raw};
        raw += hs__pk_padded(part->bytes);
    }
    w->now_parts = rec->n_parts;
    w->now_frames = 0;
}

/* Lets the disk work while the next frames are encoded; the fsync at the end then has little left to do. */
static void write_back(hs__pk_writer *w)
{
    if (w->at < w->flushed + FLUSH)
        return;
    sync_file_range(w->fd, (off_t)w->flushed, (off_t)(w->at - w->flushed), SYNC_FILE_RANGE_WRITE);
    w->flushed = w->at;
}

int hs__pk_writer_frame(hs__pk_writer *w, const void *stored, uint32_t n, uint32_t check, hs_err *err)
{
    int r = hs_pwrite_full(w->fd, stored, n, (off_t)w->at);
    if (r < 0)
        return failed(w, r, err);
    w->frames[w->n_frames + w->now_frames++] = (hs_shard_frame){n, check};
    w->at += n;
    w->records[w->n_records].stored_bytes += n;
    write_back(w);
    return 0;
}

int hs__pk_writer_end(hs__pk_writer *w, uint64_t stored_hash, uint64_t raw_hash, hs_err *err)
{
    hs_shard_record *rec = &w->records[w->n_records];
    hs_shard_part *parts = &w->parts[w->n_parts];
    hs_shard_frame *frames = &w->frames[w->n_frames];
    rec->n_frames = w->now_frames;
    rec->stored_hash = stored_hash;
    rec->raw_hash = raw_hash;
    int r = close_record(w, err);
    return r == 0 ? hs__pk_journal_add(w->journal, rec, parts, frames, err) : r;
}

static int write_table(hs__pk_writer *w, hs_err *err)
{
    const struct {
        const void *p;
        uint64_t n;
    } pieces[] = {{w->records, w->n_records * sizeof *w->records},
                  {w->parts, w->n_parts * sizeof *w->parts},
                  {w->frames, w->n_frames * sizeof *w->frames}};
    XXH3_state_t *h = XXH3_createState();
    if (!h)
        return failed(w, -ENOMEM, err);
    XXH3_64bits_reset(h);
    w->header.table_offset = w->at;
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof pieces / sizeof *pieces; i++) {
        r = hs_pwrite_full(w->fd, pieces[i].p, pieces[i].n, (off_t)w->at);
        XXH3_64bits_update(h, pieces[i].p, pieces[i].n);
        w->at += pieces[i].n;
    }
    w->header.n_parts = w->n_parts;
    w->header.n_frames = w->n_frames;
    w->header.table_bytes = w->at - w->header.table_offset;
    w->header.table_hash = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return r < 0 ? failed(w, r, err) : pad(w, err);
}

static int write_ends(hs__pk_writer *w, hs_err *err)
{
    uint8_t page[HS_SHARD_ALIGN] = {0};
    w->header.file_bytes = w->at + HS_SHARD_ALIGN;
    w->header.header_hash = XXH3_64bits(&w->header, offsetof(hs_shard_header, header_hash));
    hs_shard_footer footer = {
        .version = HS_SHARD_VERSION, .file_bytes = w->header.file_bytes, .header_hash = w->header.header_hash};
    memcpy(footer.magic, HS_SHARD_FOOTER_MAGIC, sizeof footer.magic);
    footer.footer_hash = XXH3_64bits(&footer, offsetof(hs_shard_footer, footer_hash));
    memcpy(page, &footer, sizeof footer);
    int r = hs_pwrite_full(w->fd, page, sizeof page, (off_t)w->at);
    memset(page, 0, sizeof page);
    memcpy(page, &w->header, sizeof w->header);
    if (r == 0)
        r = hs_pwrite_full(w->fd, page, sizeof page, 0);
    if (r == 0 && ftruncate(w->fd, (off_t)w->header.file_bytes) < 0)
        r = -errno;
    return r < 0 ? failed(w, r, err) : 0;
}

int hs__pk_writer_finish(hs__pk_writer *w, hs__pk_shard_info *ret, hs_err *err)
{
    int r = write_table(w, err);
    if (r == 0 && fsync(w->fd) < 0)
        r = failed(w, -errno, err);
    if (r == 0)
        r = write_ends(w, err);
    if (r < 0)
        return r;
    posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
    r = hs__pk_commit(w->fd, w->tmp, w->path, err);
    w->fd = -1;
    if (r < 0)
        return r;
    hs__pk_journal_close(&w->journal, false);
    *ret = (hs__pk_shard_info){.bytes = w->header.file_bytes,
                               .records = w->n_records,
                               .header_hash = w->header.header_hash,
                               .raw_bytes = w->raw_bytes,
                               .stored_bytes = w->stored_bytes};
    return 0;
}

void hs__pk_writer_forget(const char *shard)
{
    static const char *const ends[] = {".tmp", ".table.tmp"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (snprintf(path, sizeof path, "%s%s", shard, ends[i]) < (int)sizeof path)
            unlink(path);
}

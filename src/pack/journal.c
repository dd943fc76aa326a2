/*
 * journal.c - which records of an unfinished shard are written: their entries of the table, one after the other.
 *
 * Nothing here is fsynced, and nothing is believed: an entry has a checksum of itself, and whoever goes on compares
 * each record's bytes with its hash. What a power cut has taken of either is just written again.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "pack/pack_int.h"

#define MAGIC "HOTSPART"

struct hs__pk_journal {
    char *path;
    int fd;
    uint64_t at; /* where the next entry goes, or is */
};

/* How a journal begins; an entry is a record, its parts, its frames, and their XXH3_64bits. */
typedef struct opening {
    char magic[8];
    uint8_t identity[16];
} opening;

int hs__pk_journal_open(const char *shard, const uint8_t identity[16], hs__pk_journal **ret, bool *ret_new, hs_err *err)
{
    hs__pk_journal *j = hs_calloc(1, sizeof *j);
    opening is, want = {.magic = MAGIC};
    memcpy(want.identity, identity, sizeof want.identity);
    if (!j || !(j->path = hs_asprintf("%s.table.tmp", shard))) {
        hs_free(j);
        return hs_err_set(err, -ENOMEM, "%s: out of memory", shard);
    }
    int r = 0;
    j->at = sizeof is;
    j->fd = open(j->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    bool ours = j->fd >= 0 && hs_pread_full(j->fd, &is, sizeof is, 0) == 0 && !memcmp(&is, &want, sizeof is);
    if (!ours) {
        if (j->fd >= 0)
            close(j->fd);
        unlink(j->path);
        j->fd = open(j->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        r = j->fd < 0 ? -errno : hs_pwrite_full(j->fd, &want, sizeof want, 0);
        if (r < 0)
            hs_err_set(err, r, "%s: %s", j->path, hs_strerror(r));
    }
    if (r < 0) {
        hs__pk_journal_close(&j, false);
        return r;
    }
    *ret = j;
    *ret_new = !ours;
    return 0;
}

void hs__pk_journal_close(hs__pk_journal **journal, bool keep)
{
    hs__pk_journal *j = *journal;
    if (!j)
        return;
    *journal = NULL;
    if (j->fd >= 0) {
        close(j->fd);
        if (!keep)
            unlink(j->path);
    }
    hs_free(j->path);
    hs_free(j);
}

/* The three pieces of an entry, and its checksum; -ENOMEM. */
typedef struct entry {
    struct {
        void *p;
        uint64_t n;
    } pieces[3];
} entry;

static entry entry_of(hs_shard_record *rec, hs_shard_part *parts, hs_shard_frame *frames)
{
    return (entry){
        {{rec, sizeof *rec}, {parts, rec->n_parts * sizeof *parts}, {frames, rec->n_frames * sizeof *frames}}};
}

static int hash_of(const entry *e, uint64_t *ret)
{
    XXH3_state_t *h = XXH3_createState();
    if (!h)
        return -ENOMEM;
    XXH3_64bits_reset(h);
    for (int i = 0; i < 3; i++)
        XXH3_64bits_update(h, e->pieces[i].p, e->pieces[i].n);
    *ret = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return 0;
}

int hs__pk_journal_next(hs__pk_journal *j, const hs_shard_record *want, hs_shard_record *ret, hs_shard_part *parts,
                        hs_shard_frame *frames)
{
    uint64_t at = j->at, hash = 0, is = 0;
    int r = hs_pread_full(j->fd, ret, sizeof *ret, (off_t)at);
    if (r < 0 || ret->n_parts != want->n_parts || ret->n_frames != want->n_frames)
        return -ENODATA;
    entry e = entry_of(ret, parts, frames);
    for (int i = 0; r == 0 && i < 3; i++) {
        r = hs_pread_full(j->fd, e.pieces[i].p, e.pieces[i].n, (off_t)at);
        at += e.pieces[i].n;
    }
    if (r == 0)
        r = hs_pread_full(j->fd, &is, sizeof is, (off_t)at);
    if (r == 0)
        r = hash_of(&e, &hash);
    if (r < 0 || hash != is)
        return r == -ENOMEM ? r : -ENODATA;
    j->at = at + sizeof is;
    return 0;
}

void hs__pk_journal_back(hs__pk_journal *j, const hs_shard_record *rec)
{
    j->at -=
        sizeof *rec + rec->n_parts * sizeof(hs_shard_part) + rec->n_frames * sizeof(hs_shard_frame) + sizeof(uint64_t);
}

int hs__pk_journal_add(hs__pk_journal *j, hs_shard_record *rec, hs_shard_part *parts, hs_shard_frame *frames,
                       hs_err *err)
{
    entry e = entry_of(rec, parts, frames);
    uint64_t hash;
    int r = hash_of(&e, &hash);
    for (int i = 0; r == 0 && i < 3; i++) {
        r = hs_pwrite_full(j->fd, e.pieces[i].p, e.pieces[i].n, (off_t)j->at);
        j->at += e.pieces[i].n;
    }
    if (r == 0)
        r = hs_pwrite_full(j->fd, &hash, sizeof hash, (off_t)j->at);
    j->at += sizeof hash;
    return r < 0 ? hs_err_set(err, r, "%s: %s", j->path, hs_strerror(r)) : 0;
}

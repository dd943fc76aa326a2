/* rooms: cli, max_len: 4096 */
/*
 * fuzz_client.c - what `run` gets from a daemon that is not one: status line, header, chunks, event stream, JSON. The
 * socket's functions are replaced by ones that hand out the input in pieces; its first byte chooses the pieces and how
 * the connection ends.
 *
 * However the bytes are cut, the same text is shown and the call ends the same way, after finitely many reads.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "cli/chat.h"
#include "fuzz.h"

static struct {
    const uint8_t *data;
    size_t size, at;
    uint32_t seed;
    bool whole; /* in reads as big as they are asked for, without interruption */
    bool reset; /* at the end ECONNRESET, else EOF */
    size_t n_reads;
} wire;

int socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return dup(STDERR_FILENO);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    (void)fd, (void)addr, (void)len;
    return 0;
}

ssize_t send(int fd, const void *data, size_t n, int flags)
{
    (void)fd, (void)data, (void)flags;
    return (ssize_t)n;
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    (void)timeout;
    for (nfds_t i = 0; i < n; i++)
        fds[i].revents = fds[i].events;
    return (int)n;
}

ssize_t recv(int fd, void *buf, size_t cap, int flags)
{
    (void)fd, (void)flags;
    uint32_t dice = wire.seed >> 16;
    wire.seed = wire.seed * 1664525 + 1013904223;
    FUZZ_CHECK(wire.n_reads++ < 10 * wire.size + 100);
    if (!wire.whole && dice % 16 == 0) {
        errno = dice % 32 ? EAGAIN : EINTR;
        return -1;
    }
    if (wire.at == wire.size && wire.reset) {
        errno = ECONNRESET;
        return -1;
    }
    size_t piece = wire.whole ? cap : 1 + dice % 50, left = wire.size - wire.at;
    piece = piece < left ? piece : left;
    piece = piece < cap ? piece : cap;
    memcpy(buf, wire.data + wire.at, piece);
    wire.at += piece;
    return (ssize_t)piece;
}

static void on_text(void *ctx, bool is_reasoning, const char *text, size_t len)
{
    hs_buf_puts(ctx, is_reasoning ? "\nREASONING " : "\nTEXT ");
    hs_buf_append(ctx, text, len);
}

static void on_status(void *ctx, const char *stage, uint64_t done, uint64_t total)
{
    FUZZ_CHECK(done <= total);
    hs_buf_printf(ctx, "\nSTATUS %s %llu/%llu", stage, (unsigned long long)done, (unsigned long long)total);
}

static void transcribe(const uint8_t *data, size_t size, bool whole, const json_t *messages, hs_buf *out)
{
    hs_chat_wishes none = {-1, -1, -1, -1, -1, -1, NULL};
    hs_chat_sink sink = {out, on_text, on_status};
    hs_chat_cost cost;
    hs_chat *chat;
    hs_err err = {0};
    memset(&wire, 0, sizeof wire);
    wire.data = data + 1;
    wire.size = size - 1;
    wire.seed = data[0] * 0x10001u;
    wire.whole = whole;
    wire.reset = data[0] & 1;
    FUZZ_CHECK(hs_chat_open_remote("m", "unix:/none", "key", &none, &chat, &err) == 0);
    int r = chat->ops->ask(chat, messages, &sink, &cost, &err);
    FUZZ_CHECK(r <= 0 && (r == 0 || *err.text));
    hs_buf_printf(out, "\nEND %d %s %lld %lld %d", r, r < 0 ? err.text : "", (long long)cost.prompt_tokens,
                  (long long)cost.generated_tokens, cost.hit_length);
    json_decref(cost.hotset);
    chat->ops->close(chat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hs_buf whole, pieces;
    if (!size)
        return 0;
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "x");
    hs_buf_init(&whole, 1u << 20);
    hs_buf_init(&pieces, 1u << 20);
    transcribe(data, size, true, messages, &whole);
    transcribe(data, size, false, messages, &pieces);
    FUZZ_CHECK(whole.len == pieces.len && !memcmp(whole.data, pieces.data, whole.len));
    hs_buf_deinit(&whole);
    hs_buf_deinit(&pieces);
    json_decref(messages);
    return 0;
}

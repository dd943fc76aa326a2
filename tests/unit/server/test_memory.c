/* labels: unit */
/*
 * test_memory.c - what connections hold at their maxima against what hs_server_memory_bytes counts for them: clients
 * that read nothing of endless answers and send as much as is taken meanwhile.
 */
#include "harness.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "sanitized.h"
#include "text/tokenizer.h"

#define N 40

static harness H;

/* Bytes that the process has allocated. */
static size_t held(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Sends until the peer takes no more. */
static void stuff(int fd)
{
    static char fill[4096];
    memset(fill, 'x', sizeof fill);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (send(fd, fill, sizeof fill, MSG_NOSIGNAL) > 0)
        ;
}

/* What is held once it is more than `least` (a busy machine takes its time for that) and grows no more. */
static size_t settled(size_t least)
{
    size_t most = held();
    for (int quiet = 0, i = 0; i < 2000 && (quiet < 10 || most <= least); quiet++, i++) {
        usleep(50000);
        if (held() > most)
            most = held(), quiet = -1;
    }
    return most;
}

static void connections(const char *prompt)
{
    if (SANITIZED)
        skip(); /* another allocator */
    hs_server_options o = harness_options(&H);
    fake_options f = harness_fake();
    o.idle_timeout_s = 600;
    f.step_us = 1;
    f.parallel = o.max_connections = N;
    hs_server_options none = o;
    none.max_connections = 0;
    uint64_t counted = hs_server_memory_bytes(&o) - hs_server_memory_bytes(&none);
    harness_start(&H, &o, &f, false);
    int fds[N];
    char *body = hs_asprintf("{\"stream\":true,\"prompt\":\"%s\",\"max_tokens\":1000}", prompt);
    char *request = post("/v1/completions", body, NULL);
    size_t before = held();
    for (int i = 0; i < N; i++) {
        fds[i] = harness_connect(&H);
        send_text(fds[i], request);
    }
    wait_active(&H, N);
    for (int i = 0; i < N; i++)
        stuff(fds[i]);
    size_t after = settled(before + counted / 2);
    print_message("%s: %d connections hold %zu bytes each, %llu are counted\n", prompt, N, (after - before) / N,
                  (unsigned long long)counted / N);
    assert_true(after - before <= counted);
    assert_true(after - before > counted / 2); /* it is not far from what there can be */
    for (int i = 0; i < N; i++)
        close(fds[i]);
    wait_active(&H, 0);
    hs_free(request);
    hs_free(body);
    harness_end(&H);
}

static void test_big_events(void **state)
{
    (void)state;
    connections("FLOOD");
}

static void test_small_events(void **state)
{
    (void)state;
    connections("ENDLESS");
}

/* Encoding takes many times the text: the longest prompt's is counted, however long that may be. */
static void test_prompt(void **state)
{
    (void)state;
    hs_server_options o = harness_options(&H);
    o.max_body = o.buffer_memory = 256u << 20;
    uint64_t longest = 2 * o.max_body;
    assert_true(hs_server_memory_bytes(&o) >= 3 * o.buffer_memory + longest + hs_tokenizer_encode_bytes(longest));
    rmdir(H.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_big_events), cmocka_unit_test(test_small_events),
                                       cmocka_unit_test(test_prompt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

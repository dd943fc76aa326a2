/* progress.c - see progress.h. One thread at a time. */
#include "cli/progress.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/option.h"

#define FIRST_NS    300000000ull /* shorter work shows nothing */
#define TERMINAL_NS 100000000ull
#define PLAIN_NS    10000000000ull
#define BAR_CELLS   24u
#define MAX_COLUMNS 200u

void hs_progress_init(hs_progress *p, FILE *out)
{
    struct winsize w;
    *p = (hs_progress){.out = out, .terminal = isatty(fileno(out)) == 1, .columns = 80};
    if (p->terminal && ioctl(fileno(out), TIOCGWINSZ, &w) == 0 && w.ws_col > 20)
        p->columns = w.ws_col < MAX_COLUMNS ? w.ws_col : MAX_COLUMNS;
}

static void format_seconds(char *buf, size_t cap, double seconds)
{
    if (seconds >= 359999)
        snprintf(buf, cap, ">99h");
    else if (seconds >= 3600)
        snprintf(buf, cap, "%dh%02dmin", (int)(seconds / 3600), (int)(seconds / 60) % 60);
    else if (seconds >= 60)
        snprintf(buf, cap, "%dmin%02ds", (int)(seconds / 60), (int)seconds % 60);
    else
        snprintf(buf, cap, "%ds", (int)(seconds + 0.999));
}

void hs_progress_format(char *buf, size_t cap, const char *label, hs_progress_unit unit, uint64_t done, uint64_t total,
                        double rate, unsigned width)
{
    char amount[112] = "", bar[BAR_CELLS + 4] = "", eta[40] = "", text[24], a[32], b[32], c[32];
    done = total && done > total ? total : done;
    double share = total ? (double)done / (double)total : 0;
    if (unit == HS_PROGRESS_BYTES && total)
        snprintf(amount, sizeof amount, "  %s of %s  %s/s", hs_format_size(done, a, sizeof a),
                 hs_format_size(total, b, sizeof b), hs_format_size((uint64_t)rate, c, sizeof c));
    else if (unit == HS_PROGRESS_BYTES)
        snprintf(amount, sizeof amount, "  %s", hs_format_size(done, a, sizeof a));
    else if (unit == HS_PROGRESS_TOKENS && total)
        snprintf(amount, sizeof amount, "  %" PRIu64 " of %" PRIu64 " tokens", done, total);
    if (total && rate > 0) {
        format_seconds(text, sizeof text, (double)(total - done) / rate);
        snprintf(eta, sizeof eta, "  ETA %s", text);
    }
    if (total && width >= strlen(label) + BAR_CELLS + strlen(amount) + strlen(eta) + 10) {
        memset(bar + 2, ' ', BAR_CELLS);
        memset(bar + 2, '#', (size_t)(share * BAR_CELLS));
        bar[0] = ' ';
        bar[1] = '[';
        bar[2 + BAR_CELLS] = ']';
    }
    if (total)
        snprintf(buf, cap, "%s%s %3d%%%s%s", label, bar, (int)(share * 100), amount, eta);
    else
        snprintf(buf, cap, "%s%s", label, amount);
    if (width && strlen(buf) > width)
        buf[width] = '\0';
}

/* Seconds for the rate: to the last step, for between two steps of large work nothing moves; on from there once a step
 * is late by twice the usual time. */
static double rate_seconds(const hs_progress *p, uint64_t now_ns)
{
    if (!p->n_steps)
        return (double)(now_ns - p->start_ns) * 1e-9;
    uint64_t work = p->moved_ns - p->start_ns, patience = 2 * work / p->n_steps, rest = now_ns - p->moved_ns;
    return (double)(work + (rest > patience ? rest - patience : 0)) * 1e-9;
}

void hs_progress_update(hs_progress *p, const char *label, hs_progress_unit unit, uint64_t done, uint64_t total,
                        uint64_t now_ns)
{
    if (!p->label || strcmp(p->label, label) != 0) {
        p->label = label;
        p->unit = unit;
        p->start_ns = p->shown_ns = now_ns;
        p->first = p->done = done;
        p->n_steps = 0;
        return;
    }
    if (done != p->done) {
        p->done = done;
        p->moved_ns = now_ns;
        p->n_steps++;
    }
    uint64_t pause = p->terminal ? TERMINAL_NS : PLAIN_NS;
    if (now_ns - p->start_ns < FIRST_NS || (now_ns - p->shown_ns < pause && !(p->is_shown && done == total)))
        return;
    char line[MAX_COLUMNS + 80];
    hs_progress_format(line, sizeof line, label, p->unit, done, total,
                       (double)(done - p->first) / rate_seconds(p, now_ns), p->terminal ? p->columns - 1 : 0);
    fprintf(p->out, p->terminal ? "\r%s\033[K" : "%s\n", line);
    fflush(p->out);
    p->shown_ns = now_ns;
    p->is_shown = p->terminal;
}

void hs_progress_clear(hs_progress *p)
{
    if (p->is_shown) {
        fputs("\r\033[K", p->out);
        fflush(p->out);
    }
    p->is_shown = false;
    p->label = NULL;
}

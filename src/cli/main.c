/* main.c - the one place that sees argv and environ. */
#include <signal.h>
#include <unistd.h>

#include "cli/verbs.h"

int main(int argc, char **argv)
{
    /* A closed pipe, and a file as big as ulimit -f allows, are write errors with a sentence, not a silent end. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return hs_verbs_run(argc > 0 ? argc - 1 : 0, argv + 1, environ);
}

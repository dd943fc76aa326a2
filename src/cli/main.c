/* main.c - the one place that sees argv and environ. */
#include <signal.h>
#include <unistd.h>

#include "cli/verbs.h"

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error with a sentence, not a silent end */
    return hs_verbs_run(argc > 0 ? argc - 1 : 0, argv + 1, environ);
}

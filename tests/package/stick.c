/* stick.c - makes one thread of another process stand still: stick TID. It stays so until one of the two ends. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long tid = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (tid <= 0 || ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0 || ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0) {
        perror("stick");
        return 1;
    }
    puts("stuck");
    fflush(stdout);
    for (;;)
        pause();
}

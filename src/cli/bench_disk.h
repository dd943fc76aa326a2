/* bench_disk.h - bench --disk: how fast a drive reads, and how it is read best. */
#ifndef HS_CLI_BENCH_DISK_H
#define HS_CLI_BENCH_DISK_H

#include "cli/args.h"

/* Returns the exit status. */
int hs_bench_disk(const hs_args *a);

#endif

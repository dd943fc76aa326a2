/* memory.h - how much memory this process may take: the machine's and the control groups' word. */
#ifndef HS_ENGINE_MEMORY_H
#define HS_ENGINE_MEMORY_H

#include <stdint.h>

/* Bytes available now: the least of MemAvailable (or sysinfo where /proc/meminfo is hidden) and what each enclosing
 * control group (v2: max and high; v1) still allows, page cache counted as free; plus what this process holds already.
 * UINT64_MAX if nothing can be found out. */
uint64_t hs__memory_available(void);
/* The same with proc and sys taken from the folder `root`. */
uint64_t hs__memory_available_below(const char *root);

typedef struct hs__memory {
    uint64_t budget; /* as hs__memory_available */
    uint64_t own;    /* what of it this process holds */
    /* Time so far in which some task stood still for memory: of the machine, of this process's own control group; 0 =
     * not known. Where a group leaves less than the machine does, the machine's is not told: others may stand still at
     * limits of their own. */
    uint64_t stalled_us[2];
} hs__memory;
void hs__memory_look(const char *root, hs__memory *ret);

/* available less the reserve: what `memory.limit = auto` means. */
uint64_t hs__memory_auto_limit(uint64_t available);

#endif

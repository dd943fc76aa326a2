/* engine_options.h - the option table of the engine: [memory] [cache] [io] [prefetch] [compute] [kv] and keys of [model
 * NAME]. */
#ifndef HS_ENGINE_ENGINE_OPTIONS_H
#define HS_ENGINE_ENGINE_OPTIONS_H

#include "base/option.h"

extern const hs_option_table hs_engine_option_table;

#endif

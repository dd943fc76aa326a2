/*
 * trace_format.h - the route trace, CSV "route_trace v1", plain or gzipped; no code.
 *
 *   # route_trace v1
 *   # model=NAME arch=ARCH n_layer=N n_expert=N n_expert_used=N
 *   # layer=L expert_bytes=N dense_bytes=N          (one line per layer that has experts)
 *   turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
 *
 * turn: prompt number from 0; phase: 0 prefill, 1 decode; step: absolute position; layer: as numbered in the model;
 * slot: rank by falling weight; weight: normalised over the chosen experts, before routed_scaling_factor;
 * residency: 1 = was resident when the router named it; expert_bytes: of that expert in the source, or 0 if not read.
 */
#ifndef HOTSET_TRACE_FORMAT_H
#define HOTSET_TRACE_FORMAT_H

#define HS_TRACE_MAGIC  "# route_trace v1"
#define HS_TRACE_HEADER "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes"

#endif

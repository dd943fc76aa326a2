/* ops.h - small operations that are not worth a kernel per instruction set. Pure functions. */
#ifndef HS_MATH_OPS_H
#define HS_MATH_OPS_H

#include <stddef.h>
#include <stdint.h>

/* Rotates pairs (x[2i], x[2i+1]) by the angles of cos/sin[i], i < n/2 (NORM order: DeepSeek). */
void hs_rope_norm(float *x, const float *cos, const float *sin, uint32_t n);
/* Rotates pairs (x[i], x[i + n/2]) (NEOX order: Qwen, Mixtral). */
void hs_rope_neox(float *x, const float *cos, const float *sin, uint32_t n);

/* The k indexes of the biggest scores, falling, ties to the lower index; scores of -INFINITY are taken last. k <= n. */
void hs_topk(const float *score, uint32_t n, uint32_t k, uint32_t *ret_index);

float hs_sigmoid(float x);

/* gpt-oss's SwiGLU: out = (u + 1) g sigmoid(alpha g) with g = min(gate, limit), u = up within +-limit. */
void hs_glu_limited(const float *gate, const float *up, uint32_t n, float limit, float alpha, float *out);

/* x *= a */
void hs_scale(float a, float *x, size_t n);

/* y += x */
void hs_add(const float *x, float *y, uint32_t n);

#endif

/* layer_time.c - see layer_time.h. */
#include "cache/layer_time.h"

void hs_layer_pass(hs_layer_clock *k, const hs_layer_costs *c, uint32_t hits, uint32_t misses, bool overlapped)
{
    double begin = k->now_s + c->before_s, asked = overlapped ? k->asked_s : begin;
    k->asked_s = begin;
    k->now_s = begin + c->beside_s + hits * c->expert_s;
    if (asked >= k->read_s && misses)
        k->read_s = asked + c->first_s;
    for (uint32_t i = 0; i < misses; i++) {
        k->read_s += c->each_s;
        k->now_s = (k->read_s > k->now_s ? k->read_s : k->now_s) + c->expand_s + c->expert_s;
    }
}

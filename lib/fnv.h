/*
 * FNV-1a (Fowler, Noll and Vo; draft-eastlake-fnv): names made of text. What was named stays named:
 * the values never change. Not for what somebody may choose to collide.
 */
#ifndef FNV_H
#define FNV_H

#include <stddef.h>
#include <stdint.h>

#define FNV32_BEGIN UINT32_C(2166136261)
#define FNV64_BEGIN UINT64_C(14695981039346656037)

/* The hash of what was hashed before (at first FNV.._BEGIN) and of these bytes. */
uint32_t fnv32(uint32_t hash, const void *data, size_t len);
uint64_t fnv64(uint64_t hash, const void *data, size_t len);

#endif

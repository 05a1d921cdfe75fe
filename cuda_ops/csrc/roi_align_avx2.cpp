// ROIAlign for x86-64 processors with AVX2; chosen at run time.
#include "roi_align.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define SKYDUEL_ISA avx2
#define SKYDUEL_ISA_NAME "avx2"
#define SKYDUEL_VECTOR_BYTES 32

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#include "roi_align_kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

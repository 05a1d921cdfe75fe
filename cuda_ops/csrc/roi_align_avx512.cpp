// ROIAlign for x86-64 processors with AVX512; chosen at run time.
#include "roi_align.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define SKYDUEL_ISA avx512
#define SKYDUEL_ISA_NAME "avx512"
#define SKYDUEL_VECTOR_BYTES 64

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#endif

#include "roi_align_kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

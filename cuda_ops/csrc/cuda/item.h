// What one GPU thread does, as plain functions: a host compiler takes them too,
// so their logic is tested on machines that have no GPU.
#pragma once

#if defined(__CUDACC__)
#define SKYDUEL_HD __host__ __device__ __forceinline__
#else
#define SKYDUEL_HD inline
#endif

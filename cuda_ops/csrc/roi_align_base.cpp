// ROIAlign for any processor: 16-byte vectors, which every 64-bit target has.
#include "roi_align.h"

#define SKYDUEL_ISA base
#define SKYDUEL_ISA_NAME "base"
#define SKYDUEL_VECTOR_BYTES 16

#include "roi_align_kernels.h"

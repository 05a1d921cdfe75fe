// The package's compiled kernels (core/native/csrc), which this program links.
#pragma once

#include <cstdint>

extern "C" {
const char* skyduel_refusal();
int64_t skyduel_roi_align(
    const float* maps, int64_t channels, int64_t height, int64_t width, const float* boxes,
    int64_t count, int64_t bins, double scale, int64_t ratio, int64_t threads, float* crops);
int64_t skyduel_soft_nms(
    const float* boxes, const float* scores, int64_t count, double sigma, double score_threshold,
    int64_t* index, float* left);
void skyduel_context_features(
    const float* z, const uint8_t* usable, int64_t width, int64_t n, const int64_t* at,
    const int64_t* phase, const float* bank, int64_t phases, float* out);
int64_t skyduel_nearest_higher(
    const double* xy, const double* value, int64_t n, double radius, int64_t crowd,
    double* distance, double* more);
void* skyduel_neighbours(
    const double* a, int64_t n_a, const double* b, int64_t n_b, double radius, int64_t threads,
    int64_t* n_pairs);
void skyduel_take_neighbours(void* handle, int64_t* i, int64_t* j);
void skyduel_windowed_position(
    const float* data, const uint8_t* mask, int64_t height, int64_t width, int64_t n, double* x,
    double* y, const double* sigma, int16_t* flag);
}

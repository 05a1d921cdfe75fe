// ROIAlign and soft-NMS by a plain C interface: the algorithms are those of `skyduel.cuda_ops`.
#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "roi_align_cpu.h"
#include "soft_nms.h"

namespace skyduel {

namespace {
thread_local int64_t wanted_threads = 1;
thread_local std::string refusal;
} // namespace

int64_t thread_count() {
  return wanted_threads;
}

void on_threads(int64_t threads, const std::function<void()>& work) {
  std::vector<std::thread> others;
  for (int64_t i = 1; i < threads; ++i)
    others.emplace_back(work);
  work();
  for (std::thread& other : others)
    other.join();
}

} // namespace skyduel

using namespace skyduel;

#define SKYDUEL_EXPORT extern "C" __attribute__((visibility("default")))

// Why the last call of this thread that returned a negative number did so.
SKYDUEL_EXPORT const char* skyduel_refusal() {
  return refusal.c_str();
}

// Crops (count, channels, bins, bins) of one image's maps (channels, height, width), aligned; the
// boxes are rows of image 0, x1, y1, x2, y2. Returns 0.
SKYDUEL_EXPORT int64_t skyduel_roi_align(
    const float* maps, int64_t channels, int64_t height, int64_t width, const float* boxes,
    int64_t count, int64_t bins, double scale, int64_t ratio, int64_t threads, float* crops) {
  wanted_threads = std::max<int64_t>(threads, 1);
  try {
    const Map map{1, channels, height, width};
    const Sampling sampling = checked_sampling(scale, ratio, true);
    forward<float>(
        maps, map, checked_bins(bins, bins), read_rows<float>(boxes, count, map, sampling),
        sampling, false, crops);
    return 0;
  } catch (const std::exception& error) {
    refusal = error.what();
    return -1;
  }
}

// Gaussian soft-NMS of boxes (count, 4) in one group. Writes the kept boxes' numbers and scores by
// falling score; returns how many are kept.
SKYDUEL_EXPORT int64_t skyduel_soft_nms(
    const float* boxes, const float* scores, int64_t count, double sigma, double score_threshold,
    int64_t* index, float* left) {
  wanted_threads = 1; // there is one group
  try {
    const Rule rule = soft_rule(0, sigma, 0.3, score_threshold);
    const auto* edges = reinterpret_cast<const Edges<float>*>(boxes);
    const auto kept = suppress<double>(edges, scores, nullptr, count, rule);
    for (const Kept& one : kept) {
      *index++ = one.index;
      *left++ = float(one.score);
    }
    return int64_t(kept.size());
  } catch (const std::exception& error) {
    refusal = error.what();
    return -1;
  }
}

// The operators' schemas, and what this library can say about itself.
#include <cstdlib>
#include <cstring>

#include "common.h"

namespace skyduel {

Capability capability() {
  static const Capability chosen = [] {
    Capability best = Capability::base;
#if defined(__x86_64__)
    // GCC's and Clang's own tables also ask the operating system.
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      best = Capability::avx2;
    if (best == Capability::avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
      best = Capability::avx512;
#endif
    const char* asked = std::getenv("SKYDUEL_CPU_CAPABILITY");
    if (asked != nullptr && std::strcmp(asked, "base") == 0)
      return Capability::base;
    if (asked != nullptr && std::strcmp(asked, "avx2") == 0)
      return std::min(best, Capability::avx2);
    return best;
  }();
  return chosen;
}

const char* capability_name() {
  switch (capability()) {
    case Capability::avx512:
      return "avx512";
    case Capability::avx2:
      return "avx2";
    default:
      return "base";
  }
}

namespace {

std::string build_info() {
  std::ostringstream text;
  text << "torch_target=" << (TORCH_TARGET_VERSION >> 56) << '.'
       << ((TORCH_TARGET_VERSION >> 48) & 0xff) << '\n'
       << "compiled_with_torch=" << TORCH_VERSION_MAJOR << '.' << TORCH_VERSION_MINOR << '.'
       << TORCH_VERSION_PATCH << '\n'
       << "compiler=" << __VERSION__ << '\n'
       << "cpu_capability=" << capability_name();
  return text.str();
}

} // namespace

STABLE_TORCH_LIBRARY(skyduel, m) {
  m.def(
      "roi_align(Tensor features, Tensor boxes, SymInt rows, SymInt columns, float spatial_scale, "
      "int sampling_ratio, bool aligned) -> Tensor");
  m.def(
      "roi_align_backward(Tensor gradient, Tensor boxes, SymInt images, SymInt height, "
      "SymInt width, float spatial_scale, int sampling_ratio, bool aligned, bool channels_last) "
      "-> Tensor");
  m.def("nms(Tensor boxes, Tensor scores, Tensor? kinds, float iou_threshold) -> Tensor");
  m.def(
      "soft_nms(Tensor boxes, Tensor scores, Tensor? kinds, int method, float sigma, "
      "float iou_threshold, float score_threshold) -> (Tensor, Tensor)");
  m.def("_build_info() -> str");
  m.def("_cuda_build_info() -> str");
}

STABLE_TORCH_LIBRARY_IMPL(skyduel, CompositeExplicitAutograd, m) {
  m.impl("_build_info", TORCH_BOX(&build_info));
}

} // namespace skyduel

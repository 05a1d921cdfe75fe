// The operators' schemas, torch's threads, and what this library can say about itself.
#include "common.h"

namespace skyduel {

int64_t thread_count() {
  return torch::stable::get_num_threads();
}

void on_threads(int64_t threads, const std::function<void()>& work) {
  torch::stable::parallel_for(0, threads, 1, [&](int64_t, int64_t) { work(); });
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

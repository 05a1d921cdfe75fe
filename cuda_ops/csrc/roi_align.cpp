// ROIAlign on the CPU as an operator of torch.
#include "common.h"
#include "roi_align_cpu.h"

namespace skyduel {
namespace {

// ---- arguments --------------------------------------------------------------

template <class A>
std::vector<Box<A>> read_boxes(const Tensor& boxes, const Map& map, const Sampling& sampling) {
  const Tensor rows = torch::stable::contiguous(boxes);
  if (rows.scalar_type() == ScalarType::Double)
    return read_rows<A>(rows.const_data_ptr<double>(), rows.size(0), map, sampling);
  return read_rows<A>(rows.const_data_ptr<float>(), rows.size(0), map, sampling);
}

void check_common(const Tensor& maps, const char* name, const Tensor& boxes) {
  if (maps.dim() != 4)
    refuse(name, ": required four dimensions; got ", maps.dim());
  if (boxes.dim() != 2 || boxes.size(1) != 5)
    refuse("boxes: required shape (K, 5)");
  if (boxes.scalar_type() != ScalarType::Float && boxes.scalar_type() != ScalarType::Double)
    refuse("boxes: required float32 or float64");
  if (!boxes.is_cpu())
    refuse("boxes: required on the CPU, beside the features");
}

template <class T>
void backward(
    const Tensor& gradient, const Tensor& boxes, const Map& map, Bins bins,
    const Sampling& sampling, bool channels_last, Tensor& result) {
  const auto rois = read_boxes<wide_t<T>>(boxes, map, sampling);
  const auto* from = static_cast<const T*>(gradient.const_data_ptr());
  auto* to = static_cast<T*>(result.mutable_data_ptr());
  if (map.images * map.channels * map.height * map.width == 0)
    return;
  if (channels_last)
    backward_pixels<T>(from, map, bins, rois, sampling, to);
  else
    backward_planes<T>(from, map, bins, rois, sampling, to);
}

template <class F>
void with_type(ScalarType type, const F& f) {
  switch (type) {
    case ScalarType::Float:
      return f(float());
    case ScalarType::Double:
      return f(double());
    case ScalarType::BFloat16:
      return f(BFloat16());
    default:
      refuse(
          "features: required float32, float64 or bfloat16 on the CPU; got ",
          torch::headeronly::toString(type));
  }
}

Tensor roi_align_cpu(
    const Tensor& features, const Tensor& boxes, int64_t rows, int64_t columns, double scale,
    int64_t ratio, bool aligned) {
  check_common(features, "features", boxes);
  const Bins bins = checked_bins(rows, columns);
  const Sampling sampling = checked_sampling(scale, ratio, aligned);
  const bool channels_last = is_channels_last(features);
  const Tensor maps = in_format(features, channels_last);
  const Map map{features.size(0), features.size(1), features.size(2), features.size(3)};
  Tensor crops =
      empty_maps(features, boxes.size(0), features.size(1), rows, columns, channels_last);
  with_type(features.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    forward<T>(
        static_cast<const T*>(maps.const_data_ptr()), map, bins,
        read_boxes<wide_t<T>>(boxes, map, sampling), sampling, channels_last,
        static_cast<T*>(crops.mutable_data_ptr()));
  });
  return crops;
}

Tensor roi_align_backward_cpu(
    const Tensor& gradient, const Tensor& boxes, int64_t images, int64_t height, int64_t width,
    double scale, int64_t ratio, bool aligned, bool channels_last) {
  check_common(gradient, "gradient", boxes);
  const int64_t rows = gradient.size(2), columns = gradient.size(3);
  const Map map{images, gradient.size(1), height, width};
  if (gradient.size(0) != boxes.size(0) || images < 0 || height < 0 || width < 0)
    refuse("gradient: required one crop a box and a map's size");
  const Tensor crops = in_format(gradient, channels_last);
  Tensor result = empty_maps(gradient, images, map.channels, height, width, channels_last);
  const Sampling sampling = checked_sampling(scale, ratio, aligned);
  with_type(gradient.scalar_type(), [&](auto zero) {
    backward<decltype(zero)>(
        crops, boxes, map, {int32_t(rows), int32_t(columns)}, sampling, channels_last, result);
  });
  return result;
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(skyduel, CPU, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align_cpu));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward_cpu));
}

} // namespace skyduel

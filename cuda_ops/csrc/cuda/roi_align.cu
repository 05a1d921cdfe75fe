// ROIAlign on CUDA: one thread a value, channels fastest for channels-last maps.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"
#include "roi_align_item.h"

namespace skyduel::cuda {
namespace {

template <class T>
struct Wide {
  using type = float;
};
template <>
struct Wide<double> {
  using type = double;
};
template <class T>
using wide_t = typename Wide<T>::type;

// torch builds with the implicit conversions of the narrow types switched off.
template <class T>
__device__ __forceinline__ T widen(T value) {
  return value;
}
__device__ __forceinline__ float widen(__half value) {
  return __half2float(value);
}
__device__ __forceinline__ float widen(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
__device__ __forceinline__ void put(float value, float& to) {
  to = value;
}
__device__ __forceinline__ void put(double value, double& to) {
  to = value;
}
__device__ __forceinline__ void put(float value, __half& to) {
  to = __float2half(value);
}
__device__ __forceinline__ void put(float value, __nv_bfloat16& to) {
  to = __float2bfloat16(value);
}

MemoryFormat format(bool channels_last) {
  return channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

Tensor empty_maps(const Tensor& like, const std::array<int64_t, 4>& size, bool channels_last) {
  return torch::stable::empty(
      {size.data(), 4}, like.scalar_type(), std::nullopt, like.device(), std::nullopt,
      format(channels_last));
}

template <class F>
void with_type(ScalarType type, const F& f) {
  switch (type) {
    case ScalarType::Float:
      return f(float(0));
    case ScalarType::Double:
      return f(double(0));
    case ScalarType::Half:
      return f(__half());
    case ScalarType::BFloat16:
      return f(__nv_bfloat16());
    default:
      refuse("features: required a floating-point dtype");
  }
}

template <class T>
struct Forward {
  item::RoiAlign op;
  const T* maps;
  const wide_t<T>* boxes;
  T* crops;
  __device__ void operator()(int64_t i) const {
    const T* from = maps;
    put(item::forward_value(op, boxes, i, [from](int64_t at) { return widen(from[at]); }),
        crops[i]);
  }
};

template <class T>
struct Backward {
  item::RoiAlign op;
  const T* gradient;
  const wide_t<T>* boxes;
  wide_t<T>* maps;
  __device__ void operator()(int64_t i) const {
    wide_t<T>* to = maps;
    item::backward_value(
        op, boxes, i, widen(gradient[i]),
        [to](int64_t at, wide_t<T> value) { atomicAdd(to + at, value); });
  }
};

void check(const Tensor& maps, const Tensor& boxes) {
  if (maps.dim() != 4 || boxes.dim() != 2 || boxes.size(1) != 5)
    refuse("features, boxes: required four dimensions, and shape (K, 5)");
  if (!boxes.is_cuda() || boxes.get_device_index() != maps.get_device_index())
    refuse("boxes: required on the features' device");
}

template <class T>
Tensor wide_boxes(const Tensor& boxes) {
  const auto type = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float;
  return torch::stable::contiguous(torch::stable::to(boxes, type));
}

Tensor roi_align(
    const Tensor& features, const Tensor& boxes, int64_t rows, int64_t columns, double scale,
    int64_t ratio, bool aligned) {
  check(features, boxes);
  if (rows < 1 || columns < 1)
    refuse("output_size: required positive integers; got ", rows, " x ", columns);
  check_ratio(ratio);
  if (boxes.size(0) > 0 && features.size(2) * features.size(3) == 0)
    refuse("features: required pixels to sample");
  const torch::stable::accelerator::DeviceGuard guard(features.get_device_index());
  const bool last = is_channels_last(features);
  const Tensor maps = torch::stable::contiguous(features, format(last));
  Tensor crops = empty_maps(features, {boxes.size(0), features.size(1), rows, columns}, last);
  const item::RoiAlign op{
      features.size(0), features.size(1), features.size(2), features.size(3), int32_t(rows),
      int32_t(columns), scale,            int32_t(ratio),   aligned,          last};
  with_type(features.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Tensor wide = wide_boxes<T>(boxes);
    for_each_item(
        current_stream(features), op.values(boxes.size(0)),
        Forward<T>{
            op, static_cast<const T*>(maps.const_data_ptr()),
            static_cast<const wide_t<T>*>(wide.const_data_ptr()),
            static_cast<T*>(crops.mutable_data_ptr())});
  });
  return crops;
}

Tensor roi_align_backward(
    const Tensor& gradient, const Tensor& boxes, int64_t images, int64_t height, int64_t width,
    double scale, int64_t ratio, bool aligned, bool last) {
  check(gradient, boxes);
  check_ratio(ratio);
  const torch::stable::accelerator::DeviceGuard guard(gradient.get_device_index());
  const Tensor crops = torch::stable::contiguous(gradient, format(last));
  const item::RoiAlign op{
      images,  gradient.size(1), height, width, int32_t(gradient.size(2)),
      int32_t(gradient.size(3)), scale,  int32_t(ratio), aligned, last};
  Tensor result = empty_maps(gradient, {images, gradient.size(1), height, width}, last);
  with_type(gradient.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Tensor wide = wide_boxes<T>(boxes);
    // Sums of narrow types are kept in float32 until all are in.
    Tensor sums = std::is_same_v<T, wide_t<T>>
        ? result
        : torch::stable::to(result, ScalarType::Float);
    torch::stable::zero_(sums);
    for_each_item(
        current_stream(gradient), op.values(boxes.size(0)),
        Backward<T>{
            op, static_cast<const T*>(crops.const_data_ptr()),
            static_cast<const wide_t<T>*>(wide.const_data_ptr()),
            static_cast<wide_t<T>*>(sums.mutable_data_ptr())});
    if constexpr (!std::is_same_v<T, wide_t<T>>)
      torch::stable::copy_(result, sums);
  });
  return result;
}

std::string cuda_build_info() {
  std::ostringstream text;
  text << "cuda_toolkit=" << CUDART_VERSION / 1000 << '.' << CUDART_VERSION % 1000 / 10 << '\n'
       << "cuda_architectures=" << SKYDUEL_CUDA_ARCHITECTURES;
  return text.str();
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(skyduel, CUDA, m) {
  m.impl("roi_align", TORCH_BOX(&roi_align));
  m.impl("roi_align_backward", TORCH_BOX(&roi_align_backward));
}

STABLE_TORCH_LIBRARY_IMPL(skyduel, CompositeExplicitAutograd, m) {
  m.impl("_cuda_build_info", TORCH_BOX(&cuda_build_info));
}

} // namespace skyduel::cuda

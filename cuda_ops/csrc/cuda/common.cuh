// What both CUDA files need: refusals, launches, the current stream.
#pragma once

#include <cuda_runtime.h>

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "../shared.h"

namespace skyduel::cuda {

inline cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

inline int64_t blocks(int64_t threads) {
  constexpr int64_t most = 65535;
  const int64_t wanted = (threads + 255) / 256;
  return wanted < most ? wanted : most;
}

template <class Work>
__global__ void __launch_bounds__(256) run_items(int64_t count, Work work) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    work(i);
}

// One thread an item, on the current stream.
template <class Work>
inline void for_each_item(cudaStream_t stream, int64_t count, const Work& work) {
  if (count <= 0)
    return;
  run_items<<<unsigned(blocks(count)), 256, 0, stream>>>(count, work);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

inline Tensor empty_vector(const Tensor& like, int64_t size, ScalarType type) {
  const int64_t sizes[] = {size};
  return torch::stable::empty({sizes, 1}, type, std::nullopt, like.device());
}

} // namespace skyduel::cuda

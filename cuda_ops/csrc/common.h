// What every operator's binding to torch needs: tensors, refusals, threads.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>

#include "pieces.h"
#include "shared.h"

namespace skyduel {

inline Tensor in_format(const Tensor& t, bool channels_last) {
  return torch::stable::contiguous(
      t, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

inline Tensor empty_maps(
    const Tensor& like, int64_t n, int64_t c, int64_t h, int64_t w, bool channels_last) {
  const int64_t size[] = {n, c, h, w};
  return torch::stable::empty(
      {size, 4}, like.scalar_type(), std::nullopt, like.device(), std::nullopt,
      channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

} // namespace skyduel

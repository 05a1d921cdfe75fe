// What both of torch's libraries need: the aliases, the refusal, the memory format.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>

#include "refuse.h"

namespace skyduel {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// (N, C, H, W): contiguous counts as such even where it is also channels-last.
inline bool is_channels_last(const Tensor& t) {
  if (t.is_contiguous())
    return false;
  const auto size = t.sizes();
  const auto stride = t.strides();
  int64_t expected = 1;
  for (const int d : {1, 3, 2, 0}) {
    if (size[d] == 1)
      continue;
    if (stride[d] != expected)
      return false;
    expected *= size[d];
  }
  return true;
}

}  // namespace skyduel

// What every operator's CPU side needs: refusals, threads, the instruction set.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

#include "shared.h"

namespace skyduel {

// Run `work(0) ... work(count - 1)` on torch's threads, each thread taking the
// next piece when it has done one, since pieces differ in weight. `prepare()`
// makes one thread's scratch. Nothing may throw in here: it would have to cross
// a C boundary.
template <class Prepare, class Work>
inline void for_each_piece(int64_t count, bool threaded, const Prepare& prepare, const Work& work) {
  if (count <= 0)
    return;
  std::atomic<int64_t> next{0};
  const auto drain = [&](int64_t, int64_t) {
    auto scratch = prepare();
    for (int64_t piece = next++; piece < count; piece = next++)
      work(piece, scratch);
  };
  const int64_t threads =
      threaded ? std::min<int64_t>(count, torch::stable::get_num_threads()) : 1;
  if (threads > 1)
    torch::stable::parallel_for(0, threads, 1, drain);
  else
    drain(0, 1);
}

// Which of base, avx2, avx512 the kernels run on: the widest that processor and
// operating system have, or a narrower one named by SKYDUEL_CPU_CAPABILITY.
enum class Capability { base, avx2, avx512 };
Capability capability();
const char* capability_name();

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

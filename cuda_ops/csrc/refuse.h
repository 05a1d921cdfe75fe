// How every operator refuses what it cannot use. Needs no torch.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>

#include "limits.h"

namespace skyduel {

// Python turns exactly these messages into ValueError.
template <class... Parts>
[[noreturn]] inline void refuse(const Parts&... parts) {
  std::ostringstream message;
  message << "skyduel refuses: ";
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

inline void check_ratio(int64_t ratio) {
  if (ratio > kMostSamples)
    refuse("sampling_ratio: required at most ", kMostSamples, "; got ", ratio);
}

} // namespace skyduel

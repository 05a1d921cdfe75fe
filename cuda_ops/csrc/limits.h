// What both libraries and the GPU threads hold calls to, so that each ends in good time.
#pragma once

#include <cstdint>

namespace skyduel {

// Largest edge of a box [map pixels]: samples are counted by the pixel, and one of 1e30
// would take for ever.
constexpr double kFarthest = 1 << 22;
// Most samples a bin and axis that one may ask for.
constexpr int64_t kMostSamples = 1 << 12;

} // namespace skyduel

// From a frame to its points: the steps of skyduel.detect.inference, without streaks.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "frame.h"
#include "network.h"

namespace points {

constexpr int features = 15;

// Points before thresholds and suppression, as skyduel.detect.inference.find_sources.RawSources.
struct RawPoints {
  std::vector<double> xy;  // (k, 2) [px]
  std::vector<double> logit;
  std::vector<std::array<float, features>> context;
  int64_t size() const { return int64_t(logit.size()); }
};

struct Point {
  double x, y, xy_err, score, flux, flux_err;
};

RawPoints find_points(const Frame& frame, const Background& background, const Network& network,
                      const Rules& rules);

// Fills `context` of the points.
void measure_context(const Frame& frame, const Background& background, const Rules& rules,
                     RawPoints& points);

// σ [px] of the frame's point-spread function, where it states a width.
double window_sigma(const Frame& frame, const Rules& rules);

// Suppressed, scored, refined and measured, by falling score.
std::vector<Point> measure_points(const Frame& frame, const Background& background,
                                  const Rules& rules, const RawPoints& raw);

}  // namespace points

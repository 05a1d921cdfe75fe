// A frame from a FITS file, and its background.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rules.h"

namespace points {

struct Frame {
  std::string name;
  int64_t ny = 0, nx = 0;
  std::vector<float> data;   // masked non-finite values are 0
  std::vector<uint8_t> bad;  // 1 where a pixel must not be used
  std::optional<double> gain, saturation, fwhm;
};

struct Background {
  std::vector<float> level, rms;
};

// The first image of a file. GAIN, SATURATE and FWHM [px] are read as `write_frame` writes them.
Frame read_fits(const std::string& path);

// As skyduel.core.measure.background.estimate_background with its defaults.
Background estimate_background(const Frame& frame, const Rules& rules);

double median(std::vector<double> values);

}  // namespace points

// Background and noise by SEP's meshes, as skyduel.core.measure.background explains.
#include <algorithm>
#include <cmath>

#include "frame.h"
extern "C" {
#include "sep.h"
}

namespace points {

namespace {

using Floats = std::vector<float>;
__extension__ typedef unsigned __int128 Wide;

// numpy's generator PCG64 (O'Neill 2014), from a state in the rules.
class Random {
 public:
  explicit Random(const std::vector<double>& words) {  // state and increment, 32 bits each
    for (int k = 0; k < 4; ++k) {
      state_ = state_ << 32 | Wide(uint32_t(words[size_t(k)]));
      increment_ = increment_ << 32 | Wide(uint32_t(words[size_t(4 + k)]));
    }
  }
  float next() { return float(next_32() >> 8) * 0x1p-24f; }

 private:
  uint32_t next_32() {
    if (half_left_) {
      half_left_ = false;
      return half_;
    }
    state_ = state_ * (Wide(0x2360ed051fc65da4ULL) << 64 | 0x4385df649fccf645ULL) + increment_;
    const uint64_t mixed = uint64_t(state_ >> 64) ^ uint64_t(state_);
    const int turn = int(state_ >> 122);
    const uint64_t all = turn ? mixed >> turn | mixed << (64 - turn) : mixed;
    half_ = uint32_t(all >> 32);
    half_left_ = true;
    return uint32_t(all);
  }
  Wide state_ = 0, increment_ = 0;
  uint32_t half_ = 0;
  bool half_left_ = false;
};

void check(const Frame& frame, int status) {
  if (status) require(frame.name, "an image whose background SEP can estimate", "its error ", status);
}

struct Sky {
  Floats level, rms;
  double global_rms = 0;
};

sep_image image_of(const Floats& data, const uint8_t* mask, int64_t ny, int64_t nx) {
  sep_image image{};
  image.data = data.data();
  image.mask = mask;
  image.dtype = SEP_TFLOAT;
  image.mdtype = SEP_TBYTE;
  image.w = nx;
  image.h = ny;
  return image;
}

Sky meshes(const Frame& frame, const Floats& data, const Rules& rules) {
  const int64_t mesh = rules.whole("mesh_px"), filter = rules.whole("filter_meshes");
  const sep_image image = image_of(data, frame.bad.data(), frame.ny, frame.nx);
  sep_bkg* sky = nullptr;
  check(frame, sep_background(&image, std::min(mesh, frame.nx), std::min(mesh, frame.ny), filter,
                              filter, 0.0, &sky));
  Sky out{Floats(data.size()), Floats(data.size()), sky->globalrms};
  check(frame, sep_bkg_array(sky, out.level.data(), SEP_TFLOAT));
  check(frame, sep_bkg_rmsarray(sky, out.rms.data(), SEP_TFLOAT));
  sep_bkg_free(sky);
  return out;
}

Sky flat(const Frame& frame, const Floats& data, const Rules& rules) {
  Floats values;
  for (size_t k = 0; k < data.size(); ++k)
    if (!frame.bad[k]) values.push_back(data[k]);
  double level, rms;
  if (int64_t(values.size()) < rules.whole("few_pixels")) {
    level = median({values.begin(), values.end()});
    double mean = 0, square = 0;
    for (const float v : values) mean += v / double(values.size());
    for (const float v : values) square += (v - mean) * (v - mean) / double(values.size());
    rms = std::sqrt(square);
  } else {
    const int64_t n = int64_t(values.size());
    const sep_image image = image_of(values, nullptr, 1, n);
    sep_bkg* sky = nullptr;
    check(frame, sep_background(&image, n, 1, 3, 3, 0.0, &sky));
    Floats all(values.size());
    check(frame, sep_bkg_rmsarray(sky, all.data(), SEP_TFLOAT));
    level = sky->global;
    rms = all[0];
    sep_bkg_free(sky);
  }
  return {Floats(data.size(), float(level)), Floats(data.size(), float(rms)), rms};
}

bool any_good_mesh(const Frame& frame, const Rules& rules) {
  const int64_t mesh = rules.whole("mesh_px");
  for (int64_t y0 = 0; y0 < frame.ny; y0 += mesh) {
    for (int64_t x0 = 0; x0 < frame.nx; x0 += mesh) {
      const int64_t y1 = std::min(y0 + mesh, frame.ny), x1 = std::min(x0 + mesh, frame.nx);
      int64_t good = 0;
      for (int64_t y = y0; y < y1; ++y)
        for (int64_t x = x0; x < x1; ++x) good += !frame.bad[size_t(y * frame.nx + x)];
      if (double(good) > rules.number("good_fraction") * double((y1 - y0) * (x1 - x0))) return true;
    }
  }
  return false;
}

double median_where(const Frame& frame, const Floats& values, bool positive) {
  std::vector<double> some;
  for (size_t k = 0; k < values.size(); ++k)
    if (!frame.bad[k] && (!positive || values[k] > 0)) some.push_back(values[k]);
  return some.empty() ? 0.0 : median(std::move(some));
}

// The smallest step between the usable values, of each `stride`-th; none if all are equal.
std::optional<double> least_step(const Frame& frame, int64_t most) {
  Floats values;
  for (size_t k = 0; k < frame.data.size(); ++k)
    if (!frame.bad[k]) values.push_back(frame.data[k]);
  const size_t stride = most ? std::max<size_t>(1, values.size() / size_t(most)) : 1;
  Floats some;
  for (size_t k = 0; k < values.size(); k += stride) some.push_back(values[k]);
  std::sort(some.begin(), some.end());
  std::optional<double> least;
  for (size_t k = 1; k < some.size(); ++k) {
    const double step = double(some[k]) - double(some[k - 1]);
    if (step > 0 && (!least || step < *least)) least = step;
  }
  return least;
}

}  // namespace

double median(std::vector<double> values) {
  const size_t half = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + long(half), values.end());
  const double above = values[half];
  if (values.size() % 2) return above;
  return 0.5 * (*std::max_element(values.begin(), values.begin() + long(half)) + above);
}

Background estimate_background(const Frame& frame, const Rules& rules) {
  int64_t usable = 0;
  for (const uint8_t bad : frame.bad) usable += !bad;
  const bool is_flat = usable < rules.whole("few_pixels") || !any_good_mesh(frame, rules);
  const auto estimate = [&](const Floats& data) {
    return is_flat ? flat(frame, data, rules) : meshes(frame, data, rules);
  };
  Sky sky = estimate(frame.data);
  const auto coarse = least_step(frame, rules.whole("step_sample"));
  if (coarse && median_where(frame, sky.rms, false) < rules.number("dither_below_steps") * *coarse) {
    const float step = float(*coarse), variance = float(rules.number("dither_variance"));
    Floats dithered(frame.data.size());
    Random random(rules.doubles("dither_state"));
    for (float& value : dithered) value = random.next();
    for (float& value : dithered) value -= random.next();
    for (size_t k = 0; k < dithered.size(); ++k)
      dithered[k] = frame.data[k] + step * dithered[k];
    sky = estimate(dithered);
    for (float& rms : sky.rms) {
      const float part = rms / step;
      rms = step * std::sqrt(std::max(part * part - variance, 0.0f));
    }
    const double part = sky.global_rms / *coarse;
    sky.global_rms = *coarse * std::sqrt(std::max(part * part - rules.number("dither_variance"), 0.0));
  }
  const auto [low, high] = std::minmax_element(sky.rms.begin(), sky.rms.end());
  for (size_t k = 0; k < sky.rms.size(); ++k)
    if (!std::isfinite(sky.rms[k]) || !std::isfinite(sky.level[k]))
      require(frame.name, "pixel values whose mean and variance single precision can hold",
              "larger ones");
  const double share = rules.number("rms_floor");
  if (!(std::min(double(*low), sky.global_rms) >= share * *high && *high > 0)) {
    double floor = share * median_where(frame, sky.rms, false);
    if (!(floor > 0)) floor = share * median_where(frame, sky.rms, true);
    if (!(floor > 0))
      floor = std::max(least_step(frame, 0).value_or(1.0) / std::sqrt(12.0), 0x1p-126);
    for (float& rms : sky.rms) rms = std::max(rms, float(floor));
  }
  return {std::move(sky.level), std::move(sky.rms)};
}

}  // namespace points

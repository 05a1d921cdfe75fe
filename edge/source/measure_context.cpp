// The frame's profile, and features of each point measured with it.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels.h"
#include "sources.h"

namespace points {

namespace {

constexpr int half = 5, side = 2 * half + 1, area = side * side, bar = 24, phases = 4, gap = 8;

using Stamp = std::array<float, area>;

double radius_of(int i) {
  const double dy = i / side - half, dx = i % side - half;
  return std::sqrt(dx * dx + dy * dy);
}

// The frame in units of its noise with a margin, and which pixels are usable.
struct Pixels {
  int64_t width;
  std::vector<float> z;
  std::vector<uint8_t> usable;

  Pixels(const Frame& frame, const Background& sky)
      : width(frame.nx + 2 * bar),
        z(size_t(width * (frame.ny + 2 * bar)), 0.0f),
        usable(z.size(), 0) {
    for (int64_t y = 0; y < frame.ny; ++y) {
      for (int64_t x = 0; x < frame.nx; ++x) {
        const size_t k = size_t(y * frame.nx + x), at = size_t((y + bar) * width + x + bar);
        usable[at] = !frame.bad[k];
        if (usable[at]) z[at] = (frame.data[k] - sky.level[k]) / sky.rms[k];
      }
    }
  }
  int64_t at(const double* xy) const {
    return (int64_t(std::nearbyint(xy[1])) + bar) * width + int64_t(std::nearbyint(xy[0])) + bar;
  }
  Stamp stamp(const double* xy, bool& whole) const {
    Stamp out;
    whole = true;
    const int64_t middle = at(xy);
    for (int i = 0; i < area; ++i) {
      const size_t k = size_t(middle + (i / side - half) * width + i % side - half);
      out[size_t(i)] = z[k];
      whole = whole && usable[k];
    }
    return out;
  }
};

int64_t phase_of(const double* xy) {
  const auto one = [](double v) {
    const auto part = int64_t((v - std::nearbyint(v) + 0.5) * phases);
    return std::min<int64_t>(std::max<int64_t>(part, 0), phases - 1);
  };
  return one(xy[1]) * phases + one(xy[0]);
}

// Coefficients of the cubic spline through equally spaced values, mirrored at both ends.
void spline(double* c, int64_t n, int64_t step) {
  const double pole = std::sqrt(3.0) - 2.0, gain = (1.0 - pole) * (1.0 - 1.0 / pole);
  for (int64_t i = 0; i < n; ++i) c[i * step] *= gain;
  double power = 1.0, sum = 0.0;
  for (int64_t i = 0; i < 2 * n - 2 && std::fabs(power) > 1e-30; ++i, power *= pole)
    sum += power * c[(i < n ? i : 2 * n - 2 - i) * step];
  c[0] = sum;
  for (int64_t i = 1; i < n; ++i) c[i * step] += pole * c[(i - 1) * step];
  c[(n - 1) * step] = (pole * c[(n - 2) * step] + c[(n - 1) * step]) * pole / (pole * pole - 1.0);
  for (int64_t i = n - 2; i >= 0; --i) c[i * step] = pole * (c[(i + 1) * step] - c[i * step]);
}

// A stamp shifted by x, y [px] with a cubic spline; pixels beyond its edge repeat those of the edge.
std::array<double, area> shifted(const Stamp& stamp, double x, double y) {
  constexpr int64_t wide = side + 2 * gap;
  std::array<double, wide * wide> c;
  for (int64_t i = 0; i < wide; ++i)
    for (int64_t j = 0; j < wide; ++j)
      c[size_t(i * wide + j)] = stamp[size_t(std::clamp<int64_t>(i - gap, 0, side - 1) * side +
                                             std::clamp<int64_t>(j - gap, 0, side - 1))];
  for (int64_t i = 0; i < wide; ++i) spline(&c[size_t(i * wide)], wide, 1);
  for (int64_t j = 0; j < wide; ++j) spline(&c[size_t(j)], wide, wide);
  const auto weights = [](double at, int64_t& from, double* w) {
    const double whole = std::floor(at), t = at - whole, u = 1.0 - t;
    from = int64_t(whole) - 1;
    w[0] = u * u * u / 6.0;
    w[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0;
    w[2] = (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0;
    w[3] = t * t * t / 6.0;
  };
  std::array<double, area> out;
  for (int i = 0; i < area; ++i) {
    int64_t row, column;
    double wy[4], wx[4], sum = 0.0;
    weights(double(i / side + gap) - y, row, wy);
    weights(double(i % side + gap) - x, column, wx);
    for (int a = 0; a < 4; ++a)
      for (int b = 0; b < 4; ++b)
        sum += wy[a] * wx[b] * c[size_t((row + a) * wide + column + b)];
    out[size_t(i)] = sum;
  }
  return out;
}

Stamp gaussian(double sigma) {
  std::array<double, area> values;
  double total = 0.0;
  for (int i = 0; i < area; ++i) {
    const double r = radius_of(i);
    total += values[size_t(i)] = std::exp(-(r * r) / (2 * sigma * sigma));
  }
  Stamp out;
  for (int i = 0; i < area; ++i) out[size_t(i)] = float(values[size_t(i)] / total);
  return out;
}

double noise_area(const Stamp& profile) {
  double sum = 0.0;
  for (const float v : profile) sum += double(v) * double(v);
  return 1.0 / sum;
}

// The profile at every phase within a pixel, one after the other.
std::vector<float> all_phases(const Stamp& profile) {
  std::vector<float> out;
  for (int y = 0; y < phases; ++y) {
    for (int x = 0; x < phases; ++x) {
      const auto moved = shifted(profile, (x + 0.5) / phases - 0.5, (y + 0.5) / phases - 0.5);
      out.insert(out.end(), moved.begin(), moved.end());
    }
  }
  return out;
}

// At most so many rows, evenly spread, and then in the order of the bands they lie in.
std::vector<size_t> thinned(const std::vector<size_t>& rows, const Rules& rules) {
  const size_t step = 1 + rows.size() / size_t(8 * rules.whole("profile_most"));
  std::vector<size_t> out;
  for (size_t k = 0; k < rows.size(); k += step) out.push_back(rows[k]);
  return out;
}

Stamp best_width(const Frame& frame, const Pixels& pixels, const Rules& rules, const RawPoints& raw) {
  if (frame.fwhm || raw.size() == 0) return gaussian(window_sigma(frame, rules));
  std::vector<size_t> order(raw.logit.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return raw.logit[a] > raw.logit[b]; });
  order.resize(std::min<size_t>(order.size(), size_t(rules.whole("profile_surest"))));
  order = thinned(order, rules);
  double best = -INFINITY, width = 0.0;
  for (const double sigma : rules.doubles("profile_widths")) {
    const std::vector<float> bank = all_phases(gaussian(sigma));
    double summed = 0.0;
    for (const size_t k : order) {
      bool whole;
      const Stamp stamp = pixels.stamp(&raw.xy[2 * k], whole);
      const float* own = &bank[size_t(phase_of(&raw.xy[2 * k])) * area];
      double product = 0.0, square = 0.0;
      for (int i = 0; i < area; ++i) {
        product += double(stamp[size_t(i)]) * double(own[i]);
        square += double(own[i]) * double(own[i]);
      }
      summed += log1p(std::max(product / std::sqrt(square), 0.0));
    }
    if (summed > best) {
      best = summed;
      width = sigma;
    }
  }
  return gaussian(width);
}

Stamp measure_profile(const Frame& frame, const Pixels& pixels, const Rules& rules,
                      const RawPoints& raw) {
  std::vector<size_t> sure;
  for (size_t k = 0; k < raw.logit.size(); ++k)
    if (raw.logit[k] > rules.number("sure_logit")) sure.push_back(k);
  struct Star {
    size_t row;
    Stamp stamp;
    double snr;
    int64_t band;
  };
  std::vector<Star> stars;
  int core = 0;
  for (int i = 0; i < area; ++i) core += radius_of(i) <= rules.number("core_px");
  for (const size_t row : thinned(sure, rules)) {
    bool whole;
    Star star{row, pixels.stamp(&raw.xy[2 * row], whole), 0.0,
              int64_t(std::nearbyint(raw.xy[2 * row + 1]))};
    for (int i = 0; i < area; ++i)
      if (radius_of(i) <= rules.number("core_px")) star.snr += double(star.stamp[size_t(i)]);
    star.snr /= std::sqrt(double(core));
    if (whole && star.snr < rules.number("profile_brightest")) stars.push_back(star);
  }
  std::stable_sort(stars.begin(), stars.end(),
                   [](const Star& a, const Star& b) { return a.band < b.band; });
  for (const double faintest : rules.doubles("profile_faintest")) {
    std::vector<Star> kept;
    double squares = 0.0;
    for (const Star& star : stars) {
      if (!(star.snr > faintest)) continue;
      kept.push_back(star);
      squares += star.snr * star.snr;
    }
    if (int64_t(kept.size()) < rules.whole("profile_fewest") || squares < rules.number("profile_summed"))
      continue;
    std::stable_sort(kept.begin(), kept.end(),
                     [](const Star& a, const Star& b) { return a.snr > b.snr; });
    kept.resize(std::min<size_t>(kept.size(), size_t(rules.whole("profile_most"))));
    std::vector<std::vector<double>> values(area);
    for (const Star& star : kept) {
      const double x = raw.xy[2 * star.row], y = raw.xy[2 * star.row + 1];
      const auto centred = shifted(star.stamp, -(x - std::nearbyint(x)), -(y - std::nearbyint(y)));
      for (size_t i = 0; i < area; ++i) values[i].push_back(centred[i] / star.snr);
    }
    std::array<double, area> middle;
    double total = 0.0;
    for (int i = 0; i < area; ++i) {
      middle[size_t(i)] = radius_of(i) > half ? 0.0 : median(values[size_t(i)]);
      total += middle[size_t(i)];
    }
    if (total <= 0) break;
    Stamp out;
    for (size_t i = 0; i < area; ++i) out[i] = float(middle[i] / total);
    return out;
  }
  return best_width(frame, pixels, rules, raw);
}

}  // namespace

double window_sigma(const Frame& frame, const Rules& rules) {
  return frame.fwhm.value_or(rules.number("unknown_fwhm_px")) * rules.number("fwhm_to_sigma");
}

void measure_context(const Frame& frame, const Background& sky, const Rules& rules, RawPoints& raw) {
  raw.context.assign(raw.logit.size(), {});
  if (raw.size() == 0) return;
  const Pixels pixels(frame, sky);
  const Stamp profile = measure_profile(frame, pixels, rules, raw);
  const double sigma = std::sqrt(noise_area(profile) / (4 * 3.14159265358979323846));
  std::vector<float> banks;
  for (const Stamp& one : {profile, gaussian(rules.number("narrow_sigma_px")), gaussian(2 * sigma)}) {
    const std::vector<float> bank = all_phases(one);
    banks.insert(banks.end(), bank.begin(), bank.end());
  }
  const int64_t n = raw.size();
  std::vector<int64_t> at(static_cast<size_t>(n)), phase(static_cast<size_t>(n));
  for (int64_t k = 0; k < n; ++k) {
    at[size_t(k)] = pixels.at(&raw.xy[size_t(2 * k)]);
    phase[size_t(k)] = phase_of(&raw.xy[size_t(2 * k)]);
  }
  constexpr int measured = 11;
  std::vector<float> eleven(size_t(n * measured));
  skyduel_context_features(pixels.z.data(), pixels.usable.data(), pixels.width, n, at.data(),
                           phase.data(), banks.data(), phases * phases, eleven.data());
  const double farthest = rules.number("neighbour_px");
  std::vector<double> distance(size_t(n), farthest), more(size_t(n), 0.0);
  if (skyduel_nearest_higher(raw.xy.data(), raw.logit.data(), n, farthest, rules.whole("neighbours"),
                             distance.data(), more.data()))
    throw std::bad_alloc();
  double sure = 0.0;
  for (const double logit : raw.logit) sure += logit > rules.number("sure_logit");
  const double crowd = std::log(sure / double(frame.nx * frame.ny) * 1e6 + 10) / std::log(10.0);
  for (int64_t k = 0; k < n; ++k) {
    auto& row = raw.context[size_t(k)];
    std::copy_n(&eleven[size_t(k * measured)], measured, row.begin());
    row[11] = float(crowd);
    row[12] = float(std::log(noise_area(profile)));
    row[13] = float(distance[size_t(k)]);
    row[14] = float(std::min(more[size_t(k)], 20.0));
  }
}

}  // namespace points

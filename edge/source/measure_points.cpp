// Suppression, scores, windowed positions and fluxes.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels.h"
extern "C" {
#include "sep.h"
}
#include "sources.h"

namespace points {

namespace {

constexpr double pi = 3.14159265358979323846;

double expit(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

struct Kept {
  size_t row;
  double logit;
};

std::vector<Kept> suppress(const RawPoints& raw, const Rules& rules) {
  const int64_t n = raw.size();
  if (n == 0) return {};
  double corner[2] = {INFINITY, INFINITY};
  for (int64_t k = 0; k < 2 * n; ++k) corner[k % 2] = std::min(corner[k % 2], raw.xy[size_t(k)]);
  const double half = rules.number("nms_box_px") / 2, lowest = rules.number("nms_lowest");
  std::vector<float> boxes(size_t(4 * n)), scores(size_t(n), 0.0f), left(size_t(n), 0.0f);
  for (int64_t k = 0; k < n; ++k) {
    scores[size_t(k)] = float(expit(raw.logit[size_t(k)]));
    for (int64_t axis = 0; axis < 2; ++axis) {
      const double at = raw.xy[size_t(2 * k + axis)] - std::floor(corner[axis]) + 0.5;
      boxes[size_t(4 * k + axis)] = float(at - half);
      boxes[size_t(4 * k + 2 + axis)] = float(at + half);
    }
  }
  std::vector<int64_t> index(static_cast<size_t>(n));
  const int64_t count = skyduel_soft_nms(boxes.data(), scores.data(), n, rules.number("nms_sigma"),
                                         lowest, index.data(), left.data());
  if (count < 0) throw std::runtime_error(skyduel_refusal());
  std::vector<Kept> out;
  for (int64_t k = 0; k < count; ++k) {
    const size_t row = size_t(index[size_t(k)]);
    const double p = std::min(std::max(double(left[size_t(k)]), lowest), 1 - 1e-12);
    out.push_back({row, std::min(std::log(p / (1 - p)), raw.logit[row])});
  }
  return out;
}

// As skyduel.detect.model.score_model.Calibration.score.
double score_of(double logit, const std::array<float, features>& context, const Rules& rules) {
  if (rules.has("rescoring_mean")) {
    const auto &mean = rules.doubles("rescoring_mean"), &scale = rules.doubles("rescoring_scale");
    const double farthest = rules.number("rescoring_farthest");
    std::vector<double> u(mean.size());
    for (size_t i = 0; i < u.size(); ++i) {
      const double value = (asinh(i ? double(context[i - 1]) : logit) - mean[i]) / scale[i];
      u[i] = std::min(std::max(value, -farthest), farthest);
    }
    const int64_t layers = rules.whole("rescoring_layers");
    for (int64_t layer = 0; layer < layers; ++layer) {
      const auto& weights = rules.doubles("rescoring_layer" + std::to_string(layer));
      const size_t wide = u.size() + 1;
      std::vector<double> next(weights.size() / wide);
      for (size_t j = 0; j < next.size(); ++j) {
        double sum = 0.0;
        for (size_t i = 0; i < u.size(); ++i) sum += u[i] * weights[j * wide + i];
        sum += weights[j * wide + u.size()];
        next[j] = layer + 1 < layers ? tanh(sum) : sum;
      }
      u = next;
    }
    logit += u[0];
  }
  double odds = rules.number("slope") * logit + rules.number("offset");
  const double gain = rules.number("snr_gain");
  if (gain != 0) {
    const auto& range = rules.doubles("likely");
    const double likely = std::min(std::max((odds - range[0]) / (range[1] - range[0]), 0.0), 1.0);
    const double plain = rules.number("plain_snr"), snr = std::max(double(context[0]), plain);
    odds += gain * likely * std::log(snr / plain);
  }
  return expit(odds);
}

double position_error(const Rules& rules, const std::string& name, double sigma, double snr) {
  if (!rules.has(name) || !(snr > 0)) return NAN;
  const auto& model = rules.doubles(name);  // floor, gain
  const double part = model[1] * sigma / snr;
  return std::sqrt(model[0] * model[0] + part * part);
}

// The flux in a circle, as skyduel.core.measure.aperture_photometry.
class Apertures {
 public:
  Apertures(const Frame& frame, const Background& sky, const Rules& rules)
      : frame_(frame), light_(frame.data.size()), ones_(frame.data.size(), 1.0f) {
    for (size_t k = 0; k < light_.size(); ++k) light_[k] = frame.data[k] - sky.level[k];
    radius_ = frame.fwhm ? std::max(rules.number("aperture_fwhms") * *frame.fwhm,
                                    rules.number("aperture_least_px"))
                         : rules.number("unknown_fwhm_px");
    image_.data = light_.data();
    image_.noise = sky.rms.data();
    image_.dtype = image_.ndtype = SEP_TFLOAT;
    image_.mdtype = SEP_TBYTE;
    image_.noise_type = SEP_NOISE_STDDEV;
    image_.w = frame.nx;
    image_.h = frame.ny;
    image_.gain = frame.gain.value_or(0.0);
    for (const uint8_t bad : frame.bad) masked_ |= bad;
    if (masked_) image_.mask = frame.bad.data();
  }

  void measure(Point& point) const {
    double flux = NAN, error = NAN;
    sum(image_, point, flux, error);
    const double edge = std::min(std::min(point.x, double(frame_.nx - 1) - point.x),
                                 std::min(point.y, double(frame_.ny - 1) - point.y));
    if (edge < radius_ - 0.5) {
      sep_image whole{};
      whole.data = ones_.data();
      whole.dtype = SEP_TFLOAT;
      whole.w = frame_.nx;
      whole.h = frame_.ny;
      double on = 0, unused = 0;
      sum(whole, point, on, unused);
      const double factor = on > 1e-6 ? pi * radius_ * radius_ / on : NAN;
      flux *= factor;
      error *= factor;
    }
    point.flux = flux;
    point.flux_err = error;
  }

  const std::vector<float>& light() const { return light_; }
  const uint8_t* mask() const { return masked_ ? frame_.bad.data() : nullptr; }

 private:
  void sum(const sep_image& image, const Point& point, double& flux, double& error) const {
    double usable = 0;
    short flag = 0;
    const int status = sep_sum_circle(&image, point.x, point.y, radius_, 0, 0, 0, &flux, &error,
                                      &usable, &flag);
    if (status) require(frame_.name, "circles that SEP can measure", "its error ", status);
  }
  const Frame& frame_;
  std::vector<float> light_, ones_;
  sep_image image_{};
  double radius_ = 0;
  bool masked_ = false;
};

// The shift common to all points, zero unless significant.
std::array<double, 2> common(const std::vector<std::array<double, 2>>& shift, const Rules& rules) {
  const size_t n = shift.size();
  if (int64_t(n) < rules.whole("shift_sources")) return {0, 0};
  std::array<double, 2> middle;
  double squares = 0.0;
  for (size_t axis = 0; axis < 2; ++axis) {
    std::vector<double> values;
    for (const auto& one : shift) values.push_back(one[axis]);
    middle[axis] = median(values);
    for (double& value : values) value = std::fabs(value - middle[axis]);
    const double spread = rules.number("mad_to_sigma") * median(values);
    squares += spread * spread;
  }
  const double error = rules.number("median_error") * std::sqrt(squares) / std::sqrt(2.0 * double(n));
  const double length = std::sqrt(middle[0] * middle[0] + middle[1] * middle[1]);
  if (length > std::max(rules.number("shift_px"), rules.number("shift_errors") * error)) return middle;
  return {0, 0};
}

void refine(const Frame& frame, const Rules& rules, const Apertures& apertures,
            std::vector<Point>& points) {
  const double sigma = window_sigma(frame, rules), least = rules.number("least_window_px");
  std::vector<size_t> bright;
  std::vector<double> x, y;
  for (size_t k = 0; k < points.size(); ++k) {
    if (!(points[k].flux / points[k].flux_err > rules.number("bright_snr"))) continue;
    bright.push_back(k);
    x.push_back(points[k].x);
    y.push_back(points[k].y);
  }
  if (bright.empty()) return;
  const std::vector<double> width(bright.size(), std::max(sigma, least));
  std::vector<int16_t> flags(bright.size());
  skyduel_windowed_position(apertures.light().data(), apertures.mask(), frame.ny, frame.nx,
                            int64_t(bright.size()), x.data(), y.data(), width.data(), flags.data());
  std::vector<size_t> good;
  std::vector<std::array<double, 2>> shift;
  const double farthest = rules.number("window_farthest_px");
  for (size_t i = 0; i < bright.size(); ++i) {
    const double dx = x[i] - points[bright[i]].x, dy = y[i] - points[bright[i]].y;
    if (flags[i] & (SEP_APER_TRUNC | SEP_APER_ALLMASKED | SEP_APER_NONPOSITIVE)) continue;
    if (!(std::sqrt(dx * dx + dy * dy) <= farthest)) continue;
    good.push_back(bright[i]);
    shift.push_back({dx, dy});
  }
  const auto all = common(shift, rules);
  for (size_t i = 0; i < good.size(); ++i) {
    Point& point = points[good[i]];
    const double dx = shift[i][0] - all[0], dy = shift[i][1] - all[1];
    if (dx == 0 && dy == 0) continue;
    const double snr = point.flux / point.flux_err;
    point.x += dx;
    point.y += dy;
    apertures.measure(point);
    if (rules.has("centroid_error")) point.xy_err = position_error(rules, "centroid_error", sigma, snr);
  }
}

}  // namespace

std::vector<Point> measure_points(const Frame& frame, const Background& sky, const Rules& rules,
                                  const RawPoints& raw) {
  const Apertures apertures(frame, sky, rules);
  std::vector<Point> out;
  for (const Kept& kept : suppress(raw, rules)) {
    const auto& context = raw.context[kept.row];
    const double score = score_of(kept.logit, context, rules);
    if (!(score >= rules.number("floor"))) continue;
    Point point{raw.xy[2 * kept.row], raw.xy[2 * kept.row + 1], NAN, score, NAN, NAN};
    const auto on = [](double at, int64_t n) {
      return std::clamp<int64_t>(int64_t(std::nearbyint(at)), 0, n - 1);
    };
    if (frame.bad[size_t(on(point.y, frame.ny) * frame.nx + on(point.x, frame.nx))]) continue;
    const double sigma = std::sqrt(std::exp(double(context[12])) / (4 * pi));
    point.xy_err = position_error(rules, "network_position_error", sigma, double(context[0]));
    apertures.measure(point);
    out.push_back(point);
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Point& a, const Point& b) { return a.score > b.score; });
  refine(frame, rules, apertures, out);
  return out;
}

}  // namespace points

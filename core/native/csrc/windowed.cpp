// Half-light radii and windowed positions, as SExtractor defines them and SEP computes them.
//
// Every sum runs over the same numbers in the same order as in SEP, so that results are equal
// in every digit. Time is saved in two ways: annuli beyond the half-light radius are not filled,
// and the squares of the sub-pixels' offsets are computed once per row and column.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr int annuli = 64;       // SEP's number of annuli up to the largest radius
constexpr int most_steps = 16;   // of a windowed position
constexpr double reach = 4.0;    // radius of the window over its sigma
constexpr double least_step = 1e-4;
constexpr double centroid_factor = 2.0;  // of a Gaussian window
constexpr double half_diagonal = 0.7072;
constexpr int16_t truncated = 0x0010, has_masked = 0x0020;

struct Image {
  const float* data;
  const uint8_t* mask;  // null: no pixel is masked
  int64_t height, width;
};

struct Box {
  int64_t x0, x1, y0, y1;
  bool cut;
};

Box box_around(const Image& image, double x, double y, double r) {
  Box box{int64_t(x - r + 0.5), int64_t(x + r + 1.4999999), int64_t(y - r + 0.5),
          int64_t(y + r + 1.4999999), false};
  box.cut = box.x0 < 0 || box.y0 < 0 || box.x1 > image.width || box.y1 > image.height;
  box.x0 = std::max<int64_t>(box.x0, 0);
  box.y0 = std::max<int64_t>(box.y0, 0);
  box.x1 = std::min(box.x1, image.width);
  box.y1 = std::min(box.y1, image.height);
  return box;
}

// Sums over the first `used` annuli of width step, cumulated.
void fill_annuli(const Image& image, double x, double y, double rmax, int used, int subpix,
                 double* sum) {
  const double scale = 1.0 / subpix, scale2 = scale * scale, offset = 0.5 * (scale - 1.0);
  const double step = rmax / annuli, density = 1.0 / step;
  const double border = rmax + 1.5, border2 = border * border;
  // A pixel whose centre lies beyond this has no part in the annuli that are used.
  const double beyond = used < annuli ? used * step + half_diagonal + 1e-6 : border;
  const double beyond2 = beyond * beyond;
  double area[annuli] = {}, masked_area[annuli] = {};
  std::fill(sum, sum + used, 0.0);
  const Box box = box_around(image, x, y, border);
  for (int64_t iy = box.y0; iy < box.y1; ++iy) {
    const double dy = iy - y;
    if (std::fabs(dy) > beyond) continue;
    for (int64_t ix = box.x0; ix < box.x1; ++ix) {
      const double dx = ix - x;
      const double distance2 = dx * dx + dy * dy;
      if (!(distance2 < border2) || distance2 > beyond2) continue;
      const int64_t at = iy * image.width + ix;
      const double value = image.data[at];
      const bool masked = image.mask && image.mask[at];
      const double distance = std::sqrt(distance2);
      const double into = std::fmod(distance, step);
      if (into < half_diagonal || into > step - half_diagonal) {
        double sub_y = dy + offset;
        for (int sy = 0; sy < subpix; ++sy, sub_y += scale) {
          double sub_x = dx + offset;
          const double y2 = sub_y * sub_y;
          for (int sx = 0; sx < subpix; ++sx, sub_x += scale) {
            const int64_t j = int64_t(std::sqrt(sub_x * sub_x + y2) * density);
            if (j >= used) continue;
            if (masked) {
              masked_area[j] += scale2;
            } else {
              sum[j] += scale2 * value;
            }
            area[j] += scale2;
          }
        }
      } else {
        const int64_t j = int64_t(distance * density);
        if (j >= used) continue;
        if (masked) {
          masked_area[j] += 1.0;
        } else {
          sum[j] += value;
        }
        area[j] += 1.0;
      }
    }
  }
  if (image.mask) {  // masked pixels count as the mean of the rest of their annulus
    for (int j = 0; j < used; ++j) {
      sum[j] *= area[j] == masked_area[j] ? 0.0 : area[j] / (area[j] - masked_area[j]);
    }
  }
  for (int j = 1; j < used; ++j) sum[j] += sum[j - 1];
}

double half_light(const Image& image, double x, double y, double rmax, double target,
                  int subpix) {
  double sum[annuli];
  for (int used : {20, 36, annuli}) {
    fill_annuli(image, x, y, rmax, used, subpix, sum);
    int i = 0;
    while (i < used && sum[i] < target) ++i;
    if (i == used && used < annuli) continue;
    const double step = rmax / annuli;
    if (i == 0) return target <= 0.0 || sum[0] == 0.0 ? 0.0 : step * target / sum[0];
    if (i == annuli) return rmax;
    return step * (i + (target - sum[i - 1]) / (sum[i] - sum[i - 1]));
  }
  return rmax;
}

constexpr int fine = 11;  // sub-pixels along one side of a pixel, in the window

// The squares of the offsets of a pixel's sub-pixels along one axis, ascending.
struct Squares {
  double value[fine];
  void set(double offset, double scale) {
    const bool right = offset >= 0.0;
    for (int s = 0; s < fine; ++s, offset += scale) value[s] = offset * offset;
    if (right) return;
    if (offset - scale <= 0.0) {
      std::reverse(value, value + fine);
    } else {
      std::sort(value, value + fine);
    }
  }
};

// The number of sub-pixels inside a circle; in ascending order its edge is a staircase.
int inside_circle(const Squares& column, const Squares& row, double r2) {
  int count = 0, width = fine;
  for (int sy = 0; sy < fine && width > 0; ++sy) {
    while (width > 0 && !(column.value[width - 1] + row.value[sy] < r2)) --width;
    count += width;
  }
  return count;
}

struct Window {
  std::vector<Squares> columns;
  double shares[fine * fine + 1];  // of a pixel's area, by the number of sub-pixels inside
};

int16_t windowed(const Image& image, double& x, double& y, double sigma, Window& work) {
  const double scale = 1.0 / fine, offset = 0.5 * (scale - 1.0);
  const double per_variance = 1.0 / (2.0 * sigma * sigma);
  const double r = reach * sigma, r2 = r * r;
  const double inner = r - half_diagonal;
  const double inner2 = inner > 0.0 ? inner * inner : 0.0;
  const double outer2 = (r + half_diagonal) * (r + half_diagonal);
  int16_t flag = 0;
  for (int iteration = 0; iteration < most_steps; ++iteration) {
    const Box box = box_around(image, x, y, r);
    if (box.cut) flag |= truncated;
    double total = 0.0, weighted = 0.0, area = 0.0, x_sum = 0.0, y_sum = 0.0;
    double masked_area = 0.0, masked_weight = 0.0, masked_x = 0.0, masked_y = 0.0;
    work.columns.resize(size_t(std::max<int64_t>(box.x1 - box.x0, 0)));
    for (int64_t ix = box.x0; ix < box.x1; ++ix) {
      work.columns[size_t(ix - box.x0)].set((ix - x) + offset, scale);
    }
    for (int64_t iy = box.y0; iy < box.y1; ++iy) {
      const double dy = iy - y;
      Squares row;
      row.set(dy + offset, scale);
      for (int64_t ix = box.x0; ix < box.x1; ++ix) {
        const double dx = ix - x;
        const double distance2 = dx * dx + dy * dy;
        if (!(distance2 < outer2)) continue;
        double overlap = 1.0;
        if (distance2 > inner2) {
          const Squares& column = work.columns[size_t(ix - box.x0)];
          overlap = work.shares[inside_circle(column, row, r2)];
        }
        const int64_t at = iy * image.width + ix;
        const float value = image.data[at];
        const double weight = std::exp(-distance2 * per_variance);
        if (image.mask && image.mask[at]) {
          flag |= has_masked;
          masked_area += overlap;
          masked_weight += overlap * weight;
          masked_x += overlap * weight * dx;
          masked_y += overlap * weight * dy;
        } else {
          total += value * overlap;
          const double part = value * overlap * weight;
          weighted += part;
          x_sum += part * dx;
          y_sum += part * dy;
        }
        area += overlap;
      }
    }
    if (image.mask) {
      const double mean = total / (area - masked_area);
      weighted += mean * masked_weight;
      x_sum += mean * masked_x;
      y_sum += mean * masked_y;
    }
    if (!(weighted > 0.0)) break;
    x_sum /= weighted;
    y_sum /= weighted;
    x += x_sum * centroid_factor;
    y += y_sum * centroid_factor;
    if (x_sum * x_sum + y_sum * y_sum < least_step * least_step) break;
  }
  return flag;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) void skyduel_half_light_radius(
    const float* data, const uint8_t* mask, int64_t height, int64_t width, int64_t n,
    const double* x, const double* y, const double* rmax, const double* target, int64_t subpix,
    double* radius) {
  const Image image{data, mask, height, width};
  for (int64_t k = 0; k < n; ++k) {
    radius[k] = half_light(image, x[k], y[k], rmax[k], target[k], int(subpix));
  }
}

// x, y: initial positions, overwritten by the windowed ones.
__attribute__((visibility("default"))) void skyduel_windowed_position(
    const float* data, const uint8_t* mask, int64_t height, int64_t width, int64_t n, double* x,
    double* y, const double* sigma, int16_t* flag) {
  const Image image{data, mask, height, width};
  Window work;
  const double scale = 1.0 / fine, share = scale * scale;
  work.shares[0] = 0.0;
  for (int k = 0; k < fine * fine; ++k) work.shares[k + 1] = work.shares[k] + share;
  for (int64_t k = 0; k < n; ++k) flag[k] = windowed(image, x[k], y[k], sigma[k], work);
}
}

// Features of a proposal from the pixels around it, and its nearest neighbour of higher logit.
//
// The pixels are in units of the noise, with a margin as wide as the bars on all sides, so no
// index needs a check. Unusable pixels are 0.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <new>
#include <vector>

namespace {

constexpr int half = 5, side = 2 * half + 1, area = side * side;
constexpr int lanes = 16, padded = (area + lanes - 1) / lanes * lanes;
constexpr int bar = 24, near_from = 3, far_from = 8;
constexpr int profiles = 3, features = 11;
constexpr float least = -4.0f, most = 8.0f;  // limits of pixels in means, which a star would decide

float dot(const float* a, const float* b) {
  float part[lanes] = {};
  for (int i = 0; i < padded; i += lanes) {
    for (int k = 0; k < lanes; ++k) part[k] += a[i + k] * b[i + k];
  }
  for (int n = lanes / 2; n > 0; n /= 2) {
    for (int k = 0; k < n; ++k) part[k] += part[k + n];
  }
  return part[0];
}

struct Stamp {
  float z[padded] = {};
  float usable[padded] = {};
};

struct Regions {
  std::vector<int> core, ring;
  Regions() {
    for (int i = 0; i < area; ++i) {
      const int dy = i / side - half, dx = i % side - half, r2 = dy * dy + dx * dx;
      if (r2 <= 9) core.push_back(i);                       // up to 3 px
      if (r2 > (half - 1) * (half - 1)) ring.push_back(i);  // beyond 4 px
    }
  }
};

// Means of the usable pixels of a bar, near to the middle and far from it.
void bar_means(const float* z, const uint8_t* usable, int64_t step, float& near, float& far) {
  float sum[2] = {};
  int count[2] = {};
  for (int64_t k = -bar; k <= bar; ++k) {
    const int64_t offset = k < 0 ? -k : k;
    if (offset < near_from) continue;
    const int which = offset >= far_from;
    sum[which] += std::min(std::max(z[k * step], least), most);
    count[which] += usable[k * step];
  }
  near = sum[0] / float(std::max(count[0], 1));
  far = sum[1] / float(std::max(count[1], 1));
}

void measure(const float* z, const uint8_t* usable, int64_t width, const float* bank,
             int64_t phases, int64_t phase, const Regions& regions, Stamp& stamp, float* out) {
  for (int row = 0; row < side; ++row) {
    const int64_t from = (row - half) * width - half;
    for (int i = 0; i < side; ++i) {
      stamp.z[row * side + i] = z[from + i];
      stamp.usable[row * side + i] = float(usable[from + i]);
    }
  }
  float own[padded] = {}, own_size = 1.0f;
  for (int p = 0; p < profiles; ++p) {
    const float* given = bank + (p * phases + phase) * area;
    float profile[padded] = {};
    for (int i = 0; i < area; ++i) profile[i] = given[i] * stamp.usable[i];
    float size = std::sqrt(dot(profile, profile));
    if (size == 0.0f) size = 1.0f;
    out[p] = dot(stamp.z, profile) / size;
    if (p == 0) {
      std::copy(profile, profile + padded, own);
      own_size = size;
    }
  }
  const float matched = out[0], scale = 1.0f + 0.1f * std::fabs(matched);
  float squares = 0.0f, highest = -INFINITY;
  for (int i : regions.core) {
    const float rest = stamp.z[i] - matched * (own[i] / own_size);
    squares += rest * rest;
    highest = std::max(highest, rest);
  }
  constexpr int middle = half * side + half;
  float ring = 0.0f;
  for (int i : regions.ring) ring += std::min(std::max(stamp.z[i], least), most);
  out[3] = std::log(squares / float(regions.core.size()) / (1.0f + 0.02f * matched * matched) +
                    0.05f);
  out[4] = (stamp.z[middle] - matched * (own[middle] / own_size)) / scale;
  out[5] = highest / scale;
  out[6] = ring / float(regions.ring.size());
  bar_means(z, usable, 1, out[7], out[9]);
  bar_means(z, usable, width, out[8], out[10]);
}

struct Cells {
  double x0, y0, size;
  int64_t columns, rows;
  int64_t column(double x) const { return clip((x - x0) / size, columns); }
  int64_t row(double y) const { return clip((y - y0) / size, rows); }
  static int64_t clip(double at, int64_t n) {
    return at > 0 ? (at < double(n - 1) ? int64_t(at) : n - 1) : 0;
  }
};

}  // namespace

extern "C" {

// z, usable: (height, width); at: index of each position's pixel; bank: (3, phases, 11, 11).
__attribute__((visibility("default"))) void skyduel_context_features(
    const float* z, const uint8_t* usable, int64_t width, int64_t n, const int64_t* at,
    const int64_t* phase, const float* bank, int64_t phases, float* out) {
  const Regions regions;
  Stamp stamp;
  for (int64_t k = 0; k < n; ++k) {
    measure(z + at[k], usable + at[k], width, bank, phases, phase[k], regions, stamp,
            out + features * k);
  }
}

// xy: (n, 2), finite. distance, more: of the nearest position within a radius whose value is
// higher, unless `crowd` positions are nearer; kept as they are where there is none. Returns 0,
// or 1 without memory.
__attribute__((visibility("default"))) int64_t skyduel_nearest_higher(
    const double* xy, const double* value, int64_t n, double radius, int64_t crowd,
    double* distance, double* more) {
  if (n == 0) return 0;
  try {
    double low[2] = {xy[0], xy[1]}, high[2] = {xy[0], xy[1]};
    for (int64_t k = 0; k < n; ++k) {
      for (int axis = 0; axis < 2; ++axis) {
        low[axis] = std::min(low[axis], xy[2 * k + axis]);
        high[axis] = std::max(high[axis], xy[2 * k + axis]);
      }
    }
    // Cells as wide as the radius, or wider where positions lie far apart.
    double size = radius;
    const double spread = (high[0] - low[0] + size) * (high[1] - low[1] + size);
    size = std::max(size, std::sqrt(spread / double(4 * n + 64)));
    Cells cells{low[0], low[1], size, 0, 0};
    cells.columns = int64_t((high[0] - low[0]) / size) + 1;
    cells.rows = int64_t((high[1] - low[1]) / size) + 1;
    std::vector<int64_t> first(size_t(cells.columns * cells.rows) + 1, 0), order(n), cell(n);
    for (int64_t k = 0; k < n; ++k) {
      cell[k] = cells.column(xy[2 * k]) * cells.rows + cells.row(xy[2 * k + 1]);
      ++first[cell[k] + 1];
    }
    for (size_t c = 1; c < first.size(); ++c) first[c] += first[c - 1];
    std::vector<int64_t> next(first.begin(), first.end() - 1);
    for (int64_t k = 0; k < n; ++k) order[next[cell[k]]++] = k;
    struct Place {
      double x, y, value;
    };
    std::vector<Place> sorted(n);  // in the order of cells, so that neighbours are in the cache
    for (int64_t m = 0; m < n; ++m) {
      const int64_t k = order[m];
      sorted[m] = {xy[2 * k], xy[2 * k + 1], value[k]};
    }
    const double beyond = radius * radius * (1 + 1e-9);
    std::vector<double> nearer;
    for (int64_t own = 0; own < n; ++own) {
      const Place here = sorted[own];
      const int64_t c = cells.column(here.x), r = cells.row(here.y);
      const int64_t r0 = std::max<int64_t>(r - 1, 0), r1 = std::min(r + 1, cells.rows - 1);
      double best = INFINITY, gain = 0.0;
      nearer.clear();
      for (int64_t i = std::max<int64_t>(c - 1, 0); i <= std::min(c + 1, cells.columns - 1); ++i) {
        const int64_t end = first[i * cells.rows + r1 + 1];
        for (int64_t m = first[i * cells.rows + r0]; m < end; ++m) {
          const double dx = here.x - sorted[m].x, dy = here.y - sorted[m].y;
          const double squared = dx * dx + dy * dy;
          if (squared > beyond || m == own) continue;
          const double d = std::sqrt(squared);
          if (!(d < radius)) continue;
          nearer.push_back(d);
          if (sorted[m].value > here.value && d < best) {
            best = d;
            gain = sorted[m].value - here.value;
          }
        }
      }
      if (std::isinf(best)) continue;
      if (std::count_if(nearer.begin(), nearer.end(), [&](double d) { return d < best; }) < crowd) {
        distance[order[own]] = best;
        more[order[own]] = gain;
      }
    }
  } catch (const std::bad_alloc&) {
    return 1;
  }
  return 0;
}
}

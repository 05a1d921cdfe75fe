// Tiles, input channels, proposals and regions.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels.h"
#include "sources.h"

namespace points {

namespace {

struct Span {
  int64_t from, to, core_from, core_to;
};

struct Box {
  int64_t y0, y1, x0, x1;
};

std::vector<Span> tile_spans(int64_t n, const Rules& rules) {
  const int64_t multiple = rules.whole("multiple"), size = rules.whole("tile_px");
  int64_t step = (size - 2 * rules.whole("margin_px")) / multiple * multiple;
  const int64_t margin = rules.whole("margin_px") / multiple * multiple;
  if (n <= rules.whole("whole_px")) return {{0, n, 0, n}};
  const int64_t tiles = (n + step - 1) / step;
  step = (n + tiles * multiple - 1) / (tiles * multiple) * multiple;
  std::vector<Span> spans;
  for (int64_t core = 0; core < n; core += step) {
    const int64_t end = std::min(core + step, n);
    spans.push_back({std::max<int64_t>(0, core - margin), std::min(n, end + margin), core, end});
  }
  return spans;
}

int64_t mirrored(int64_t at, int64_t n) {
  while (at < 0 || at >= n) at = at < 0 ? -1 - at : 2 * n - 1 - at;
  return at;
}

// Channels (4, ny, nx) of a box, padded with masked pixels to multiples.
std::vector<float> channels(const Frame& frame, const Background& sky, const Box& box, int64_t ny,
                            int64_t nx, const Rules& rules) {
  const float low = float(rules.number("clip_low")), linear = float(rules.number("clip_linear"));
  const float most = float(rules.number("clip_smoothed"));
  const auto& kernel = rules.floats("kernel");
  const int64_t reach = int64_t(kernel.size()) / 2, rows = box.y1 - box.y0, columns = box.x1 - box.x0;
  const auto z_at = [&](int64_t y, int64_t x) {
    const size_t k = size_t(y * frame.nx + x);
    return frame.bad[k] ? 0.0f : (frame.data[k] - sky.level[k]) / sky.rms[k];
  };
  // Smoothed down the columns first, with the columns beside the box.
  const int64_t wide = columns + 2 * reach;
  std::vector<float> clipped(size_t((rows + 2 * reach) * wide)), half(size_t(rows * wide));
  for (int64_t y = 0; y < rows + 2 * reach; ++y)
    for (int64_t x = 0; x < wide; ++x)
      clipped[size_t(y * wide + x)] = std::min(
          std::max(z_at(mirrored(box.y0 - reach + y, frame.ny), mirrored(box.x0 - reach + x, frame.nx)),
                   low), most);
  const auto smooth = [&](const float* at, int64_t step) {
    float sum = at[reach * step] * kernel[size_t(reach)];
    for (int64_t i = 0; i < reach; ++i)
      sum += (at[i * step] + at[(2 * reach - i) * step]) * kernel[size_t(i)];
    return sum;
  };
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t x = 0; x < wide; ++x) half[size_t(y * wide + x)] = smooth(&clipped[size_t(y * wide + x)], wide);
  const size_t plane = size_t(ny * nx);
  std::vector<float> out(4 * plane, 0.0f);
  for (int64_t y = 0; y < ny; ++y) {
    for (int64_t x = 0; x < nx; ++x) {
      float* to = &out[size_t(y * nx + x)];
      if (y >= rows || x >= columns) {
        to[3 * plane] = 1.0f;
        continue;
      }
      const float z = z_at(box.y0 + y, box.x0 + x);
      to[0] = 0.25f * std::min(std::max(z, low), linear);
      to[plane] = 0.25f * float(asinh(double(std::max(z, low))));
      to[2 * plane] = 0.25f * std::min(std::max(smooth(&half[size_t(y * wide + x)], 1), low), linear);
      const size_t k = size_t((box.y0 + y) * frame.nx + box.x0 + x);
      const bool full = frame.saturation && double(frame.data[k]) >= double(float(*frame.saturation));
      to[3 * plane] = frame.bad[k] ? 1.0f : (full ? 0.5f : 0.0f);
    }
  }
  return out;
}

struct Proposal {
  float x, y, logit;
};

std::vector<Proposal> propose(const DenseMaps& dense, const Rules& rules, int64_t most) {
  const int64_t h = dense.height, w = dense.width, plane = h * w, stride = rules.whole("stride");
  const double floor = rules.number("proposed");
  const float least = float(std::log(floor / (1 - floor)));
  const float merge = float(rules.number("merge_px")), merge2 = merge * merge;
  const float* presence = dense.maps.data();
  const float *dx = presence + plane, *dy = dx + plane;
  std::vector<Proposal> out;
  for (int64_t row = 0; row < h; ++row) {
    for (int64_t col = 0; col < w; ++col) {
      const int64_t at = row * w + col;
      const float own = presence[at];
      if (!(own > least)) continue;
      bool keep = true;
      for (int64_t dr = -2; dr <= 2 && keep; ++dr) {
        for (int64_t dc = -2; dc <= 2 && keep; ++dc) {
          if ((dr == 0 && dc == 0) || row + dr < 0 || row + dr >= h || col + dc < 0 || col + dc >= w)
            continue;
          const int64_t other = at + dr * w + dc;
          const bool before = dr < 0 || (dr == 0 && dc < 0);
          if (!(before ? presence[other] >= own : presence[other] > own)) continue;
          const float ax = dx[other] - dx[at] + float(stride * dc);
          const float ay = dy[other] - dy[at] + float(stride * dr);
          keep = !(ax * ax + ay * ay < merge2);
        }
      }
      const float middle = float(stride - 1) / 2;
      if (keep)
        out.push_back({float(col * stride) + middle + dx[at], float(row * stride) + middle + dy[at], own});
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Proposal& a, const Proposal& b) { return a.logit > b.logit; });
  if (int64_t(out.size()) > most) out.resize(size_t(most));
  return out;
}

bool within(double x, double y, const Box& box, double more) {
  x += 0.5;
  y += 0.5;
  return x >= double(box.x0) - more && x < double(box.x1) + more && y >= double(box.y0) - more &&
         y < double(box.y1) + more;
}

struct Found {
  std::vector<double> xy, logit, proposed;
  std::vector<uint8_t> seam;
  std::vector<int> tile;
};

void run_tile(const Frame& frame, const Background& sky, const Network& network, const Rules& rules,
              const Box& box, const Box& core, int tile, Found& found) {
  const int64_t multiple = rules.whole("multiple"), rows = box.y1 - box.y0, columns = box.x1 - box.x0;
  const int64_t ny = (rows + multiple - 1) / multiple * multiple;
  const int64_t nx = (columns + multiple - 1) / multiple * multiple;
  DenseMaps dense;
  {
    std::vector<float> image = channels(frame, sky, box, ny, nx, rules);
    dense = network.dense(image, ny, nx);
  }
  const auto most = std::max<int64_t>(
      64, int64_t(rules.number("most_per_mpix") * double(rows) * double(columns) / 1e6));
  const double seam_px = rules.number("seam_px");
  const double above = rules.has("regions_above") ? rules.number("regions_above") : -INFINITY;
  std::vector<float> undecided;
  std::vector<size_t> places;
  for (const Proposal& one : propose(dense, rules, most)) {
    const double x = double(one.x) + double(box.x0), y = double(one.y) + double(box.y0);
    if (!within(x, y, core, seam_px)) continue;
    if (one.logit >= above) {
      places.push_back(found.logit.size());
      undecided.push_back(one.x);
      undecided.push_back(one.y);
    }
    found.xy.insert(found.xy.end(), {x, y});
    found.proposed.insert(found.proposed.end(), {x, y});
    found.logit.push_back(one.logit);
    found.seam.push_back(!within(x, y, core, -seam_px));
    found.tile.push_back(tile);
  }
  const std::vector<float> out = network.classify(dense, undecided);
  for (size_t r = 0; r < places.size(); ++r) {
    const float* kinds = &out[5 * r];  // background, point, streak, dx, dy
    const double high = std::max(kinds[0], kinds[2]), less = std::min(kinds[0], kinds[2]);
    const float others = float(high + std::log(1.0 + std::exp(less - high)));
    const size_t k = places[r];
    found.logit[k] = (found.logit[k] + double(kinds[1] - others)) / 2;
    found.xy[2 * k] += double(kinds[3]);
    found.xy[2 * k + 1] += double(kinds[4]);
  }
}

// Which sources stay: on seams, of two tiles' the one of higher logit.
std::vector<uint8_t> without_duplicates(const Found& found, const Rules& rules) {
  std::vector<uint8_t> keep(found.logit.size(), 1);
  std::vector<size_t> seam;
  std::vector<double> at;
  for (size_t k = 0; k < keep.size(); ++k) {
    if (!found.seam[k]) continue;
    seam.push_back(k);
    at.insert(at.end(), {found.proposed[2 * k], found.proposed[2 * k + 1]});
  }
  if (seam.empty() || found.tile.back() == 0) return keep;
  int64_t count = 0;
  const double same = rules.number("same_px");
  const int64_t n = int64_t(seam.size());
  void* handle = skyduel_neighbours(at.data(), n, at.data(), n, same * (1 + 1e-9), 1, &count);
  if (!handle) throw std::bad_alloc();
  std::vector<int64_t> first(static_cast<size_t>(count)), second(static_cast<size_t>(count));
  skyduel_take_neighbours(handle, first.data(), second.data());
  std::vector<size_t> order(keep.size()), rank(keep.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return found.logit[a] > found.logit[b]; });
  for (size_t r = 0; r < order.size(); ++r) rank[order[r]] = r;
  std::vector<std::pair<size_t, size_t>> pairs;
  for (int64_t p = 0; p < count; ++p) {
    const size_t i = size_t(first[size_t(p)]), j = size_t(second[size_t(p)]);
    if (i >= j || found.tile[seam[i]] == found.tile[seam[j]]) continue;
    const double dx = at[2 * i] - at[2 * j], dy = at[2 * i + 1] - at[2 * j + 1];
    if (dx * dx + dy * dy > same * same) continue;
    pairs.push_back(std::minmax(rank[seam[i]], rank[seam[j]]));
  }
  std::sort(pairs.begin(), pairs.end());
  for (const auto& [a, b] : pairs)
    if (keep[order[a]]) keep[order[b]] = 0;
  return keep;
}

}  // namespace

RawPoints find_points(const Frame& frame, const Background& sky, const Network& network,
                      const Rules& rules) {
  Found found;
  int tile = 0;
  for (const Span& rows : tile_spans(frame.ny, rules)) {
    for (const Span& columns : tile_spans(frame.nx, rules)) {
      const Box box{rows.from, rows.to, columns.from, columns.to};
      const Box core{rows.core_from, rows.core_to, columns.core_from, columns.core_to};
      run_tile(frame, sky, network, rules, box, core, tile++, found);
    }
  }
  RawPoints out;
  const std::vector<uint8_t> keep = without_duplicates(found, rules);
  for (size_t k = 0; k < keep.size(); ++k) {
    const double x = found.xy[2 * k], y = found.xy[2 * k + 1];
    if (!keep[k] || !(x > -0.5 && x < double(frame.nx) - 0.5 && y > -0.5 && y < double(frame.ny) - 0.5))
      continue;
    out.xy.insert(out.xy.end(), {x, y});
    out.logit.push_back(found.logit[k]);
  }
  measure_context(frame, sky, rules, out);
  return out;
}

}  // namespace points

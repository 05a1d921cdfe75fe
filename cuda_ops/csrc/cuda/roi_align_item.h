// ROIAlign, one value of one crop a thread.
#pragma once

#include <cmath>
#include <cstdint>

#include "../limits.h"
#include "item.h"

namespace skyduel::item {

struct RoiAlign {
  int64_t images, channels, height, width;
  int32_t rows, columns; // bins
  double scale;
  int32_t ratio; // samples a bin and axis; 0 = one a map pixel
  bool aligned, channels_last;

  SKYDUEL_HD int64_t values(int64_t crops) const {
    return crops * channels * rows * columns;
  }
  // Element (channel, y, x) of a stack of maps, or (channel, row, column) of crops.
  SKYDUEL_HD int64_t at(
      int64_t n, int64_t c, int64_t y, int64_t x, int64_t high, int64_t wide) const {
    return channels_last ? ((n * high + y) * wide + x) * channels + c
                         : ((n * channels + c) * high + y) * wide + x;
  }
};

// Which value thread `i` makes; neighbouring threads make neighbouring values.
struct Place {
  int64_t crop, channel;
  int32_t row, column;
};

SKYDUEL_HD Place place(const RoiAlign& op, int64_t i) {
  Place p;
  if (op.channels_last) {
    p.channel = i % op.channels;
    i /= op.channels;
  }
  p.column = int32_t(i % op.columns);
  i /= op.columns;
  p.row = int32_t(i % op.rows);
  i /= op.rows;
  if (!op.channels_last) {
    p.channel = i % op.channels;
    i /= op.channels;
  }
  p.crop = i;
  return p;
}

// Which of the samples of a bin may fall on a map of `size` pixels: no more of a huge box
// are looked at than the map has room for. Wider by what float may be off at kFarthest.
struct Span {
  int64_t first, end;
};

SKYDUEL_HD Span reach(double start, double step, int64_t samples, int64_t size) {
  constexpr double slack = 8;
  if (!(step > 0))
    return {0, samples};
  const double each = step / double(samples);
  const double first = std::floor((-1 - slack - start) / each) - 1;
  const double end = std::ceil((double(size) + slack - start) / each) + 1;
  return {
      first > 0 ? (first < double(samples) ? int64_t(first) : samples) : 0,
      end < double(samples) ? (end > 0 ? int64_t(end) : 0) : samples};
}

// Calls visit(y, x, weight) for the map pixels that make up one value; false if
// the box names no image, is not finite or reaches beyond kFarthest.
template <class A, class Visit>
SKYDUEL_HD bool for_each_pixel(
    const RoiAlign& op, const A* box, const Place& p, const Visit& visit) {
  for (int i = 1; i < 5; ++i)
    if (!(std::abs(double(box[i]) * op.scale) <= kFarthest))
      return false;
  if (!(box[0] >= A(0) && box[0] < A(op.images)))
    return false;
  const A scale = A(op.scale), offset = op.aligned ? A(0.5) : A(0);
  const A x1 = box[1] * scale - offset, y1 = box[2] * scale - offset;
  A width = box[3] * scale - offset - x1, height = box[4] * scale - offset - y1;
  if (!op.aligned) {
    width = width > A(1) ? width : A(1);
    height = height > A(1) ? height : A(1);
  }
  const A step_y = height / A(op.rows), step_x = width / A(op.columns);
  const int64_t samples_y = op.ratio > 0 ? op.ratio : int64_t(std::ceil(step_y));
  const int64_t samples_x = op.ratio > 0 ? op.ratio : int64_t(std::ceil(step_x));
  if (samples_y <= 0 || samples_x <= 0)
    return true;
  const A share = A(1) / (A(samples_y) * A(samples_x));
  const Span down_span = reach(double(y1 + A(p.row) * step_y), double(step_y), samples_y, op.height);
  const Span across_span =
      reach(double(x1 + A(p.column) * step_x), double(step_x), samples_x, op.width);
  for (int64_t sy = down_span.first; sy < down_span.end; ++sy) {
    A y = y1 + A(p.row) * step_y + (A(sy) + A(0.5)) * step_y / A(samples_y);
    if (!(y >= A(-1) && y <= A(op.height)))
      continue;
    y = y > A(0) ? y : A(0);
    const int64_t top = int64_t(y) < op.height - 1 ? int64_t(y) : op.height - 1;
    const int64_t bottom = top + 1 < op.height ? top + 1 : top;
    const A down = top == op.height - 1 ? A(0) : y - A(top);
    for (int64_t sx = across_span.first; sx < across_span.end; ++sx) {
      A x = x1 + A(p.column) * step_x + (A(sx) + A(0.5)) * step_x / A(samples_x);
      if (!(x >= A(-1) && x <= A(op.width)))
        continue;
      x = x > A(0) ? x : A(0);
      const int64_t left = int64_t(x) < op.width - 1 ? int64_t(x) : op.width - 1;
      const int64_t right = left + 1 < op.width ? left + 1 : left;
      const A across = left == op.width - 1 ? A(0) : x - A(left);
      visit(top, left, (A(1) - down) * (A(1) - across) * share);
      visit(top, right, (A(1) - down) * across * share);
      visit(bottom, left, down * (A(1) - across) * share);
      visit(bottom, right, down * across * share);
    }
  }
  return true;
}

// Value i of the crops. `Load` reads one element of the maps as A.
template <class A, class Load>
SKYDUEL_HD A forward_value(const RoiAlign& op, const A* boxes, int64_t i, const Load& load) {
  const Place p = place(op, i);
  const A* box = boxes + 5 * p.crop;
  A sum = A(0);
  const bool known = for_each_pixel<A>(op, box, p, [&](int64_t y, int64_t x, A weight) {
    sum += weight * load(op.at(int64_t(box[0]), p.channel, y, x, op.height, op.width));
  });
  return known ? sum : A(NAN);
}

// Spreads gradient value i over the maps. `Add` adds to one element.
template <class A, class Add>
SKYDUEL_HD void backward_value(
    const RoiAlign& op, const A* boxes, int64_t i, A gradient, const Add& add) {
  const Place p = place(op, i);
  const A* box = boxes + 5 * p.crop;
  for_each_pixel<A>(op, box, p, [&](int64_t y, int64_t x, A weight) {
    add(op.at(int64_t(box[0]), p.channel, y, x, op.height, op.width), weight * gradient);
  });
}

} // namespace skyduel::item

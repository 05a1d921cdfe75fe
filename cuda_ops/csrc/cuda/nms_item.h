// Soft-NMS and NMS, one box a thread and round.
//
// A waiting box that is better than every waiting box it touches can be kept at
// once: scores only fall, so nothing can overtake it. Each round keeps all such
// boxes side by side and lowers the scores around them. A score is always
// formed anew, from the box's own score and its kept neighbours by falling
// score, which is the order in which the greedy algorithm multiplies; a product
// over some of the neighbours is never below the product over all, also when
// rounded, so every decision is the greedy algorithm's.
#pragma once

#include <cmath>
#include <cstdint>

#include "item.h"

namespace skyduel::item {

enum Status : uint8_t { waiting, winner, kept, dropped };

// The boxes in the order of their cells; all arrays on the device.
template <class E>
struct Field {
  int64_t count;
  const E* boxes; // (count, 4)
  const double* own; // scores as given
  double* score; // as they stand; final once kept
  uint8_t* status;
  const int64_t* index; // in the input
  const int64_t* kind; // or null
  const int32_t* starts; // of each cell, one more than cells
  double low_x, low_y, inverse, half; // half: of the widest box, and a little
  int64_t columns, rows;
};

struct Rule {
  int32_t method; // 0 gaussian, 1 linear, 2 hard
  double sigma, iou_threshold, score_threshold;
};

SKYDUEL_HD int64_t cell_along(double at, double low, double inverse, int64_t count) {
  const double cell = (at - low) * inverse;
  if (!(cell > 0))
    return 0;
  return cell < double(count - 1) ? int64_t(cell) : count - 1;
}

// Calls visit(j) for the boxes of i's kind that overlap box i, itself left out.
template <class E, class Visit>
SKYDUEL_HD void for_each_neighbour(const Field<E>& f, int64_t i, const Visit& visit) {
  const E* a = f.boxes + 4 * i;
  const int64_t left = cell_along(double(a[0]) - f.half, f.low_x, f.inverse, f.columns);
  const int64_t right = cell_along(double(a[2]) + f.half, f.low_x, f.inverse, f.columns);
  const int64_t top = cell_along(double(a[1]) - f.half, f.low_y, f.inverse, f.rows);
  const int64_t bottom = cell_along(double(a[3]) + f.half, f.low_y, f.inverse, f.rows);
  for (int64_t row = top; row <= bottom; ++row) {
    const int64_t end = f.starts[row * f.columns + right + 1];
    for (int64_t j = f.starts[row * f.columns + left]; j < end; ++j) {
      const E* b = f.boxes + 4 * j;
      if (j != i && a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3] &&
          (f.kind == nullptr || f.kind[i] == f.kind[j]))
        visit(j);
    }
  }
}

SKYDUEL_HD bool before(double score, int64_t index, double other, int64_t other_index) {
  return score > other || (score == other && index < other_index);
}

template <class O, class E>
SKYDUEL_HD double overlap(const E* a, const E* b) {
  const O width = O(a[2] < b[2] ? a[2] : b[2]) - O(a[0] > b[0] ? a[0] : b[0]);
  const O height = O(a[3] < b[3] ? a[3] : b[3]) - O(a[1] > b[1] ? a[1] : b[1]);
  const O shared = width * height;
  const O of_a = (O(a[2]) - O(a[0])) * (O(a[3]) - O(a[1]));
  const O of_b = (O(b[2]) - O(b[0])) * (O(b[3]) - O(b[1]));
  return double(shared / (of_a + of_b - shared));
}

// Step 1 of a round: does waiting box i beat all waiting boxes it touches?
template <class E>
SKYDUEL_HD bool wins(const Field<E>& f, int64_t i) {
  bool best = true;
  for_each_neighbour(f, i, [&](int64_t j) {
    // Winners of this round may be marked already; they still count.
    if (f.status[j] <= winner &&
        before(f.score[j], f.index[j], f.score[i], f.index[i]))
      best = false;
  });
  return best;
}

// Step 2: the score of a waiting box that did not win, below the threshold (or
// minus infinity) if it is to go.
template <class O, class E>
SKYDUEL_HD double lowered(const Field<E>& f, int64_t i, const Rule& rule) {
  bool touched = false;
  for_each_neighbour(f, i, [&](int64_t j) { touched |= f.status[j] == winner; });
  if (!touched)
    return f.score[i];
  double now = f.own[i];
  double last = INFINITY;
  int64_t last_index = -1;
  for (;;) {
    int64_t next = -1;
    for_each_neighbour(f, i, [&](int64_t j) {
      if ((f.status[j] == winner || f.status[j] == kept) &&
          before(last, last_index, f.score[j], f.index[j]) &&
          (next < 0 || before(f.score[j], f.index[j], f.score[next], f.index[next])))
        next = j;
    });
    if (next < 0)
      return now;
    last = f.score[next];
    last_index = f.index[next];
    const double shared = overlap<O>(f.boxes + 4 * i, f.boxes + 4 * next);
    if (rule.method == 0)
      now *= std::exp(-(shared * shared) / rule.sigma);
    else if (shared > rule.iou_threshold) {
      if (rule.method == 2)
        return -INFINITY;
      now *= 1.0 - shared;
    }
  }
}

} // namespace skyduel::item

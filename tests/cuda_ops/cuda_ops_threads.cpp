// The bodies of the CUDA kernels, run thread by thread on the CPU.
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "nms_item.h"
#include "roi_align_item.h"

using namespace skyduel::item;

extern "C" void roi_align(
    const int64_t* shape, int64_t count, double scale, int64_t ratio, int64_t aligned,
    int64_t channels_last, const double* boxes, double* maps, double* crops, int64_t backward) {
  const RoiAlign op{shape[0], shape[1], shape[2], shape[3], int32_t(shape[4]), int32_t(shape[5]),
                    scale,    int32_t(ratio), aligned != 0, channels_last != 0};
  for (int64_t i = 0; i < op.values(count); ++i) {
    if (backward)
      backward_value(op, boxes, i, crops[i], [&](int64_t at, double v) { maps[at] += v; });
    else
      crops[i] = forward_value(op, boxes, i, [&](int64_t at) { return maps[at]; });
  }
}

// Statuses and scores come back in input order; returns the number of rounds.
extern "C" int64_t suppress(
    int64_t count, const float* boxes, const double* scores, const int64_t* kinds, int64_t method,
    double sigma, double iou_threshold, double score_threshold, uint8_t* kept_out,
    double* score_out) {
  if (count == 0)
    return 0;
  double low_x = INFINITY, low_y = INFINITY, high_x = -INFINITY, high_y = -INFINITY, cell = 0;
  const auto x = [&](int64_t i) { return 0.5 * (double(boxes[4 * i]) + boxes[4 * i + 2]); };
  const auto y = [&](int64_t i) { return 0.5 * (double(boxes[4 * i + 1]) + boxes[4 * i + 3]); };
  for (int64_t i = 0; i < count; ++i) {
    low_x = std::min(low_x, x(i));
    high_x = std::max(high_x, x(i));
    low_y = std::min(low_y, y(i));
    high_y = std::max(high_y, y(i));
    for (int e = 0; e < 2; ++e)
      cell = std::max(cell, double(boxes[4 * i + 2 + e]) - boxes[4 * i + e]);
  }
  cell = cell * (1 + 1e-9) + 1e-6;
  Field<float> field{};
  field.half = 0.5 * cell;
  while (((high_x - low_x) / cell + 1) * ((high_y - low_y) / cell + 1) > 2.0 * count + 64)
    cell *= 1.25;
  field.count = count;
  field.low_x = low_x;
  field.low_y = low_y;
  field.inverse = 1 / cell;
  field.columns = int64_t((high_x - low_x) / cell) + 1;
  field.rows = int64_t((high_y - low_y) / cell) + 1;
  std::vector<int64_t> order(count), key(count);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 0; i < count; ++i)
    key[i] = cell_along(y(i), low_y, field.inverse, field.rows) * field.columns +
        cell_along(x(i), low_x, field.inverse, field.columns);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return key[a] < key[b]; });
  std::vector<int32_t> starts(field.rows * field.columns + 1, 0);
  for (int64_t i = 0; i < count; ++i)
    ++starts[key[i] + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  std::vector<float> own_boxes;
  std::vector<double> own, score;
  std::vector<int64_t> kind;
  std::vector<uint8_t> status;
  for (const int64_t i : order) {
    own_boxes.insert(own_boxes.end(), boxes + 4 * i, boxes + 4 * i + 4);
    own.push_back(scores[i]);
    score.push_back(scores[i]);
    kind.push_back(kinds[i]);
    status.push_back(scores[i] < score_threshold ? dropped : waiting);
  }
  field.boxes = own_boxes.data();
  field.own = own.data();
  field.score = score.data();
  field.status = status.data();
  field.index = order.data();
  field.kind = kind.data();
  field.starts = starts.data();
  const Rule rule{int32_t(method), sigma, iou_threshold, score_threshold};
  int64_t rounds = 0;
  for (bool left = true; left; ++rounds) {
    for (int64_t i = 0; i < count; ++i)
      if (status[i] == waiting && wins(field, i))
        status[i] = winner;
    for (int64_t i = 0; i < count; ++i)
      if (status[i] == waiting) {
        score[i] = lowered<double>(field, i, rule);
        if (score[i] < score_threshold || score[i] == -INFINITY)
          status[i] = dropped;
      }
    left = false;
    for (int64_t i = 0; i < count; ++i) {
      left |= status[i] == waiting;
      if (status[i] == winner)
        status[i] = kept;
    }
  }
  for (int64_t slot = 0; slot < count; ++slot) {
    kept_out[order[slot]] = status[slot] == kept;
    score_out[order[slot]] = score[slot];
  }
  return rounds;
}

// Soft-NMS and NMS on CUDA: the rounds of nms_item.h over a grid made by sorting.
#include <cmath>
#include <limits>
#include <vector>

#include "common.cuh"
#include "nms_item.h"

namespace skyduel::cuda {
namespace {

using torch::stable::detail::from;
using torch::stable::detail::to;

// Ascending by default; stable.
std::pair<Tensor, Tensor> sorted(const Tensor& values, bool descending) {
  std::array<StableIValue, 4> stack{
      from(values), from(std::optional<bool>(true)), from(int64_t(0)), from(descending)};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {to<Tensor>(stack[0]), to<Tensor>(stack[1])};
}

template <class V>
std::vector<V> on_host(const Tensor& t, cudaStream_t stream) {
  std::vector<V> values(size_t(t.numel()));
  STD_CUDA_CHECK(cudaMemcpyAsync(
      values.data(), t.const_data_ptr(), values.size() * sizeof(V), cudaMemcpyDeviceToHost,
      stream));
  STD_CUDA_CHECK(cudaStreamSynchronize(stream));
  return values;
}

constexpr int kFacts = 9;
enum Fault { bad_box, empty_box, bad_score };

// Per box, what the grid needs the maximum of, and what is wrong with it.
template <class E>
struct Survey {
  const E* boxes;
  const double* scores;
  double* facts; // (count, kFacts)
  __device__ void operator()(int64_t i) const {
    const E* b = boxes + 4 * i;
    double reach = 0;
    bool finite = true;
    for (int e = 0; e < 4; ++e) {
      finite = finite && isfinite(b[e]);
      reach = fmax(reach, fabs(double(b[e])));
    }
    const double x = 0.5 * (double(b[0]) + double(b[2])), y = 0.5 * (double(b[1]) + double(b[3]));
    double* f = facts + kFacts * i;
    f[0] = x;
    f[1] = y;
    f[2] = -x;
    f[3] = -y;
    f[4] = fmax(double(b[2]) - double(b[0]), double(b[3]) - double(b[1]));
    f[5] = reach;
    f[6 + bad_box] = !finite;
    f[6 + empty_box] = !(b[2] > b[0] && b[3] > b[1]);
    f[6 + bad_score] = !isfinite(scores[i]);
  }
};

template <class E>
struct CellOf {
  const E* boxes;
  double low_x, low_y, inverse;
  int64_t columns, rows;
  int64_t* cell;
  __device__ void operator()(int64_t i) const {
    const E* b = boxes + 4 * i;
    const double x = 0.5 * (double(b[0]) + double(b[2])), y = 0.5 * (double(b[1]) + double(b[3]));
    cell[i] = item::cell_along(y, low_y, inverse, rows) * columns +
        item::cell_along(x, low_x, inverse, columns);
  }
};

template <class E>
struct Place {
  const E* boxes;
  const double* scores;
  const int64_t* kinds; // or null
  const int64_t* cell; // sorted
  const int64_t* order;
  int64_t count, cells;
  double threshold;
  E* own_boxes;
  double* own;
  double* score;
  int64_t* kind; // or null
  uint8_t* status;
  int32_t* starts;
  // One thread more than there are boxes: the last fills the cells after them.
  __device__ void operator()(int64_t slot) const {
    const int64_t first = slot == 0 ? 0 : cell[slot - 1] + 1;
    const int64_t last = slot == count ? cells : cell[slot];
    for (int64_t c = first; c <= last; ++c)
      starts[c] = int32_t(slot);
    if (slot == count)
      return;
    const int64_t i = order[slot];
    for (int e = 0; e < 4; ++e)
      own_boxes[4 * slot + e] = boxes[4 * i + e];
    own[slot] = score[slot] = scores[i];
    if (kind != nullptr)
      kind[slot] = kinds[i];
    status[slot] = scores[i] < threshold ? item::dropped : item::waiting;
  }
};

template <class E>
struct FindWinners {
  item::Field<E> field;
  __device__ void operator()(int64_t i) const {
    // Only this thread writes status[i], and `wins` counts waiting and winner alike.
    if (field.status[i] == item::waiting && item::wins(field, i))
      field.status[i] = item::winner;
  }
};

template <class O, class E>
struct Lower {
  item::Field<E> field;
  item::Rule rule;
  __device__ void operator()(int64_t i) const {
    // Others read only the scores of winners and kept boxes, which stand still.
    if (field.status[i] != item::waiting)
      return;
    const double now = item::lowered<O>(field, i, rule);
    field.score[i] = now;
    if (now < rule.score_threshold || now == -INFINITY)
      field.status[i] = item::dropped;
  }
};

template <class E>
struct Settle {
  item::Field<E> field;
  unsigned long long* left;
  __device__ void operator()(int64_t i) const {
    if (field.status[i] == item::winner)
      field.status[i] = item::kept;
    else if (field.status[i] == item::waiting)
      atomicAdd(left, 1ull);
  }
};

template <class E>
struct Collect {
  item::Field<E> field;
  double* result; // by input index; minus infinity where dropped
  unsigned long long* kept;
  __device__ void operator()(int64_t i) const {
    const bool stays = field.status[i] == item::kept;
    result[field.index[i]] = stays ? field.score[i] : -INFINITY;
    if (stays)
      atomicAdd(kept, 1ull);
  }
};

// Indices and final scores (float64) of what is kept.
template <class O, class E>
std::pair<Tensor, Tensor> suppress(
    const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& kinds,
    const item::Rule& rule) {
  const int64_t count = boxes.size(0);
  if (count == 0)
    return {empty_vector(boxes, 0, ScalarType::Long), empty_vector(boxes, 0, ScalarType::Double)};
  const cudaStream_t stream = current_stream(boxes);
  const auto* edges = boxes.const_data_ptr<E>();
  const auto* values = scores.const_data_ptr<double>();

  const int64_t fact_sizes[] = {count, kFacts};
  const Tensor facts =
      torch::stable::empty({fact_sizes, 2}, ScalarType::Double, std::nullopt, boxes.device());
  for_each_item(stream, count, Survey<E>{edges, values, facts.mutable_data_ptr<double>()});
  const auto most = on_host<double>(torch::stable::amax(facts, 0), stream);
  // A NaN edge makes facts NaN, so the faults are looked at first.
  if (!(most[6 + bad_box] == 0))
    refuse("boxes: required finite; got NaN or infinity");
  if (!(most[6 + empty_box] == 0))
    refuse("boxes: required x2 > x1 and y2 > y1; got an empty box");
  if (!(most[6 + bad_score] == 0))
    refuse("scores: required finite; got NaN or infinity");

  item::Field<E> field{};
  field.count = count;
  field.low_x = -most[2];
  field.low_y = -most[3];
  double cell = most[4] * (1 + 1e-9) + most[5] * 1e-14;
  field.half = 0.5 * cell;
  const double wide = most[0] - field.low_x, high = most[1] - field.low_y;
  while ((wide / cell + 1) * (high / cell + 1) > 2.0 * double(count) + 64)
    cell *= 1.25;
  field.inverse = 1 / cell;
  field.columns = int64_t(wide * field.inverse) + 1;
  field.rows = int64_t(high * field.inverse) + 1;
  const int64_t cells = field.columns * field.rows;

  const Tensor cell_of = empty_vector(boxes, count, ScalarType::Long);
  for_each_item(
      stream, count,
      CellOf<E>{
          edges, field.low_x, field.low_y, field.inverse, field.columns, field.rows,
          cell_of.mutable_data_ptr<int64_t>()});
  const auto [cell_sorted, order] = sorted(cell_of, false);

  const Tensor own_boxes = empty_vector(boxes, 4 * count, boxes.scalar_type());
  const Tensor own = empty_vector(boxes, count, ScalarType::Double);
  const Tensor score = empty_vector(boxes, count, ScalarType::Double);
  const Tensor kind = empty_vector(boxes, kinds ? count : 0, ScalarType::Long);
  const Tensor status = empty_vector(boxes, count, ScalarType::Byte);
  const Tensor starts = empty_vector(boxes, cells + 1, ScalarType::Int);
  field.boxes = own_boxes.const_data_ptr<E>();
  field.own = own.const_data_ptr<double>();
  field.score = score.mutable_data_ptr<double>();
  field.status = status.mutable_data_ptr<uint8_t>();
  field.index = order.const_data_ptr<int64_t>();
  field.kind = kinds ? kind.const_data_ptr<int64_t>() : nullptr;
  field.starts = starts.const_data_ptr<int32_t>();
  for_each_item(
      stream, count + 1,
      Place<E>{
          edges, values, kinds ? kinds->const_data_ptr<int64_t>() : nullptr,
          cell_sorted.const_data_ptr<int64_t>(), field.index, count, cells, rule.score_threshold,
          own_boxes.mutable_data_ptr<E>(), own.mutable_data_ptr<double>(), field.score,
          kinds ? kind.mutable_data_ptr<int64_t>() : nullptr, field.status,
          starts.mutable_data_ptr<int32_t>()});

  Tensor counter = empty_vector(boxes, 1, ScalarType::Long);
  auto* tally = reinterpret_cast<unsigned long long*>(counter.mutable_data_ptr<int64_t>());
  // Each round keeps at least the best waiting box. A few go by between looks
  // at the tally; a round with nothing waiting changes nothing.
  for (int64_t left = 1; left > 0; left = on_host<int64_t>(counter, stream)[0]) {
    for (int round = 0; round < 4; ++round) {
      torch::stable::zero_(counter);
      for_each_item(stream, count, FindWinners<E>{field});
      for_each_item(stream, count, Lower<O, E>{field, rule});
      for_each_item(stream, count, Settle<E>{field, tally});
    }
  }

  const Tensor final_score = empty_vector(boxes, count, ScalarType::Double);
  torch::stable::zero_(counter);
  for_each_item(
      stream, count, Collect<E>{field, final_score.mutable_data_ptr<double>(), tally});
  const int64_t many = on_host<int64_t>(counter, stream)[0];
  auto [falling, by_score] = sorted(final_score, true);
  return {
      torch::stable::clone(torch::stable::narrow(by_score, 0, 0, many)),
      torch::stable::clone(torch::stable::narrow(falling, 0, 0, many))};
}

template <class O>
std::pair<Tensor, Tensor> suppress_tensors(
    const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& kinds,
    const item::Rule& rule) {
  if (boxes.dim() != 2 || boxes.size(1) != 4 || scores.dim() != 1 ||
      scores.size(0) != boxes.size(0) || (kinds && kinds->numel() != boxes.size(0)))
    refuse("boxes, scores, kinds: required shapes (N, 4), (N,) and (N,)");
  if (boxes.size(0) > std::numeric_limits<int32_t>::max() / 4)
    refuse("boxes: required fewer than 2^29; got ", boxes.size(0));
  const torch::stable::accelerator::DeviceGuard guard(boxes.get_device_index());
  const Tensor rows = torch::stable::contiguous(boxes);
  const Tensor values =
      torch::stable::contiguous(torch::stable::to(scores, ScalarType::Double));
  std::optional<Tensor> numbers;
  if (kinds)
    numbers = torch::stable::contiguous(torch::stable::to(*kinds, ScalarType::Long));
  if (rows.scalar_type() == ScalarType::Double)
    return suppress<double, double>(rows, values, numbers, rule);
  return suppress<O, float>(rows, values, numbers, rule);
}

Tensor nms(
    const Tensor& boxes, const Tensor& scores, std::optional<Tensor> kinds, double iou_threshold) {
  const item::Rule rule{2, 1.0, iou_threshold, std::numeric_limits<double>::lowest()};
  return suppress_tensors<float>(boxes, scores, kinds, rule).first;
}

std::tuple<Tensor, Tensor> soft_nms(
    const Tensor& boxes, const Tensor& scores, std::optional<Tensor> kinds, int64_t method,
    double sigma, double iou_threshold, double score_threshold) {
  if (method < 0 || method > 2 || !(sigma > 0) || !(score_threshold >= 0))
    refuse("method, sigma, score_threshold: required 0..2, positive, not negative");
  const item::Rule rule{int32_t(method), sigma, iou_threshold, score_threshold};
  const auto [index, score] = suppress_tensors<double>(boxes, scores, kinds, rule);
  return {index, torch::stable::to(score, scores.scalar_type())};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(skyduel, CUDA, m) {
  m.impl("nms", TORCH_BOX(&nms));
  m.impl("soft_nms", TORCH_BOX(&soft_nms));
}

} // namespace skyduel::cuda

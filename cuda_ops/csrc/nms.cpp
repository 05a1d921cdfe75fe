// Soft-NMS and NMS as operators of torch.
#include "common.h"
#include "soft_nms.h"

namespace skyduel {
namespace {

void check_tensors(const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& kinds) {
  if (boxes.dim() != 2 || boxes.size(1) != 4)
    refuse("boxes: required shape (N, 4)");
  const int64_t count = boxes.size(0);
  if (scores.dim() != 1 || scores.size(0) != count)
    refuse("scores: required shape (N,), one a box");
  if (kinds && (kinds->dim() != 1 || kinds->size(0) != count))
    refuse("kinds: required shape (N,), one a box");
  if (count > std::numeric_limits<int32_t>::max())
    refuse("boxes: required fewer than 2^31; got ", count);
  for (const Tensor* one : {&boxes, &scores})
    if (one->scalar_type() != ScalarType::Float && one->scalar_type() != ScalarType::Double)
      refuse("boxes, scores: required float32 or float64");
  if (!boxes.is_cpu() || !scores.is_cpu() || (kinds && !kinds->is_cpu()))
    refuse("boxes, scores, kinds: required on one device");
}

template <class F>
auto with_float(const Tensor& t, const F& f) {
  if (t.scalar_type() == ScalarType::Double)
    return f(t.const_data_ptr<double>());
  return f(t.const_data_ptr<float>());
}

// `own_type`: compute overlaps in the dtype of the boxes, else in float64.
std::vector<Kept> suppress_tensors(
    const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& kinds, bool own_type,
    const Rule& rule) {
  check_tensors(boxes, scores, kinds);
  const Tensor rows = torch::stable::contiguous(boxes);
  const Tensor values = torch::stable::contiguous(scores);
  std::optional<Tensor> numbers;
  if (kinds)
    numbers = torch::stable::contiguous(torch::stable::to(*kinds, ScalarType::Long));
  const int64_t* kind = numbers ? numbers->const_data_ptr<int64_t>() : nullptr;
  const int64_t count = rows.size(0);
  return with_float(rows, [&](const auto* edges) {
    using E = std::remove_cv_t<std::remove_pointer_t<decltype(edges)>>;
    const auto* four = reinterpret_cast<const Edges<E>*>(edges);
    return with_float(values, [&](const auto* score) {
      return own_type ? suppress<E>(four, score, kind, count, rule)
                      : suppress<double>(four, score, kind, count, rule);
    });
  });
}

Tensor empty_vector(const Tensor& like, int64_t size, ScalarType type) {
  const int64_t sizes[] = {size};
  return torch::stable::empty({sizes, 1}, type, std::nullopt, like.device());
}

Tensor indices_of(const std::vector<Kept>& kept, const Tensor& like) {
  Tensor result = empty_vector(like, int64_t(kept.size()), ScalarType::Long);
  auto* to = result.mutable_data_ptr<int64_t>();
  for (const Kept& one : kept)
    *to++ = one.index;
  return result;
}

Tensor nms_cpu(
    const Tensor& boxes, const Tensor& scores, std::optional<Tensor> kinds, double iou_threshold) {
  const Rule rule{
      Method::hard, 1.0, iou_threshold, std::numeric_limits<double>::lowest()};
  return indices_of(suppress_tensors(boxes, scores, kinds, true, rule), boxes);
}

std::tuple<Tensor, Tensor> soft_nms_cpu(
    const Tensor& boxes, const Tensor& scores, std::optional<Tensor> kinds, int64_t method,
    double sigma, double iou_threshold, double score_threshold) {
  const Rule rule = soft_rule(method, sigma, iou_threshold, score_threshold);
  const auto kept = suppress_tensors(boxes, scores, kinds, false, rule);
  Tensor left = empty_vector(scores, int64_t(kept.size()), scores.scalar_type());
  with_float(left, [&](const auto* values) {
    using S = std::remove_cv_t<std::remove_pointer_t<decltype(values)>>;
    auto* to = left.mutable_data_ptr<S>();
    for (const Kept& one : kept)
      *to++ = S(one.score);
  });
  return {indices_of(kept, boxes), left};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(skyduel, CPU, m) {
  m.impl("nms", TORCH_BOX(&nms_cpu));
  m.impl("soft_nms", TORCH_BOX(&soft_nms_cpu));
}

} // namespace skyduel

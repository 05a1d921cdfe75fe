#include "network.h"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor_ptr_maker.h>

#include <algorithm>
#include <cstdlib>

#include "kernels.h"

// ExecuTorch tells how it starts; errors are told by require(). Stands before its own.
extern "C" __attribute__((visibility("default"))) void et_pal_emit_log_message(
    et_timestamp_t, et_pal_log_level_t, const char*, const char*, size_t, const char*, size_t) {}

// The wheel has the library of this class, but not its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace points {

using executorch::extension::Module;

struct Network::Model {
  explicit Model(const std::string& path) : module(path, Module::LoadMode::Mmap) {}

  // Memory is planned for the largest tile, and ExecuTorch fills its own with zeros: a small frame
  // would take as much. What calloc gives is memory only once it is written to.
  executorch::runtime::Error load() {
    const auto meta = module.method_meta("forward");
    if (!meta.ok()) return meta.error();
    for (size_t k = 0; k < meta->num_memory_planned_buffers(); ++k) {
      const auto size = meta->memory_planned_buffer_size(k);
      if (!size.ok()) return size.error();
      memory.emplace_back(static_cast<uint8_t*>(std::calloc(size_t(size.get()), 1)), std::free);
      if (!memory.back()) throw std::bad_alloc();
      spans.emplace_back(memory.back().get(), size_t(size.get()));
    }
    planned = std::make_unique<executorch::runtime::HierarchicalAllocator>(
        executorch::runtime::Span(spans.data(), spans.size()));
    return module.load_method("forward", planned.get());
  }

  // The module goes first: it uses the others.
  std::vector<std::unique_ptr<uint8_t, decltype(&std::free)>> memory;
  std::vector<executorch::runtime::Span<uint8_t>> spans;
  std::unique_ptr<executorch::runtime::HierarchicalAllocator> planned;
  Module module;
};

Network::Network(const std::string& model, const Rules& rules, int threads)
    : model_(std::make_unique<Model>(model)), path_(model), rules_(rules) {
  if (threads > 0)
    executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(uint32_t(threads));
  const auto error = model_->load();
  if (error != executorch::runtime::Error::Ok)
    require(path_, "a model of ExecuTorch, as `skyduel export --executorch` writes it",
            "its error ", int(error));
}

Network::~Network() = default;

DenseMaps Network::dense(std::vector<float>& image, int64_t ny, int64_t nx) const {
  const auto input = executorch::extension::from_blob(
      image.data(), {1, 4, executorch::aten::SizesType(ny), executorch::aten::SizesType(nx)});
  const auto result = model_->module.forward(input);
  if (!result.ok())
    require(path_, "a model that computes an image of " + std::to_string(ny) + " x " +
            std::to_string(nx) + " px", "ExecuTorch's error ", int(result.error()));
  const auto maps = result->at(0).toTensor(), features = result->at(1).toTensor();
  DenseMaps out;
  out.height = maps.size(2);
  out.width = maps.size(3);
  out.channels = features.size(1);
  const auto copy = [](const auto& tensor) {
    const float* from = tensor.template const_data_ptr<float>();
    return std::vector<float>(from, from + tensor.numel());
  };
  out.maps = copy(maps);
  out.features = copy(features);
  return out;
}

namespace {

// out (rows, n) = in (rows, m) · weight (m, n) + bias, always summed in the same order.
std::vector<float> linear(const std::vector<float>& in, int64_t rows, const std::vector<float>& weight,
                          const std::vector<float>& bias, bool relu) {
  const int64_t n = int64_t(bias.size()), m = int64_t(weight.size()) / n;
  constexpr int64_t together = 8;  // rows that share a pass over the weights
  std::vector<float> out(size_t(rows * n));
  for (int64_t first = 0; first < rows; first += together) {
    const int64_t last = std::min(first + together, rows);
    for (int64_t r = first; r < last; ++r) std::copy(bias.begin(), bias.end(), &out[size_t(r * n)]);
    for (int64_t i = 0; i < m; ++i) {
      const float* w = &weight[size_t(i * n)];
      for (int64_t r = first; r < last; ++r) {
        const float value = in[size_t(r * m + i)];
        float* to = &out[size_t(r * n)];
        for (int64_t j = 0; j < n; ++j) to[j] += value * w[j];
      }
    }
  }
  if (relu)
    for (float& value : out) value = std::max(value, 0.0f);
  return out;
}

}  // namespace

std::vector<float> Network::classify(const DenseMaps& dense, const std::vector<float>& xy) const {
  constexpr int64_t at_once = 1024;
  const int64_t k = int64_t(xy.size()) / 2, bins = rules_.whole("roi_size");
  const float half = float(rules_.number("roi_box_px") / 2);
  std::vector<float> out;
  for (int64_t first = 0; first < k; first += at_once) {
    const int64_t rows = std::min(at_once, k - first);
    std::vector<float> boxes(size_t(rows * 5), 0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      for (int axis = 0; axis < 2; ++axis) {
        const float centre = xy[size_t(2 * (first + r) + axis)] + 0.5f;
        boxes[size_t(5 * r + 1 + axis)] = centre - half;
        boxes[size_t(5 * r + 3 + axis)] = centre + half;
      }
    }
    std::vector<float> crops(size_t(rows * dense.channels * bins * bins));
    if (skyduel_roi_align(dense.features.data(), dense.channels, dense.height, dense.width,
                          boxes.data(), rows, bins, 1.0 / rules_.number("stride"), 1, 1,
                          crops.data()) < 0)
      throw std::runtime_error(skyduel_refusal());
    crops = linear(crops, rows, rules_.floats("roi1_weight"), rules_.floats("roi1_bias"), true);
    crops = linear(crops, rows, rules_.floats("roi2_weight"), rules_.floats("roi2_bias"), true);
    crops = linear(crops, rows, rules_.floats("roi_out_weight"), rules_.floats("roi_out_bias"), false);
    out.insert(out.end(), crops.begin(), crops.end());
  }
  return out;
}

}  // namespace points

// The two parts of the network: the dense part by ExecuTorch, the RoI head here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rules.h"

namespace points {

// Output of the dense part for one image; `maps` (8, height, width), `features` (channels, ...).
struct DenseMaps {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<float> maps, features;
};

class Network {
 public:
  Network(const std::string& model, const Rules& rules, int threads);
  ~Network();
  // Channels (4, ny, nx), whose sides are multiples of `multiple`.
  DenseMaps dense(std::vector<float>& image, int64_t ny, int64_t nx) const;
  // Class logits and offsets (k, 5) of the regions at positions (k, 2) on the image [px].
  std::vector<float> classify(const DenseMaps& dense, const std::vector<float>& xy) const;

 private:
  struct Model;
  std::unique_ptr<Model> model_;
  std::string path_;
  const Rules& rules_;
};

}  // namespace points

#include "rules.h"

#include <fstream>

namespace points {

namespace {
constexpr char magic[16] = "skyduel-rules-1";

template <class T>
T take(std::ifstream& file) {
  T value{};
  file.read(reinterpret_cast<char*>(&value), sizeof value);
  return value;
}

template <class T>
std::vector<T> take_all(std::ifstream& file, uint64_t count) {
  std::vector<T> values(count);
  file.read(reinterpret_cast<char*>(values.data()), std::streamsize(count * sizeof(T)));
  return values;
}
}  // namespace

Rules::Rules(const std::string& path) : path_(path) {
  const std::string wanted = "the rules that `skyduel export --executorch` writes beside a model";
  std::ifstream file(path, std::ios::binary);
  if (!file) require(path, wanted, "no such file");
  char first[16] = {};
  file.read(first, sizeof first);
  if (std::string(first, sizeof first) != std::string(magic, sizeof magic))
    require(path, wanted, "another file");
  while (file.peek() != EOF) {
    const auto letters = take<uint32_t>(file);
    if (!file || letters > 64) require(path, wanted, "a damaged file");
    std::string name(letters, ' ');
    file.read(name.data(), letters);
    const auto bytes = take<uint32_t>(file);
    const auto count = take<uint64_t>(file);
    if (!file || count > (1u << 26)) require(path, wanted, "a damaged file");
    if (bytes == 4)
      floats_[name] = take_all<float>(file, count);
    else
      doubles_[name] = take_all<double>(file, count);
    if (!file) require(path, wanted, "a file cut short");
  }
}

double Rules::number(const std::string& name) const {
  return doubles(name).at(0);
}

const std::vector<double>& Rules::doubles(const std::string& name) const {
  const auto found = doubles_.find(name);
  if (found == doubles_.end()) require(path_, "an entry '" + name + "'", "none");
  return found->second;
}

const std::vector<float>& Rules::floats(const std::string& name) const {
  const auto found = floats_.find(name);
  if (found == floats_.end()) require(path_, "an entry '" + name + "'", "none");
  return found->second;
}

}  // namespace points

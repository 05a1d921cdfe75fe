// Numbers of the package's rules and weights, from the file that `skyduel export` writes.
#pragma once

#include <cstdint>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace points {

// What was required and what came, in one line.
template <class... Parts>
[[noreturn]] void require(const std::string& source, const std::string& wanted,
                          const Parts&... got) {
  std::ostringstream words;
  words << source << ": required " << wanted << "; got ";
  (words << ... << got);
  throw std::runtime_error(words.str());
}

class Rules {
 public:
  explicit Rules(const std::string& path);
  double number(const std::string& name) const;
  int64_t whole(const std::string& name) const { return int64_t(number(name)); }
  const std::vector<double>& doubles(const std::string& name) const;
  const std::vector<float>& floats(const std::string& name) const;
  bool has(const std::string& name) const { return doubles_.count(name) > 0; }

 private:
  std::string path_;
  std::map<std::string, std::vector<double>> doubles_;
  std::map<std::string, std::vector<float>> floats_;
};

}  // namespace points

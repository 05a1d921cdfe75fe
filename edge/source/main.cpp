// skyduel-points MODEL.pte FRAME.fits: the point sources of a frame, by falling score, as CSV.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>

#include "sources.h"

namespace {

using points::require;

constexpr const char* usage =
    "skyduel-points MODEL.pte FRAME.fits [-o OUT.csv] [--threshold T] [--threads N]\n"
    "  The point sources of a frame by falling score: x, y [px, 0-based], xy_err [px], score,\n"
    "  flux and flux_err [ADU]. Streaks are not looked for. MODEL.rules lies beside the model;\n"
    "  `skyduel export --executorch` writes both. GAIN, SATURATE and FWHM [px] of the header are used.\n"
    "  --threshold  least score (default: the package's, 0.5); --threads  of the network (default 1)\n";

struct Options {
  std::string model, frame, out;
  double threshold = -1;
  int threads = 1;
};

double number(const std::string& name, const std::string& text, double low, double high) {
  double value = NAN;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size() || !(value >= low && value <= high))
    require(name, "a number from " + std::to_string(low) + " to " + std::to_string(high), text);
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  std::vector<std::string> names;
  for (int k = 1; k < argc; ++k) {
    const std::string word = argv[k];
    const auto value = [&] {
      if (k + 1 == argc) require(word, "a value", "none");
      return std::string(argv[++k]);
    };
    if (word == "-o")
      options.out = value();
    else if (word == "--threshold")
      options.threshold = number(word, value(), 0, 1);
    else if (word == "--threads")
      options.threads = int(number(word, value(), 1, 1024));
    else if (word.size() > 1 && word[0] == '-')
      require("arguments", "-o, --threshold or --threads", word);
    else
      names.push_back(word);
  }
  if (names.size() != 2) require("arguments", "a model and a frame", names.size(), " names");
  options.model = names[0];
  options.frame = names[1];
  return options;
}

std::string text(double value, const char* form) {
  if (!std::isfinite(value)) return "nan";
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, form, value);
  return buffer;
}

std::string table(const std::vector<points::Point>& found, double threshold) {
  std::string out = "x,y,xy_err,score,flux,flux_err\n";
  for (const points::Point& one : found) {
    if (!(one.score >= threshold)) continue;
    for (const double value : {one.x, one.y, one.xy_err}) out += text(value, "%.5f") + ",";
    out += text(one.score, "%.6f") + "," + text(one.flux, "%.7g") + "," + text(one.flux_err, "%.7g");
    out += "\n";
  }
  return out;
}

// Whole or not at all.
void write(const std::string& path, const std::string& content) {
  if (path.empty()) {
    std::cout << content << std::flush;
    return;
  }
  const std::string temporary = path + ".part";
  std::ofstream file(temporary, std::ios::binary);
  file << content;
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::remove(temporary.c_str());
    require(path, "a file that can be written", std::strerror(errno));
  }
}

void run(const Options& options) {
  const std::string stem = options.model.substr(0, options.model.rfind(".pte"));
  const points::Rules rules(stem + ".rules");
  const points::Frame frame = points::read_fits(options.frame);
  const points::Background sky = points::estimate_background(frame, rules);
  points::RawPoints raw;
  {
    const points::Network network(options.model, rules, options.threads);
    raw = points::find_points(frame, sky, network, rules);
  }
  const auto found = points::measure_points(frame, sky, rules, raw);
  write(options.out, table(found, options.threshold < 0 ? rules.number("score_threshold")
                                                        : options.threshold));
}

}  // namespace

int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    if (std::strcmp(argv[k], "--help") == 0 || std::strcmp(argv[k], "-h") == 0) {
      std::cout << usage;
      return 0;
    }
  }
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::bad_alloc&) {
    std::cerr << "skyduel-points: not enough memory\n";
  } catch (const std::exception& error) {
    std::cerr << "skyduel-points: " << error.what() << "\n";
  }
  return 2;
}

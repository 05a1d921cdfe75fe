// A small reader of FITS images: uncompressed, two-dimensional, integers or floats.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>

#include "frame.h"

namespace points {

namespace {

constexpr int64_t block = 2880, card_size = 80;

struct Hdu {
  std::map<std::string, std::string> cards;
  int64_t data_at = 0;

  std::optional<double> number(const std::string& key) const {
    const auto found = cards.find(key);
    if (found == cards.end()) return std::nullopt;
    std::string text = found->second;
    for (char& letter : text)
      if (letter == 'D' || letter == 'd') letter = 'E';
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (end == text.c_str()) return std::nullopt;
    return value;
  }
  // A count or size; one that no image has becomes -1, which is refused where it is used.
  int64_t whole(const std::string& key, int64_t other) const {
    const double value = number(key).value_or(double(other));
    return value >= -64 && value <= 1e12 ? int64_t(value) : -1;
  }
  std::string text(const std::string& key) const {
    const auto found = cards.find(key);
    return found == cards.end() ? "" : found->second;
  }
};

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::string value_of(const std::string& card) {
  const std::string rest = card.substr(10);
  const auto quote = rest.find('\'');
  const auto slash = rest.find('/');
  if (quote != std::string::npos && (slash == std::string::npos || quote < slash)) {
    const auto end = rest.find('\'', quote + 1);
    return trimmed(rest.substr(quote + 1, end == std::string::npos ? end : end - quote - 1));
  }
  return trimmed(rest.substr(0, slash));
}

bool read_header(std::ifstream& file, Hdu& hdu) {
  char bytes[block];
  for (int blocks = 0; blocks < 1000; ++blocks) {
    if (!file.read(bytes, block)) return false;
    for (int64_t at = 0; at < block; at += card_size) {
      const std::string card(bytes + at, card_size), key = trimmed(card.substr(0, 8));
      if (key == "END") {
        hdu.data_at = file.tellg();
        return true;
      }
      if (card.compare(8, 2, "= ") == 0) hdu.cards.emplace(key, value_of(card));
    }
  }
  return false;
}

int64_t data_size(const Hdu& hdu, const std::string& path) {
  const int64_t axes = hdu.whole("NAXIS", 0);
  if (axes == 0) return 0;
  std::vector<int64_t> sizes{std::llabs(hdu.whole("BITPIX", 8)) / 8, hdu.whole("GCOUNT", 1)};
  double count = 1;  // of more than 999 axes the first is wrong already
  for (int64_t axis = 1; axis <= std::min<int64_t>(axes, 999); ++axis) {
    sizes.push_back(hdu.whole("NAXIS" + std::to_string(axis), 0));
    count *= double(sizes.back());
  }
  sizes.push_back(hdu.whole("PCOUNT", 0));
  const double bytes = double(sizes[0]) * double(sizes[1]) * (double(sizes.back()) + count);
  if (axes < 0 || axes > 999 || *std::min_element(sizes.begin(), sizes.end()) < 0 || bytes > 1e15)
    require(path, "HDUs of at most 999 axes and 1e15 bytes", "a header that states another size");
  return int64_t(bytes);
}

bool is_image(const Hdu& hdu) {
  const std::string kind = hdu.text("XTENSION");
  return (kind.empty() || kind == "IMAGE") && hdu.whole("NAXIS", 0) >= 2;
}

template <class T, class Bits>
void convert(const std::vector<char>& raw, int64_t count, const Hdu& hdu, Frame& frame) {
  const double zero = hdu.number("BZERO").value_or(0.0), scale = hdu.number("BSCALE").value_or(1.0);
  const auto blank = std::is_integral_v<T> ? hdu.number("BLANK") : std::nullopt;
  for (int64_t k = 0; k < count; ++k) {
    Bits bits = 0;
    for (size_t byte = 0; byte < sizeof(T); ++byte)
      bits = Bits(uint64_t(bits) << 8 | uint8_t(raw[size_t(k) * sizeof(T) + byte]));
    T value;
    std::memcpy(&value, &bits, sizeof value);
    const float pixel = float(double(value) * scale + zero);
    const bool bad = !std::isfinite(pixel) || (blank && double(value) == *blank);
    frame.data[size_t(k)] = bad ? 0.0f : pixel;
    frame.bad[size_t(k)] = bad;
  }
}

void read_pixels(std::ifstream& file, const Hdu& hdu, Frame& frame) {
  data_size(hdu, frame.name);  // refuses impossible numbers of axes
  const int64_t axes = hdu.whole("NAXIS", 0);
  for (int64_t axis = 3; axis <= axes; ++axis) {
    const int64_t n = hdu.whole("NAXIS" + std::to_string(axis), 1);
    if (n != 1) require(frame.name, "a two-dimensional image", axes, "-D");
  }
  frame.nx = hdu.whole("NAXIS1", 0);
  frame.ny = hdu.whole("NAXIS2", 0);
  if (frame.nx < 1 || frame.ny < 1 || frame.nx > 1'000'000 || frame.ny > 1'000'000)
    require(frame.name, "an image with pixels", "shape (", frame.ny, ", ", frame.nx, ")");
  const int64_t count = frame.nx * frame.ny, bits = hdu.whole("BITPIX", 0);
  if (bits != 8 && bits != 16 && bits != 32 && bits != -32 && bits != -64)
    require(frame.name, "BITPIX 8, 16, 32, -32 or -64", bits);
  const int64_t size = count * std::llabs(bits) / 8;
  // Before memory is taken for it.
  file.clear();
  file.seekg(0, std::ios::end);
  if (const int64_t there = int64_t(file.tellg()) - hdu.data_at; there < size)
    require(frame.name, "a complete image of " + std::to_string(size) + " bytes",
            "a file cut short after ", there);
  std::vector<char> raw(static_cast<size_t>(size));
  file.seekg(hdu.data_at);
  file.read(raw.data(), std::streamsize(raw.size()));
  if (file.gcount() != std::streamsize(raw.size()))
    require(frame.name, "a complete image of " + std::to_string(raw.size()) + " bytes",
            "a file cut short after ", file.gcount());
  frame.data.resize(size_t(count));
  frame.bad.resize(size_t(count));
  switch (bits) {
    case 8: return convert<uint8_t, uint8_t>(raw, count, hdu, frame);
    case 16: return convert<int16_t, uint16_t>(raw, count, hdu, frame);
    case 32: return convert<int32_t, uint32_t>(raw, count, hdu, frame);
    case -32: return convert<float, uint32_t>(raw, count, hdu, frame);
    default: return convert<double, uint64_t>(raw, count, hdu, frame);
  }
}

std::optional<double> positive(const Hdu& hdu, const char* key) {
  const auto value = hdu.number(key);
  return value && std::isfinite(*value) && *value > 0 ? value : std::nullopt;
}

}  // namespace

Frame read_fits(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) require(path, "a FITS file", "no such file");
  char first[9] = {};
  file.read(first, 9);
  if (std::string(first, 9) != "SIMPLE  =")
    require(path, "an uncompressed FITS file, which begins with SIMPLE", "another file");
  file.seekg(0);
  Frame frame;
  frame.name = path;
  std::string mask_name;
  for (Hdu hdu; read_header(file, hdu); hdu = Hdu()) {
    if (frame.data.empty() && is_image(hdu)) {
      read_pixels(file, hdu, frame);
      frame.gain = positive(hdu, "GAIN");
      frame.saturation = positive(hdu, "SATURATE");
      frame.fwhm = positive(hdu, "FWHM");
      mask_name = hdu.text("MASKEXT");
      if (mask_name.empty()) break;
    } else if (!frame.data.empty() && is_image(hdu) && hdu.text("EXTNAME") == mask_name) {
      Frame mask;
      mask.name = path + "[" + mask_name + "]";
      read_pixels(file, hdu, mask);
      if (mask.ny != frame.ny || mask.nx != frame.nx)
        require(mask.name, "a mask of the image's shape", "shape (", mask.ny, ", ", mask.nx, ")");
      for (size_t k = 0; k < frame.bad.size(); ++k) frame.bad[k] |= mask.data[k] != 0 || mask.bad[k];
      break;
    }
    file.clear();
    file.seekg(hdu.data_at + (data_size(hdu, path) + block - 1) / block * block);
  }
  if (frame.data.empty()) require(path, "an uncompressed image in a FITS file", "none");
  bool any = false;
  for (const uint8_t bad : frame.bad) any |= !bad;
  if (!any) require(path, "at least one usable pixel", "only masked or non-finite pixels");
  return frame;
}

}  // namespace points

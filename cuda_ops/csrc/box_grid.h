// Finding the few boxes that may overlap a given one.
//
// Boxes are filed by their centre in a grid whose cells are as wide as the
// widest box, so that only neighbouring cells matter. Boxes of very different
// size are kept in grids of their own, one a factor of two, or a single large
// box would make every cell large.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace skyduel {

template <class E>
struct Edges {
  E x1, y1, x2, y2;
};

class BoxGrid {
 public:
  // Files `count` boxes; afterwards slot_of()[i] is box i's place in the order
  // of the grids, in which neighbours lie together.
  template <class E>
  void build(const Edges<E>* boxes, int64_t count) {
    levels_.clear();
    slots_.resize(size_t(count));
    if (count == 0)
      return;
    double widest = 0, reach = 0;
    for (int64_t i = 0; i < count; ++i) {
      const Edges<E>& b = boxes[i];
      widest = std::max(widest, extent(b));
      reach = std::max({reach, std::abs(double(b.x1)), std::abs(double(b.y1)),
                        std::abs(double(b.x2)), std::abs(double(b.y2))});
    }
    level_of_.resize(size_t(count));
    Level empty;
    levels_.assign(kLevels, empty);
    for (int64_t i = 0; i < count; ++i) {
      const auto at = level(extent(boxes[i]), widest);
      level_of_[size_t(i)] = uint8_t(at);
      levels_[at].add(centre_x(boxes[i]), centre_y(boxes[i]), extent(boxes[i]));
    }
    uint32_t first = 0;
    for (Level& one : levels_) {
      one.lay_out(first, reach);
      first += one.count;
    }
    // A counting sort into cells, stable in the input.
    for (int64_t i = 0; i < count; ++i) {
      Level& one = levels_[level_of_[size_t(i)]];
      ++one.starts[one.cell(centre_x(boxes[i]), centre_y(boxes[i])) + 1];
    }
    for (Level& one : levels_)
      one.accumulate();
    for (int64_t i = 0; i < count; ++i) {
      Level& one = levels_[level_of_[size_t(i)]];
      slots_[size_t(i)] = one.starts[one.cell(centre_x(boxes[i]), centre_y(boxes[i]))]++;
    }
    for (Level& one : levels_)
      one.rewind();
    levels_.erase(
        std::remove_if(levels_.begin(), levels_.end(), [](const Level& l) { return !l.count; }),
        levels_.end());
  }

  const std::vector<uint32_t>& slot_of() const {
    return slots_;
  }

  // Calls visit(begin, end) with runs of slots that hold every box which
  // overlaps `b`, and others.
  template <class E, class Visit>
  void near(const Edges<E>& b, const Visit& visit) const {
    for (const Level& one : levels_)
      one.near(b, visit);
  }

 private:
  static constexpr size_t kLevels = 24;

  template <class E>
  static double extent(const Edges<E>& b) {
    return std::max(double(b.x2) - double(b.x1), double(b.y2) - double(b.y1));
  }
  template <class E>
  static double centre_x(const Edges<E>& b) {
    return 0.5 * (double(b.x1) + double(b.x2));
  }
  template <class E>
  static double centre_y(const Edges<E>& b) {
    return 0.5 * (double(b.y1) + double(b.y2));
  }
  static size_t level(double extent, double widest) {
    size_t at = 0;
    for (double half = 0.5 * widest; at + 1 < kLevels && extent <= half; half *= 0.5)
      ++at;
    return at;
  }

  struct Level {
    uint32_t count = 0, first = 0;
    double low_x = INFINITY, low_y = INFINITY, high_x = -INFINITY, high_y = -INFINITY;
    double widest = 0, inverse = 0;
    int64_t columns = 0, rows = 0;
    std::vector<uint32_t> starts; // of each cell, in slots

    void add(double x, double y, double extent) {
      ++count;
      low_x = std::min(low_x, x);
      high_x = std::max(high_x, x);
      low_y = std::min(low_y, y);
      high_y = std::max(high_y, y);
      widest = std::max(widest, extent);
    }
    void lay_out(uint32_t slot, double reach) {
      first = slot;
      if (!count)
        return;
      // Above any rounding of a centre or an edge.
      widest = widest * (1 + 1e-9) + reach * 1e-14;
      double cell = widest;
      // In sparse fields larger cells, so that there are not many more of them
      // than boxes.
      const double most = 2.0 * count + 64;
      while (((high_x - low_x) / cell + 1) * ((high_y - low_y) / cell + 1) > most)
        cell *= 1.25;
      inverse = 1 / cell;
      columns = int64_t((high_x - low_x) * inverse) + 1;
      rows = int64_t((high_y - low_y) * inverse) + 1;
      starts.assign(size_t(rows * columns) + 1, 0);
    }
    int64_t column(double x) const {
      return int64_t(std::clamp((x - low_x) * inverse, 0.0, double(columns - 1)));
    }
    int64_t row(double y) const {
      return int64_t(std::clamp((y - low_y) * inverse, 0.0, double(rows - 1)));
    }
    size_t cell(double x, double y) const {
      return size_t(row(y) * columns + column(x));
    }
    void accumulate() {
      if (!count)
        return;
      starts[0] = first;
      for (size_t c = 1; c < starts.size(); ++c)
        starts[c] += starts[c - 1];
    }
    // Filling moved each start to its end, which is the next one's start.
    void rewind() {
      if (!count)
        return;
      for (size_t c = starts.size() - 1; c > 0; --c)
        starts[c] = starts[c - 1];
      starts[0] = first;
    }
    template <class E, class Visit>
    void near(const Edges<E>& b, const Visit& visit) const {
      const double half = 0.5 * widest;
      const double left = double(b.x1) - half, right = double(b.x2) + half;
      const double top = double(b.y1) - half, bottom = double(b.y2) + half;
      if (left > high_x || right < low_x || top > high_y || bottom < low_y)
        return;
      const int64_t from = column(left), to = column(right);
      for (int64_t r = row(top), last = row(bottom); r <= last; ++r) {
        const uint32_t begin = starts[size_t(r * columns + from)];
        const uint32_t end = starts[size_t(r * columns + to) + 1];
        if (begin < end)
          visit(begin, end);
      }
    }
  };

  std::vector<Level> levels_;
  std::vector<uint8_t> level_of_;
  std::vector<uint32_t> slots_;
};

} // namespace skyduel

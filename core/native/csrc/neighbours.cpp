// All pairs of points of two sets no farther apart than a radius, by a grid of cells.
//
// The grid stores the second set in the order of its cells, so the cells of one column of the grid
// are one run of memory. The first set is looked up in the same order.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace {

struct Grid {
  double x0, y0, per_cell;
  int64_t columns, rows;
  std::vector<uint32_t> first;  // of each cell, in the order of cells
  std::vector<double> x, y;
  std::vector<uint32_t> index;

  int64_t column(double x_) const { return clip((x_ - x0) * per_cell, columns); }
  int64_t row(double y_) const { return clip((y_ - y0) * per_cell, rows); }
  static int64_t clip(double at, int64_t n) {
    return at > 0 ? (at < double(n - 1) ? int64_t(at) : n - 1) : 0;
  }
};

void sort_into_cells(const Grid& grid, const double* xy, int64_t n, std::vector<uint32_t>& first,
                     std::vector<uint32_t>& index) {
  std::vector<uint32_t> cell(static_cast<size_t>(n));
  first.assign(size_t(grid.columns * grid.rows) + 1, 0);
  for (int64_t k = 0; k < n; ++k) {
    cell[size_t(k)] = uint32_t(grid.column(xy[2 * k]) * grid.rows + grid.row(xy[2 * k + 1]));
    ++first[size_t(cell[size_t(k)]) + 1];
  }
  for (size_t c = 1; c < first.size(); ++c) first[c] += first[c - 1];
  index.resize(size_t(n));
  for (int64_t k = 0; k < n; ++k) index[first[cell[size_t(k)]]++] = uint32_t(k);
  // The starts have moved on by one cell.
  std::memmove(first.data() + 1, first.data(), (first.size() - 1) * sizeof(uint32_t));
  first[0] = 0;
}

struct Found {
  std::vector<uint32_t> i, j;
  bool failed = false;
};

void look_up(const Grid& grid, const double* a, const uint32_t* order, int64_t begin, int64_t end,
             double radius, Found& found) {
  const double radius2 = radius * radius;
  try {
    for (int64_t k = begin; k < end; ++k) {
      const uint32_t i = order[k];
      const double x = a[2 * size_t(i)], y = a[2 * size_t(i) + 1];
      const int64_t c0 = grid.column(x - radius), c1 = grid.column(x + radius);
      const int64_t r0 = grid.row(y - radius), r1 = grid.row(y + radius);
      for (int64_t c = c0; c <= c1; ++c) {
        const uint32_t from = grid.first[size_t(c * grid.rows + r0)];
        const uint32_t to = grid.first[size_t(c * grid.rows + r1) + 1];
        for (uint32_t p = from; p < to; ++p) {
          const double dx = x - grid.x[p], dy = y - grid.y[p];
          if (dx * dx + dy * dy <= radius2) {
            found.i.push_back(i);
            found.j.push_back(grid.index[p]);
          }
        }
      }
    }
  } catch (const std::bad_alloc&) {
    found.failed = true;
  }
}

struct Result {
  std::vector<Found> parts;
};

}  // namespace

extern "C" {

// a, b: positions, shape (n, 2), finite; fewer than 2^32 rows. Returns a handle and the number of
// pairs, or null when memory runs out.
__attribute__((visibility("default"))) void* skyduel_neighbours(
    const double* a, int64_t n_a, const double* b, int64_t n_b, double radius, int64_t threads,
    int64_t* n_pairs) {
  Result* result = nullptr;
  try {
    result = new Result;
    double low[2] = {b[0], b[1]}, high[2] = {b[0], b[1]};
    for (int64_t k = 0; k < n_b; ++k) {
      for (int axis = 0; axis < 2; ++axis) {
        low[axis] = std::min(low[axis], b[2 * k + axis]);
        high[axis] = std::max(high[axis], b[2 * k + axis]);
      }
    }
    const double width = high[0] - low[0], height = high[1] - low[1];
    // About one point a cell, and no cell smaller than the radius.
    double side = std::max(radius, std::sqrt(width * height / double(n_b)));
    side = std::max(side, std::max(width, height) / (2.0 * double(n_b) + 16.0));
    Grid grid;
    grid.x0 = low[0];
    grid.y0 = low[1];
    grid.per_cell = 1.0 / side;
    grid.columns = int64_t(width * grid.per_cell) + 1;
    grid.rows = int64_t(height * grid.per_cell) + 1;
    sort_into_cells(grid, b, n_b, grid.first, grid.index);
    grid.x.resize(size_t(n_b));
    grid.y.resize(size_t(n_b));
    for (int64_t p = 0; p < n_b; ++p) {
      grid.x[size_t(p)] = b[2 * size_t(grid.index[size_t(p)])];
      grid.y[size_t(p)] = b[2 * size_t(grid.index[size_t(p)]) + 1];
    }
    std::vector<uint32_t> starts, order;
    sort_into_cells(grid, a, n_a, starts, order);
    std::vector<uint32_t>().swap(starts);

    const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, n_a / 20000 + 1));
    result->parts.resize(size_t(parts));
    const auto work = [&](int64_t part) {
      look_up(grid, a, order.data(), n_a * part / parts, n_a * (part + 1) / parts, radius,
              result->parts[size_t(part)]);
    };
    std::vector<std::thread> others;
    int64_t started = 1;
    try {
      for (; started < parts; ++started) others.emplace_back(work, started);
    } catch (...) {  // no more threads: the rest is done here
    }
    work(0);
    for (int64_t part = started; part < parts; ++part) work(part);
    for (auto& thread : others) thread.join();
    *n_pairs = 0;
    for (const Found& found : result->parts) {
      if (found.failed) throw std::bad_alloc();
      *n_pairs += int64_t(found.i.size());
    }
    return result;
  } catch (const std::bad_alloc&) {
    delete result;
    return nullptr;
  }
}

// Copy the pairs into i and j, and free the handle; null pointers only free it.
__attribute__((visibility("default"))) void skyduel_take_neighbours(void* handle, int64_t* i,
                                                                    int64_t* j) {
  Result* result = static_cast<Result*>(handle);
  int64_t at = 0;
  for (Found& found : result->parts) {
    if (i && j) {
      for (size_t k = 0; k < found.i.size(); ++k, ++at) {
        i[at] = found.i[k];
        j[at] = found.j[k];
      }
    }
    Found().i.swap(found.i);
    Found().j.swap(found.j);
  }
  delete result;
}
}

// The CPU side of ROIAlign: tables of weights, and who does which piece. Needs no torch.
#pragma once

#include "roi_align.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "pieces.h"
#include "refuse.h"

namespace skyduel {

struct Sampling {
  double scale;
  int64_t ratio; // samples a bin and axis; 0 = one a map pixel
  bool aligned;
};

template <class A>
struct Box {
  int64_t image;
  A x1, y1, x2, y2; // on the map
};

// Values below this many are not worth waking threads for.
constexpr int64_t kSmall = 1 << 15;
constexpr int64_t kBoxesAPiece = 16;

// ---- weights ----------------------------------------------------------------

// How the taps of an axis are grouped.
enum class By { bin, position };

// Tables of all boxes of a call. Pieces of boxes are filled by different
// threads, each into its own arena.
template <class A>
struct Tables {
  struct Arena {
    std::vector<Group> groups;
    std::vector<Tap<A>> taps;
    std::vector<A> dense;
    std::vector<Picks> picks;
  };
  std::vector<Arena> arenas;
  std::vector<BoxTable<A>> boxes;
  std::vector<int32_t> first_row, last_row; // map rows touched; last < first: none
  int64_t widest = 0; // columns that one box spans
};

template <class A>
struct Builder {
  std::vector<Tap<A>> taps; // by bin
  std::vector<uint32_t> ends; // of each bin
  std::vector<uint32_t> counts;

  // Weights of one axis, by bin. A sample more than a pixel outside the map
  // counts as zero; nearer than that the edge holds.
  void sample(A start, A extent, int64_t bins, int64_t size, const Sampling& sampling) {
    taps.clear();
    ends.clear();
    const A step = extent / A(bins);
    const int64_t samples = sampling.ratio > 0 ? sampling.ratio : int64_t(std::ceil(step));
    const A share = samples > 0 ? A(1) / A(samples) : A(0);
    for (int64_t bin = 0; bin < bins; ++bin) {
      const size_t begin = taps.size();
      for (int64_t s = 0; s < samples; ++s) {
        A at = start + A(bin) * step + (A(s) + A(0.5)) * step / A(samples);
        if (!(at >= A(-1) && at <= A(size)))
          continue;
        at = std::max(at, A(0));
        const int64_t low = std::min(int64_t(at), size - 1);
        const int64_t high = std::min(low + 1, size - 1);
        const A fraction = low >= size - 1 ? A(0) : at - A(low);
        add(begin, low, (A(1) - fraction) * share);
        add(begin, high, fraction * share);
      }
      ends.push_back(uint32_t(taps.size()));
    }
  }

  // Neighbouring samples share positions; the last few taps are where to look.
  void add(size_t begin, int64_t position, A weight) {
    const size_t from = std::max(begin, taps.size() > 3 ? taps.size() - 3 : 0);
    for (size_t t = taps.size(); t-- > from;)
      if (taps[t].index == position) {
        taps[t].weight += weight;
        return;
      }
    taps.push_back({int32_t(position), weight});
  }

  std::pair<int32_t, int32_t> range() const {
    int32_t low = INT32_MAX, high = -1;
    for (const auto& tap : taps) {
      low = std::min(low, tap.index);
      high = std::max(high, tap.index);
    }
    return {low, high};
  }

  // Append the axis to the arena; returns the number of groups.
  int32_t emit(By by, typename Tables<A>::Arena& arena) {
    const auto offset = uint32_t(arena.taps.size());
    if (by == By::bin) {
      uint32_t begin = 0;
      for (size_t bin = 0; bin < ends.size(); ++bin) {
        arena.groups.push_back({int32_t(bin), offset + begin, offset + ends[bin]});
        begin = ends[bin];
      }
      arena.taps.insert(arena.taps.end(), taps.begin(), taps.end());
      return int32_t(ends.size());
    }
    const auto [low, high] = range();
    if (high < 0)
      return 0;
    // A counting sort by position, stable in the bin.
    counts.assign(size_t(high - low) + 2, 0);
    for (const auto& tap : taps)
      ++counts[size_t(tap.index - low) + 1];
    int32_t groups = 0;
    for (size_t p = 0; p + 1 < counts.size(); ++p) {
      const uint32_t here = counts[p + 1];
      counts[p + 1] += counts[p];
      if (here) {
        arena.groups.push_back(
            {low + int32_t(p), offset + counts[p], offset + counts[p + 1]});
        ++groups;
      }
    }
    arena.taps.resize(offset + taps.size());
    size_t t = 0;
    for (size_t bin = 0; bin < ends.size(); ++bin)
      for (; t < ends[bin]; ++t)
        arena.taps[offset + counts[size_t(taps[t].index - low)]++] = {
            int32_t(bin), taps[t].weight};
    return groups;
  }
};

struct Map {
  int64_t images, channels, height, width;
};

// What the plane kernels want beside the taps.
enum class Windows { none, picks, dense };

template <class A>
bool make_picks(const Builder<A>& builder, const BoxTable<A>& table, Picks& picks) {
  if (builder.ends.size() > size_t(Picks::lanes))
    return false;
  picks = Picks{};
  uint32_t begin = 0;
  for (size_t bin = 0; bin < builder.ends.size(); begin = builder.ends[bin++]) {
    const uint32_t count = builder.ends[bin] - begin;
    if (count > uint32_t(Picks::limit))
      return false;
    picks.count = std::max(picks.count, int32_t(count));
    for (uint32_t t = 0; count > 0 && t < uint32_t(Picks::limit); ++t) {
      const Tap<A>& tap = builder.taps[begin + (t < count ? t : 0)];
      picks.index[t][bin] = tap.index - table.first_column;
      picks.weight[t][bin] = t < count ? float(tap.weight) : 0.0f;
    }
  }
  return true;
}

template <class A>
Tables<A> make_tables(
    const std::vector<Box<A>>& boxes, const std::vector<int64_t>& order, const Map& map, Bins bins,
    const Sampling& sampling, By rows_by, By columns_by, Windows windows) {
  const auto count = int64_t(boxes.size());
  const int64_t pieces = (count + kBoxesAPiece - 1) / kBoxesAPiece;
  Tables<A> tables;
  tables.arenas.resize(size_t(pieces));
  tables.boxes.resize(size_t(count));
  tables.first_row.resize(size_t(count));
  tables.last_row.resize(size_t(count));
  std::vector<int64_t> widest(size_t(pieces), 0);
  const auto prepare = [] { return Builder<A>(); };
  for_each_piece(pieces, count >= 256, prepare, [&](int64_t piece, Builder<A>& builder) {
    auto& arena = tables.arenas[size_t(piece)];
    const int64_t begin = piece * kBoxesAPiece;
    const int64_t end = std::min(count, begin + kBoxesAPiece);
    struct Offsets {
      size_t rows, columns, dense, picks;
    } offsets[kBoxesAPiece];
    for (int64_t i = begin; i < end; ++i) {
      const Box<A>& box = boxes[size_t(order[size_t(i)])];
      BoxTable<A>& table = tables.boxes[size_t(i)];
      A height = box.y2 - box.y1, width = box.x2 - box.x1;
      if (!sampling.aligned) {
        height = std::max(height, A(1));
        width = std::max(width, A(1));
      }
      auto& offset = offsets[i - begin];
      table.number = order[size_t(i)];
      builder.sample(box.y1, height, bins.rows, map.height, sampling);
      const auto [top, bottom] = builder.range();
      tables.first_row[size_t(i)] = top;
      tables.last_row[size_t(i)] = bottom;
      offset.rows = arena.groups.size();
      table.rows.count = builder.emit(rows_by, arena);
      builder.sample(box.x1, width, bins.columns, map.width, sampling);
      const auto [left, right] = builder.range();
      offset.columns = arena.groups.size();
      table.columns.count = builder.emit(columns_by, arena);
      table.first_column = right < 0 ? 0 : left;
      table.padded = 0;
      offset.dense = offset.picks = SIZE_MAX;
      const int64_t span = right < 0 ? 0 : right - left + 1;
      widest[size_t(piece)] = std::max(widest[size_t(piece)], span);
      if (windows == Windows::none || span == 0)
        continue;
      const int64_t padded = (span + kWindowStep - 1) / kWindowStep * kWindowStep;
      if (padded > map.width)
        continue;
      table.padded = int32_t(padded);
      table.first_column = int32_t(std::min<int64_t>(left, map.width - padded));
      widest[size_t(piece)] = std::max(widest[size_t(piece)], padded);
      if (padded > kDenseLimit)
        continue;
      if (windows == Windows::picks) {
        Picks picks;
        if (!make_picks(builder, table, picks))
          continue;
        offset.picks = arena.picks.size();
        arena.picks.push_back(picks);
        continue;
      }
      offset.dense = arena.dense.size();
      arena.dense.resize(offset.dense + size_t(padded) * bins.columns, A(0));
      size_t t = 0;
      for (size_t bin = 0; bin < builder.ends.size(); ++bin)
        for (; t < builder.ends[bin]; ++t)
          arena.dense
              [offset.dense + bin * size_t(padded) +
               size_t(builder.taps[t].index - table.first_column)] += builder.taps[t].weight;
    }
    // The arena has stopped growing: offsets become pointers.
    for (int64_t i = begin; i < end; ++i) {
      BoxTable<A>& table = tables.boxes[size_t(i)];
      const auto& offset = offsets[i - begin];
      table.rows.groups = arena.groups.data() + offset.rows;
      table.columns.groups = arena.groups.data() + offset.columns;
      table.taps = arena.taps.data();
      table.dense = offset.dense == SIZE_MAX ? nullptr : arena.dense.data() + offset.dense;
      table.picks = offset.picks == SIZE_MAX ? nullptr : arena.picks.data() + offset.picks;
    }
  });
  for (const int64_t one : widest)
    tables.widest = std::max(tables.widest, one);
  return tables;
}

// ---- arguments --------------------------------------------------------------

// Rows of five: image, x1, y1, x2, y2.
template <class A, class Coordinate>
std::vector<Box<A>> read_rows(
    const Coordinate* rows, int64_t count, const Map& map, const Sampling& sampling) {
  if (count > 0 && map.height * map.width == 0)
    refuse("features: required pixels to sample; got ", map.height, " x ", map.width);
  std::vector<Box<A>> boxes(size_t(count), Box<A>{});
  const A scale = A(sampling.scale), offset = sampling.aligned ? A(0.5) : A(0);
  for (int64_t k = 0; k < count; ++k) {
    const Coordinate* row = rows + 5 * k;
    for (int i = 0; i < 5; ++i)
      if (!std::isfinite(row[i]))
        refuse("boxes: required finite; got ", row[i], " in row ", k);
    if (!(row[0] >= 0 && row[0] < Coordinate(map.images)))
      refuse(
          "boxes: required an image index in 0..", map.images - 1, "; got ", row[0], " in row ", k);
    for (int i = 1; i < 5; ++i)
      if (!(std::abs(double(row[i]) * double(scale)) <= kFarthest))
        refuse("boxes: required edges within 2**22 map pixels; got ", row[i], " in row ", k);
    boxes[size_t(k)] = {
        int64_t(row[0]), A(row[1]) * scale - offset, A(row[2]) * scale - offset,
        A(row[3]) * scale - offset, A(row[4]) * scale - offset};
  }
  return boxes;
}

inline Sampling checked_sampling(double scale, int64_t ratio, bool aligned) {
  if (!(scale > 0 && std::isfinite(scale)))
    refuse("spatial_scale: required positive and finite; got ", scale);
  check_ratio(ratio);
  return {scale, ratio, aligned};
}

inline Bins checked_bins(int64_t rows, int64_t columns) {
  if (rows < 1 || columns < 1 || rows > INT32_MAX / columns)
    refuse("output_size: required positive integers; got ", rows, " x ", columns);
  return {int32_t(rows), int32_t(columns)};
}

// Boxes by image and then downwards, so that neighbours in time are neighbours
// in memory; and where each image's begin.
template <class A>
std::vector<int64_t> downwards(
    const std::vector<Box<A>>& boxes, int64_t images, std::vector<int64_t>& starts) {
  std::vector<int64_t> order(boxes.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const Box<A>&p = boxes[size_t(a)], &q = boxes[size_t(b)];
    if (p.image != q.image)
      return p.image < q.image;
    return p.y1 != q.y1 ? p.y1 < q.y1 : a < b;
  });
  starts.assign(size_t(images) + 1, 0);
  for (const auto& box : boxes)
    ++starts[size_t(box.image) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  return order;
}

// ---- forward ----------------------------------------------------------------

template <class T>
const RoiAlignKernels<T>& kernels() {
#if defined(__x86_64__)
  switch (capability()) {
    case Capability::avx512:
      return avx512::roi_align_kernels<T>();
    case Capability::avx2:
      return avx2::roi_align_kernels<T>();
    default:
      break;
  }
#endif
  return base::roi_align_kernels<T>();
}

// Maps of one image that the plane kernels take at once: enough that a crop's
// values fill whole cache lines, few enough that both threads have work.
inline int64_t planes_a_piece(const Map& map) {
  const int64_t threads = thread_count();
  const int64_t share = map.images * map.channels / std::max<int64_t>(1, 2 * threads);
  return std::clamp<int64_t>(share, 1, 8);
}

template <class T>
auto scratch_maker(const RoiAlignKernels<T>& k, Bins bins, int64_t widest) {
  return [&k, bins, widest] { return std::vector<wide_t<T>>(k.scratch_size(bins, widest)); };
}

// Crops of maps (N, C, H, W), or (N, H, W, C) if `channels_last`; the crops are laid out alike.
template <class T>
void forward(
    const T* from, const Map& map, Bins bins, const std::vector<Box<wide_t<T>>>& rois,
    const Sampling& sampling, bool channels_last, T* to) {
  using A = wide_t<T>;
  const auto count = int64_t(rois.size());
  const int64_t cells = int64_t(bins.rows) * bins.columns;
  const int64_t crop_size = cells * map.channels;
  if (count * crop_size == 0)
    return;
  const auto& k = kernels<T>();
  std::vector<int64_t> starts;
  const auto order = downwards(rois, map.images, starts);
  const int64_t plane = map.height * map.width;
  const bool threaded = count * crop_size >= kSmall;

  if (channels_last) {
    const auto tables = make_tables(
        rois, order, map, bins, sampling, By::position, By::bin, Windows::none);
    const int64_t pieces = (count + kBoxesAPiece - 1) / kBoxesAPiece;
    for_each_piece(
        pieces, threaded, scratch_maker(k, bins, tables.widest),
        [&](int64_t piece, std::vector<A>& scratch) {
          const int64_t end = std::min(count, (piece + 1) * kBoxesAPiece);
          for (int64_t i = piece * kBoxesAPiece; i < end; ++i) {
            const auto& table = tables.boxes[size_t(i)];
            const int64_t image = rois[size_t(table.number)].image;
            k.forward_pixels(
                from + image * plane * map.channels, map.width, map.channels, table, bins,
                to + table.number * crop_size, scratch.data());
          }
        });
    return;
  }

  const auto tables =
      make_tables(rois, order, map, bins, sampling, By::bin, By::bin, Windows::picks);
  const int64_t at_once = planes_a_piece(map);
  const int64_t blocks = (map.channels + at_once - 1) / at_once;
  for_each_piece(
      map.images * blocks, threaded, scratch_maker(k, bins, tables.widest),
      [&](int64_t piece, std::vector<A>& scratch) {
        const int64_t image = piece / blocks, first = piece % blocks * at_once;
        const int64_t planes = std::min(at_once, map.channels - first);
        const T* maps = from + (image * map.channels + first) * plane;
        for (int64_t i = starts[size_t(image)]; i < starts[size_t(image) + 1]; ++i) {
          const auto& table = tables.boxes[size_t(i)];
          k.forward_planes(
              maps, planes, plane, map.width, table, bins,
              to + table.number * crop_size + first * cells, scratch.data());
        }
      });
}

// ---- backward ---------------------------------------------------------------

// Sums in T go to the result directly, sums of a narrower T through a buffer.
template <class T>
struct Target {
  std::vector<wide_t<T>> buffer;
  wide_t<T>* begin(T* result, int64_t size) {
    if constexpr (std::is_same_v<T, wide_t<T>>) {
      std::memset(result, 0, size_t(size) * sizeof(T));
      return result;
    } else {
      buffer.assign(size_t(size), 0);
      return buffer.data();
    }
  }
  void end(const RoiAlignKernels<T>& k, T* result, int64_t size) {
    if constexpr (!std::is_same_v<T, wide_t<T>>)
      k.narrow(buffer.data(), size, result);
  }
};

// Bytes of a band of map rows that stays in a core's own cache.
constexpr int64_t kBandBytes = 1 << 20;

// A thread owns a band of map rows and adds every crop that touches it, in the
// crops' order: no two threads write one pixel, and the order of the sum in a
// pixel never depends on the threads.
template <class T>
void backward_pixels(
    const T* from, const Map& map, Bins bins, const std::vector<Box<wide_t<T>>>& rois,
    const Sampling& sampling, T* to) {
  using A = wide_t<T>;
  const auto& k = kernels<T>();
  const auto count = int64_t(rois.size());
  std::vector<int64_t> starts;
  const auto order = downwards(rois, map.images, starts);
  const auto tables = make_tables(
      rois, order, map, bins, sampling, By::position, By::position, Windows::none);
  const int64_t crop_size = int64_t(bins.rows) * bins.columns * map.channels;
  const int64_t row_size = map.width * map.channels;
  const int64_t fits = kBandBytes / std::max<int64_t>(1, row_size * int64_t(sizeof(A)));
  const int64_t threads = thread_count();
  const int64_t share = (map.images * map.height + 4 * threads - 1) / (4 * threads);
  const int64_t height = std::clamp<int64_t>(std::min(fits, share), 1, map.height);
  const int64_t bands = (map.height + height - 1) / height;

  // Which crops touch which band, band by band.
  std::vector<int64_t> offsets(size_t(map.images * bands) + 1, 0);
  std::vector<int64_t> members;
  for (const int pass : {0, 1}) {
    for (int64_t i = 0; i < count; ++i) {
      if (tables.last_row[size_t(i)] < 0)
        continue;
      const int64_t image = rois[size_t(order[size_t(i)])].image;
      const int64_t last = tables.last_row[size_t(i)] / height;
      for (int64_t band = tables.first_row[size_t(i)] / height; band <= last; ++band) {
        int64_t& slot = offsets[size_t(image * bands + band) + (pass ? 0 : 1)];
        if (pass)
          members[size_t(slot)] = i;
        ++slot;
      }
    }
    if (pass == 0) {
      std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
      members.resize(size_t(offsets.back()));
    }
  }
  // Filling moved every offset on to the next one's start.
  offsets.insert(offsets.begin(), 0);

  struct Scratch {
    std::vector<A> kernel;
    Target<T> target;
  };
  const auto prepare = [&] {
    return Scratch{std::vector<A>(k.scratch_size(bins, tables.widest)), {}};
  };
  for_each_piece(
      map.images * bands, map.images * map.height * row_size + count * crop_size >= kSmall,
      prepare, [&](int64_t piece, Scratch& scratch) {
        const int64_t image = piece / bands, top = piece % bands * height;
        const int64_t bottom = std::min(top + height, map.height);
        T* result = to + (image * map.height + top) * row_size;
        A* tile = scratch.target.begin(result, (bottom - top) * row_size);
        for (int64_t m = offsets[size_t(piece)]; m < offsets[size_t(piece) + 1]; ++m) {
          const auto& table = tables.boxes[size_t(members[size_t(m)])];
          k.backward_pixels(
              from + table.number * crop_size, map.width, map.channels, table, bins, int32_t(top),
              int32_t(bottom), tile, scratch.kernel.data());
        }
        scratch.target.end(k, result, (bottom - top) * row_size);
      });
}

// A thread owns whole maps of single channels.
template <class T>
void backward_planes(
    const T* from, const Map& map, Bins bins, const std::vector<Box<wide_t<T>>>& rois,
    const Sampling& sampling, T* to) {
  using A = wide_t<T>;
  const auto& k = kernels<T>();
  std::vector<int64_t> starts;
  const auto order = downwards(rois, map.images, starts);
  const auto tables = make_tables(
      rois, order, map, bins, sampling, By::position, By::position, Windows::dense);
  const int64_t cells = int64_t(bins.rows) * bins.columns;
  const int64_t plane = map.height * map.width;
  const int64_t at_once = planes_a_piece(map);
  const int64_t blocks = (map.channels + at_once - 1) / at_once;
  struct Scratch {
    std::vector<A> kernel;
    Target<T> target;
  };
  const auto prepare = [&] {
    return Scratch{std::vector<A>(k.scratch_size(bins, tables.widest)), {}};
  };
  for_each_piece(
      map.images * blocks,
      map.images * map.channels * plane + int64_t(rois.size()) * cells * map.channels >= kSmall,
      prepare, [&](int64_t piece, Scratch& scratch) {
        const int64_t image = piece / blocks, first = piece % blocks * at_once;
        const int64_t planes = std::min(at_once, map.channels - first);
        T* result = to + (image * map.channels + first) * plane;
        A* maps = scratch.target.begin(result, planes * plane);
        for (int64_t i = starts[size_t(image)]; i < starts[size_t(image) + 1]; ++i) {
          const auto& table = tables.boxes[size_t(i)];
          k.backward_planes(
              from + (table.number * map.channels + first) * cells, planes, plane, map.width,
              table, bins, maps, scratch.kernel.data());
        }
        scratch.target.end(k, result, planes * plane);
      });
}

} // namespace skyduel

// ROIAlign on the CPU: the tables that both directions and all instruction
// sets share, and what one instruction set's kernels look like to the driver.
//
// Bilinear sampling and averaging are separable, so a box is two short lists
// of weights, one an axis: which map rows (columns) feed which bin, samples
// that fall on the same row already added up. A crop costs
// (rows + columns) small products instead of rows x columns x 4 samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace skyduel {

// bfloat16 by its bits; arithmetic is in float.
struct BFloat16 {
  uint16_t bits;
};

template <class T>
struct Wide {
  using type = float;
};
template <>
struct Wide<double> {
  using type = double;
};
// What sums and coordinates are computed in.
template <class T>
using wide_t = typename Wide<T>::type;

template <class A>
struct Tap {
  int32_t index; // bin or map position, whichever the group's key is not
  A weight;
};

// The taps of one bin (key = bin) or of one map position (key = position).
struct Group {
  int32_t key;
  uint32_t begin, end; // into the taps
};

template <class A>
struct Axis {
  const Group* groups;
  int32_t count;
};

// Columns' taps with one lane a bin: bin c of a row is the sum over t of
// weight[t][c] * window[index[t][c]]. A lane with fewer taps repeats its first
// with no weight, so that no pixel outside a bin is ever multiplied.
struct Picks {
  static constexpr int32_t lanes = 16, limit = 6;
  int32_t count;
  int32_t index[limit][lanes];
  float weight[limit][lanes];
};

template <class A>
struct BoxTable {
  Axis<A> rows, columns;
  const Tap<A>* taps;
  const A* dense; // [bins][padded] column weights of the backward pass, or null
  const Picks* picks; // the same for the forward pass in float, or null
  int32_t first_column; // of the window read or written by the plane kernels
  int32_t padded; // its width, a multiple of the widest vector; 0 = do not use
  int64_t number; // which crop this is
};

struct Bins {
  int32_t rows, columns;
};

// Widest window for which column weights are laid out densely.
constexpr int32_t kDenseLimit = 32;
// Window widths are multiples of this many elements, whatever the vectors.
constexpr int32_t kWindowStep = 16;

// One instruction set's kernels for maps of T. "Pixels" maps are channels-last.
template <class T>
struct RoiAlignKernels {
  using A = wide_t<T>;

  // Crop one box: `image` is (height, width, channels), `crop` (rows, columns,
  // channels); `scratch` holds rows * columns * channel_block values.
  void (*forward_pixels)(
      const T* image, int64_t width, int64_t channels, const BoxTable<A>& box, Bins bins, T* crop,
      A* scratch);
  // Add one crop's gradient to map rows [row_begin, row_end), held as
  // (row_end - row_begin, width, channels) in `tile`.
  void (*backward_pixels)(
      const T* gradient, int64_t width, int64_t channels, const BoxTable<A>& box, Bins bins,
      int32_t row_begin, int32_t row_end, A* tile, A* scratch);
  // Crop one box from `planes` maps of one channel each, `plane_size` apart.
  void (*forward_planes)(
      const T* plane, int64_t planes, int64_t plane_size, int64_t width, const BoxTable<A>& box,
      Bins bins, T* crop, A* scratch);
  // Add one box's gradient to `planes` maps.
  void (*backward_planes)(
      const T* gradient, int64_t planes, int64_t plane_size, int64_t width,
      const BoxTable<A>& box, Bins bins, A* plane, A* scratch);
  // Round `count` sums to T.
  void (*narrow)(const A* from, int64_t count, T* to);
  // Values of scratch a kernel may use, given the widest row that a box spans.
  size_t (*scratch_size)(Bins bins, int64_t span);
  const char* name;
};

namespace base {
template <class T>
const RoiAlignKernels<T>& roi_align_kernels();
}
#if defined(__x86_64__)
namespace avx2 {
template <class T>
const RoiAlignKernels<T>& roi_align_kernels();
}
namespace avx512 {
template <class T>
const RoiAlignKernels<T>& roi_align_kernels();
}
#endif

} // namespace skyduel

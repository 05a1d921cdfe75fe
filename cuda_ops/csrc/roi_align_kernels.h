// The ROIAlign kernels, written once and compiled for each instruction set by
// the files that include this one: they set SKYDUEL_ISA (a namespace),
// SKYDUEL_VECTOR_BYTES and, by pragma, the compiler's target. Standard headers
// must come before that pragma, or their inline functions would be built for
// the wrong machine.

namespace skyduel::SKYDUEL_ISA {
namespace {

#define SKYDUEL_INLINE inline __attribute__((always_inline))

template <class A>
struct Vector {
  typedef A type __attribute__((vector_size(SKYDUEL_VECTOR_BYTES)));
  static constexpr int lanes = SKYDUEL_VECTOR_BYTES / sizeof(A);
};
template <class A>
using vec = typename Vector<A>::type;

// Lanes<A> is one vector of A, Lanes<A, false> a single value, so that a
// kernel's main loop and its remainder are the same code.
template <class A, bool wide = true>
struct Lanes {
  using type = vec<A>;
  static constexpr int count = Vector<A>::lanes;
  static SKYDUEL_INLINE type zero() {
    return type{};
  }
  static SKYDUEL_INLINE type all(A value) {
    return type{} + value;
  }
  static SKYDUEL_INLINE type load(const A* from) {
    type value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
  }
  static SKYDUEL_INLINE void store(type value, A* to) {
    __builtin_memcpy(to, &value, sizeof(value));
  }
  static SKYDUEL_INLINE type load(const BFloat16* from) {
    typedef uint16_t half_t __attribute__((vector_size(SKYDUEL_VECTOR_BYTES / 2)));
    typedef uint32_t bits_t __attribute__((vector_size(SKYDUEL_VECTOR_BYTES)));
    half_t half;
    __builtin_memcpy(&half, from, sizeof(half));
    const bits_t bits = __builtin_convertvector(half, bits_t) << 16;
    type value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  }
  // Rounds to nearest, ties to even; a NaN stays one.
  static SKYDUEL_INLINE void store(type value, BFloat16* to) {
    typedef uint16_t half_t __attribute__((vector_size(SKYDUEL_VECTOR_BYTES / 2)));
    typedef uint32_t bits_t __attribute__((vector_size(SKYDUEL_VECTOR_BYTES)));
    bits_t bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    const bits_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const bits_t quiet = (bits >> 16) | 0x40u;
    const bits_t is_nan = reinterpret_cast<bits_t>((bits & 0x7fffffffu) > 0x7f800000u);
    const bits_t chosen = (quiet & is_nan) | (rounded & ~is_nan);
    const half_t half = __builtin_convertvector(chosen, half_t);
    __builtin_memcpy(to, &half, sizeof(half));
  }
};

template <class A>
struct Lanes<A, false> {
  using type = A;
  static constexpr int count = 1;
  static SKYDUEL_INLINE type zero() {
    return A(0);
  }
  static SKYDUEL_INLINE type all(A value) {
    return value;
  }
  static SKYDUEL_INLINE type load(const A* from) {
    return *from;
  }
  static SKYDUEL_INLINE void store(type value, A* to) {
    *to = value;
  }
  static SKYDUEL_INLINE type load(const BFloat16* from) {
    const uint32_t bits = uint32_t(from->bits) << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  }
  static SKYDUEL_INLINE void store(type value, BFloat16* to) {
    uint32_t bits;
    const float single = float(value);
    __builtin_memcpy(&bits, &single, sizeof(bits));
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to->bits = uint16_t(
        is_nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
};

// a * b + c, fused where the instruction set fuses. The build forbids the
// compiler to fuse on its own, for overlaps must round as everybody's do.
SKYDUEL_INLINE float fused(float a, float b, float c) {
  return a * b + c;
}
SKYDUEL_INLINE double fused(double a, double b, double c) {
  return a * b + c;
}
#if SKYDUEL_VECTOR_BYTES == 64
SKYDUEL_INLINE vec<float> fused(vec<float> a, vec<float> b, vec<float> c) {
  return (vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
SKYDUEL_INLINE vec<double> fused(vec<double> a, vec<double> b, vec<double> c) {
  return (vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif SKYDUEL_VECTOR_BYTES == 32
SKYDUEL_INLINE vec<float> fused(vec<float> a, vec<float> b, vec<float> c) {
  return (vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
SKYDUEL_INLINE vec<double> fused(vec<double> a, vec<double> b, vec<double> c) {
  return (vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#else
SKYDUEL_INLINE vec<float> fused(vec<float> a, vec<float> b, vec<float> c) {
  return a * b + c;
}
SKYDUEL_INLINE vec<double> fused(vec<double> a, vec<double> b, vec<double> c) {
  return a * b + c;
}
#endif

// Vectors of channels that one pass keeps in registers.
constexpr int kBlock = 4;

// ---- channels-last maps -----------------------------------------------------

template <class T, class L, int block, class A>
SKYDUEL_INLINE void forward_channels(
    const T* image, int64_t width, int64_t channels, const BoxTable<A>& box, Bins bins, T* crop,
    A* sums) {
  constexpr int step = block * L::count;
  const int32_t cells = bins.rows * bins.columns;
  for (int32_t i = 0; i < cells * block; ++i)
    L::store(L::zero(), sums + i * L::count);
  for (int32_t r = 0; r < box.rows.count; ++r) {
    const Group row = box.rows.groups[r];
    const T* pixels = image + int64_t(row.key) * width * channels;
    for (int32_t c = 0; c < bins.columns; ++c) {
      const Group column = box.columns.groups[c];
      typename L::type across[block];
      for (int v = 0; v < block; ++v)
        across[v] = L::zero();
      for (uint32_t t = column.begin; t < column.end; ++t) {
        const auto weight = L::all(box.taps[t].weight);
        const T* pixel = pixels + box.taps[t].index * channels;
        for (int v = 0; v < block; ++v)
          across[v] = fused(weight, L::load(pixel + v * L::count), across[v]);
      }
      for (uint32_t t = row.begin; t < row.end; ++t) {
        const auto weight = L::all(box.taps[t].weight);
        A* sum = sums + int64_t(box.taps[t].index * bins.columns + c) * step;
        for (int v = 0; v < block; ++v)
          L::store(fused(weight, across[v], L::load(sum + v * L::count)), sum + v * L::count);
      }
    }
  }
  for (int32_t i = 0; i < cells; ++i)
    for (int v = 0; v < block; ++v)
      L::store(L::load(sums + (i * block + v) * L::count), crop + i * channels + v * L::count);
}

template <class T>
void forward_pixels(
    const T* image, int64_t width, int64_t channels, const BoxTable<wide_t<T>>& box, Bins bins,
    T* crop, wide_t<T>* scratch) {
  using A = wide_t<T>;
  using W = Lanes<A>;
  int64_t c = 0;
  for (; c + kBlock * W::count <= channels; c += kBlock * W::count)
    forward_channels<T, W, kBlock>(image + c, width, channels, box, bins, crop + c, scratch);
  for (; c + W::count <= channels; c += W::count)
    forward_channels<T, W, 1>(image + c, width, channels, box, bins, crop + c, scratch);
  for (; c < channels; ++c)
    forward_channels<T, Lanes<A, false>, 1>(
        image + c, width, channels, box, bins, crop + c, scratch);
}

template <class T, class L, int block, class A>
SKYDUEL_INLINE void backward_channels(
    const T* gradient, int64_t width, int64_t channels, const BoxTable<A>& box, Bins bins,
    int32_t row_begin, int32_t row_end, A* tile, A* down) {
  constexpr int step = block * L::count;
  for (int32_t r = 0; r < box.rows.count; ++r) {
    const Group row = box.rows.groups[r];
    if (row.key < row_begin)
      continue;
    if (row.key >= row_end)
      break;
    for (int32_t c = 0; c < bins.columns; ++c) {
      typename L::type sum[block];
      for (int v = 0; v < block; ++v)
        sum[v] = L::zero();
      for (uint32_t t = row.begin; t < row.end; ++t) {
        const auto weight = L::all(box.taps[t].weight);
        const T* from = gradient + int64_t(box.taps[t].index * bins.columns + c) * channels;
        for (int v = 0; v < block; ++v)
          sum[v] = fused(weight, L::load(from + v * L::count), sum[v]);
      }
      for (int v = 0; v < block; ++v)
        L::store(sum[v], down + c * step + v * L::count);
    }
    A* pixels = tile + int64_t(row.key - row_begin) * width * channels;
    for (int32_t x = 0; x < box.columns.count; ++x) {
      const Group column = box.columns.groups[x];
      A* pixel = pixels + column.key * channels;
      typename L::type sum[block];
      for (int v = 0; v < block; ++v)
        sum[v] = L::load(pixel + v * L::count);
      for (uint32_t t = column.begin; t < column.end; ++t) {
        const auto weight = L::all(box.taps[t].weight);
        const A* from = down + box.taps[t].index * step;
        for (int v = 0; v < block; ++v)
          sum[v] = fused(weight, L::load(from + v * L::count), sum[v]);
      }
      for (int v = 0; v < block; ++v)
        L::store(sum[v], pixel + v * L::count);
    }
  }
}

template <class T>
void backward_pixels(
    const T* gradient, int64_t width, int64_t channels, const BoxTable<wide_t<T>>& box, Bins bins,
    int32_t row_begin, int32_t row_end, wide_t<T>* tile, wide_t<T>* scratch) {
  using A = wide_t<T>;
  using W = Lanes<A>;
  int64_t c = 0;
  for (; c + kBlock * W::count <= channels; c += kBlock * W::count)
    backward_channels<T, W, kBlock>(
        gradient + c, width, channels, box, bins, row_begin, row_end, tile + c, scratch);
  for (; c + W::count <= channels; c += W::count)
    backward_channels<T, W, 1>(
        gradient + c, width, channels, box, bins, row_begin, row_end, tile + c, scratch);
  for (; c < channels; ++c)
    backward_channels<T, Lanes<A, false>, 1>(
        gradient + c, width, channels, box, bins, row_begin, row_end, tile + c, scratch);
}

// ---- one map a channel ------------------------------------------------------
//
// Vectors run along x here. The window [first_column, first_column + padded)
// lies inside the map's row, so whole vectors can be read and written.

template <class T, class L, class A>
SKYDUEL_INLINE void forward_plane(
    const T* plane, int64_t width, const BoxTable<A>& box, Bins bins, int32_t span, T* crop,
    A* down) {
  for (int32_t r = 0; r < bins.rows; ++r) {
    const Group row = box.rows.groups[r];
    const T* start = plane + box.first_column;
    for (int32_t x = 0; x < span; x += L::count) {
      auto sum = L::zero();
      for (uint32_t t = row.begin; t < row.end; ++t)
        sum = fused(
            L::all(box.taps[t].weight), L::load(start + box.taps[t].index * width + x), sum);
      L::store(sum, down + x);
    }
    for (int32_t c = 0; c < bins.columns; ++c) {
      const Group column = box.columns.groups[c];
      A sum = A(0);
      for (uint32_t t = column.begin; t < column.end; ++t)
        sum += box.taps[t].weight * down[box.taps[t].index - box.first_column];
      Lanes<A, false>::store(sum, crop + r * bins.columns + c);
    }
  }
}

#if SKYDUEL_VECTOR_BYTES >= 32
// window[index], for a window held in `vectors` registers.
template <int vectors>
SKYDUEL_INLINE vec<float> pick(const vec<float>* window, const int32_t* index) {
#if SKYDUEL_VECTOR_BYTES == 64
  const __m512i at = _mm512_loadu_si512(index);
  if constexpr (vectors == 1)
    // The unmasked form warns of its own uninitialised operand in GCC 12.
    return (vec<float>)_mm512_maskz_permutexvar_ps(__mmask16(-1), at, (__m512)window[0]);
  else
    return (vec<float>)_mm512_permutex2var_ps((__m512)window[0], at, (__m512)window[1]);
#else
  const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index));
  __m256 found = _mm256_permutevar8x32_ps((__m256)window[0], at);
  for (int q = 1; q < vectors; ++q) {
    const __m256i here = _mm256_cmpgt_epi32(at, _mm256_set1_epi32(8 * q - 1));
    found = _mm256_blendv_ps(
        found, _mm256_permutevar8x32_ps((__m256)window[q], at), _mm256_castsi256_ps(here));
  }
  return (vec<float>)found;
#endif
}

// A window of at most kDenseLimit columns in registers, bins picked out of it.
template <class T, int vectors>
SKYDUEL_INLINE void forward_plane_picked(
    const T* plane, int64_t width, const BoxTable<float>& box, Bins bins, T* crop) {
  using L = Lanes<float>;
  const T* start = plane + box.first_column;
  const Picks& picks = *box.picks;
  for (int32_t r = 0; r < bins.rows; ++r) {
    const Group row = box.rows.groups[r];
    vec<float> window[vectors];
    for (int v = 0; v < vectors; ++v)
      window[v] = L::zero();
    for (uint32_t t = row.begin; t < row.end; ++t) {
      const auto weight = L::all(box.taps[t].weight);
      const T* from = start + box.taps[t].index * width;
      for (int v = 0; v < vectors; ++v)
        window[v] = fused(weight, L::load(from + v * L::count), window[v]);
    }
    for (int32_t c = 0; c < bins.columns; c += L::count) {
      vec<float> sum = L::zero();
      for (int32_t t = 0; t < picks.count; ++t)
        sum = fused(
            L::load(&picks.weight[t][c]), pick<vectors>(window, &picks.index[t][c]), sum);
      T lanes[L::count];
      L::store(sum, lanes);
      const int32_t many = bins.columns - c < L::count ? bins.columns - c : L::count;
      __builtin_memcpy(crop + r * bins.columns + c, lanes, size_t(many) * sizeof(T));
    }
  }
}
#endif

template <class A>
int32_t column_span(const BoxTable<A>& box) {
  int32_t last = box.first_column - 1;
  for (int32_t c = 0; c < box.columns.count; ++c)
    for (uint32_t t = box.columns.groups[c].begin; t < box.columns.groups[c].end; ++t)
      last = box.taps[t].index > last ? box.taps[t].index : last;
  return last + 1 - box.first_column;
}

template <class T>
void forward_planes(
    const T* plane, int64_t planes, int64_t plane_size, int64_t width,
    const BoxTable<wide_t<T>>& box, Bins bins, T* crop, wide_t<T>* scratch) {
  using A = wide_t<T>;
  const int32_t cells = bins.rows * bins.columns;
  const int32_t span = box.padded ? box.padded : column_span(box);
#if SKYDUEL_VECTOR_BYTES >= 32
  if constexpr (std::is_same_v<A, float>) {
    constexpr int one = kWindowStep / Lanes<float>::count;
    if (box.picks && box.padded == kWindowStep) {
      for (int64_t p = 0; p < planes; ++p)
        forward_plane_picked<T, one>(
            plane + p * plane_size, width, box, bins, crop + p * cells);
      return;
    }
    if (box.picks && box.padded == 2 * kWindowStep) {
      for (int64_t p = 0; p < planes; ++p)
        forward_plane_picked<T, 2 * one>(
            plane + p * plane_size, width, box, bins, crop + p * cells);
      return;
    }
  }
#endif
  for (int64_t p = 0; p < planes; ++p) {
    if (box.padded)
      forward_plane<T, Lanes<A>>(
          plane + p * plane_size, width, box, bins, span, crop + p * cells, scratch);
    else
      forward_plane<T, Lanes<A, false>>(
          plane + p * plane_size, width, box, bins, span, crop + p * cells, scratch);
  }
}

// The dense layout: a window of at most kDenseLimit columns in registers.
template <class T, int vectors, class A>
SKYDUEL_INLINE void backward_plane_dense(
    const T* gradient, int64_t width, const BoxTable<A>& box, Bins bins, A* plane, A* across) {
  using L = Lanes<A>;
  const int32_t padded = vectors * L::count;
  for (int32_t r = 0; r < bins.rows; ++r) {
    typename L::type sum[vectors];
    for (int v = 0; v < vectors; ++v)
      sum[v] = L::zero();
    for (int32_t c = 0; c < bins.columns; ++c) {
      const auto value = L::all(Lanes<A, false>::load(gradient + r * bins.columns + c));
      for (int v = 0; v < vectors; ++v)
        sum[v] = fused(value, L::load(box.dense + c * padded + v * L::count), sum[v]);
    }
    for (int v = 0; v < vectors; ++v)
      L::store(sum[v], across + r * padded + v * L::count);
  }
  for (int32_t r = 0; r < box.rows.count; ++r) {
    const Group row = box.rows.groups[r];
    A* start = plane + row.key * width + box.first_column;
    typename L::type sum[vectors];
    for (int v = 0; v < vectors; ++v)
      sum[v] = L::load(start + v * L::count);
    for (uint32_t t = row.begin; t < row.end; ++t) {
      const auto weight = L::all(box.taps[t].weight);
      for (int v = 0; v < vectors; ++v)
        sum[v] = fused(
            weight, L::load(across + box.taps[t].index * padded + v * L::count), sum[v]);
    }
    for (int v = 0; v < vectors; ++v)
      L::store(sum[v], start + v * L::count);
  }
}

template <class T, class A>
SKYDUEL_INLINE void backward_plane_sparse(
    const T* gradient, int64_t width, const BoxTable<A>& box, Bins bins, A* plane, A* down) {
  for (int32_t r = 0; r < box.rows.count; ++r) {
    const Group row = box.rows.groups[r];
    for (int32_t c = 0; c < bins.columns; ++c) {
      A sum = A(0);
      for (uint32_t t = row.begin; t < row.end; ++t)
        sum += box.taps[t].weight *
            Lanes<A, false>::load(gradient + box.taps[t].index * bins.columns + c);
      down[c] = sum;
    }
    for (int32_t x = 0; x < box.columns.count; ++x) {
      const Group column = box.columns.groups[x];
      A sum = A(0);
      for (uint32_t t = column.begin; t < column.end; ++t)
        sum += box.taps[t].weight * down[box.taps[t].index];
      plane[row.key * width + column.key] += sum;
    }
  }
}

template <class T>
void backward_planes(
    const T* gradient, int64_t planes, int64_t plane_size, int64_t width,
    const BoxTable<wide_t<T>>& box, Bins bins, wide_t<T>* plane, wide_t<T>* scratch) {
  using A = wide_t<T>;
  constexpr int one = kWindowStep / Lanes<A>::count;
  const int32_t cells = bins.rows * bins.columns;
  for (int64_t p = 0; p < planes; ++p) {
    const T* from = gradient + p * cells;
    A* to = plane + p * plane_size;
    if (box.dense && box.padded == kWindowStep)
      backward_plane_dense<T, one>(from, width, box, bins, to, scratch);
    else if (box.dense && box.padded == 2 * kWindowStep)
      backward_plane_dense<T, 2 * one>(from, width, box, bins, to, scratch);
    else
      backward_plane_sparse<T>(from, width, box, bins, to, scratch);
  }
}

template <class T>
void narrow(const wide_t<T>* from, int64_t count, T* to) {
  using A = wide_t<T>;
  using W = Lanes<A>;
  int64_t i = 0;
  for (; i + W::count <= count; i += W::count)
    W::store(W::load(from + i), to + i);
  for (; i < count; ++i)
    Lanes<A, false>::store(from[i], to + i);
}

template <class T>
size_t scratch_size(Bins bins, int64_t span) {
  const size_t block = kBlock * Lanes<wide_t<T>>::count;
  const size_t pixels = size_t(bins.rows) * bins.columns * block;
  const size_t planes = size_t(span) + size_t(bins.rows) * kDenseLimit + bins.columns;
  return (pixels > planes ? pixels : planes) + block;
}

} // namespace

template <class T>
const RoiAlignKernels<T>& roi_align_kernels() {
  static const RoiAlignKernels<T> kernels{
      forward_pixels<T>, backward_pixels<T>, forward_planes<T>, backward_planes<T>,
      narrow<T>,         scratch_size<T>,    SKYDUEL_ISA_NAME};
  return kernels;
}

template const RoiAlignKernels<float>& roi_align_kernels<float>();
template const RoiAlignKernels<double>& roi_align_kernels<double>();
template const RoiAlignKernels<BFloat16>& roi_align_kernels<BFloat16>();

} // namespace skyduel::SKYDUEL_ISA

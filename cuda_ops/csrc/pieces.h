// What the kernels for the CPU need of the library around them: threads, the instruction set.
// Needs no torch: torch's library runs them on torch's threads, `skyduel.core.native` on its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>

namespace skyduel {

// Each library defines these two. `on_threads` runs `work` once on each of so many threads.
int64_t thread_count();
void on_threads(int64_t threads, const std::function<void()>& work);

// Run `work(0) ... work(count - 1)` on threads, each thread taking the
// next piece when it has done one, since pieces differ in weight. `prepare()`
// makes one thread's scratch. Nothing may throw in here: it would have to cross
// a C boundary.
template <class Prepare, class Work>
inline void for_each_piece(int64_t count, bool threaded, const Prepare& prepare, const Work& work) {
  if (count <= 0)
    return;
  std::atomic<int64_t> next{0};
  const auto drain = [&] {
    auto scratch = prepare();
    for (int64_t piece = next++; piece < count; piece = next++)
      work(piece, scratch);
  };
  const int64_t threads = threaded ? std::min<int64_t>(count, thread_count()) : 1;
  if (threads > 1)
    on_threads(threads, drain);
  else
    drain();
}

// Which of base, avx2, avx512 the kernels run on: the widest that processor and
// operating system have, or a narrower one named by SKYDUEL_CPU_CAPABILITY.
enum class Capability { base, avx2, avx512 };
Capability capability();
const char* capability_name();

} // namespace skyduel

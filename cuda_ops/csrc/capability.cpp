// The instruction set that the kernels for the CPU run on.
#include <cstdlib>
#include <cstring>

#include "pieces.h"

namespace skyduel {

Capability capability() {
  static const Capability chosen = [] {
    Capability best = Capability::base;
#if defined(__x86_64__)
    // GCC's and Clang's own tables also ask the operating system.
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      best = Capability::avx2;
    if (best == Capability::avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
      best = Capability::avx512;
#endif
    const char* asked = std::getenv("SKYDUEL_CPU_CAPABILITY");
    if (asked != nullptr && std::strcmp(asked, "base") == 0)
      return Capability::base;
    if (asked != nullptr && std::strcmp(asked, "avx2") == 0)
      return std::min(best, Capability::avx2);
    return best;
  }();
  return chosen;
}

const char* capability_name() {
  switch (capability()) {
    case Capability::avx512:
      return "avx512";
    case Capability::avx2:
      return "avx2";
    default:
      return "base";
  }
}

} // namespace skyduel

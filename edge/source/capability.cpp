// ROIAlign by 16-byte vectors on every processor: wider ones fuse products and sums, and then the
// last bits of a catalogue would depend on the processor.
#include "pieces.h"

namespace skyduel {
Capability capability() {
  return Capability::base;
}
const char* capability_name() {
  return "base";
}
}  // namespace skyduel

// Soft-NMS and NMS on the CPU. Needs no torch.
//
// The greedy order comes from two sources: the boxes sorted by their own score,
// and a heap of those whose score has fallen since. A score can only fall, so
// an entry of the heap that is out of date is too high, never too low, and is
// put right when it comes to the top.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "box_grid.h"
#include "pieces.h"
#include "refuse.h"

namespace skyduel {

enum class Method : int64_t { gaussian, linear, hard };

struct Rule {
  Method method;
  double sigma, iou_threshold, score_threshold;
};

struct Kept {
  int64_t index;
  double score;
};

inline bool before(double score, int64_t index, double other_score, int64_t other_index) {
  return score > other_score || (score == other_score && index < other_index);
}

// Overlap over union in type O. Half open boxes that only touch have none.
template <class O, class E>
inline O overlap(const Edges<E>& a, const Edges<E>& b) {
  const O width = O(std::min(a.x2, b.x2)) - O(std::max(a.x1, b.x1));
  const O height = O(std::min(a.y2, b.y2)) - O(std::max(a.y1, b.y1));
  const O shared = width * height;
  const O of_a = (O(a.x2) - O(a.x1)) * (O(a.y2) - O(a.y1));
  const O of_b = (O(b.x2) - O(b.x1)) * (O(b.y2) - O(b.y1));
  return shared / (of_a + of_b - shared);
}

template <class E>
inline bool touch(const Edges<E>& a, const Edges<E>& b) {
  // Bitwise, for the four outcomes are too random to branch on one by one.
  return (a.x1 < b.x2) & (b.x1 < a.x2) & (a.y1 < b.y2) & (b.y1 < a.y2);
}

// Indices by falling score, equal scores in input order.
class ScoreOrder {
 public:
  void sort(const double* scores, int64_t count, bool single) {
    order_.resize(size_t(count));
    std::iota(order_.begin(), order_.end(), 0u);
    if (!single || count < 512) {
      std::stable_sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
        return scores[a] > scores[b];
      });
      return;
    }
    // float32 scores: three passes of a radix sort over their bits.
    keys_.resize(size_t(count));
    for (int64_t i = 0; i < count; ++i)
      keys_[size_t(i)] = {falling(float(scores[i])), uint32_t(i)};
    other_.resize(size_t(count));
    for (const int shift : {0, 11, 22}) {
      uint32_t at[2048] = {};
      for (const Key& key : keys_)
        ++at[(key.bits >> shift) & 2047];
      uint32_t total = 0;
      for (uint32_t& slot : at) {
        const uint32_t here = slot;
        slot = total;
        total += here;
      }
      for (const Key& key : keys_)
        other_[at[(key.bits >> shift) & 2047]++] = key;
      keys_.swap(other_);
    }
    for (int64_t i = 0; i < count; ++i)
      order_[size_t(i)] = keys_[size_t(i)].index;
  }
  const std::vector<uint32_t>& order() const {
    return order_;
  }

 private:
  struct Key {
    uint32_t bits, index;
  };
  // Unsigned numbers that rise as the float falls; -0 and 0 are one.
  static uint32_t falling(float value) {
    uint32_t bits;
    value += 0.0f;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
  }
  std::vector<uint32_t> order_;
  std::vector<Key> keys_, other_;
};

struct Entry {
  double score;
  uint32_t box; // in the group's own order, which breaks ties
  uint32_t slot; // in the grid's order
};

inline bool before(const Entry& a, const Entry& b) {
  return (a.score > b.score) | ((a.score == b.score) & (a.box < b.box));
}

// A binary heap, the best on top. Its comparisons are as good as random, so the
// way down is chosen by arithmetic instead of a branch.
class Heap {
 public:
  void clear() {
    entries_.clear();
  }
  bool empty() const {
    return entries_.empty();
  }
  const Entry& top() const {
    return entries_.front();
  }
  void push(Entry entry) {
    size_t at = entries_.size();
    entries_.push_back(entry);
    for (; at > 0 && before(entry, entries_[(at - 1) / 2]); at = (at - 1) / 2)
      entries_[at] = entries_[(at - 1) / 2];
    entries_[at] = entry;
  }
  void pop() {
    const Entry last = entries_.back();
    entries_.pop_back();
    if (!entries_.empty())
      replace_top(last);
  }
  void replace_top(Entry entry) {
    const size_t count = entries_.size();
    Entry* const e = entries_.data();
    size_t at = 0;
    for (;;) {
      size_t child = 2 * at + 1;
      if (child >= count)
        break;
      const size_t other = child + 1 < count ? child + 1 : child;
      child += size_t(before(e[other], e[child]));
      if (!before(e[child], entry))
        break;
      e[at] = e[child];
      at = child;
    }
    e[at] = entry;
  }

 private:
  std::vector<Entry> entries_;
};

// One group of boxes that may suppress each other.
template <class E>
class Suppressor {
 public:
  // O: the type overlaps are computed in.
  template <class O>
  void run(
      const std::vector<Edges<E>>& boxes, const std::vector<double>& scores,
      const std::vector<int64_t>& indices, bool single, const Rule& rule, std::vector<Kept>& kept) {
    const auto count = int64_t(boxes.size());
    grid_.build(boxes.data(), count);
    const auto& slots = grid_.slot_of();
    state_.resize(size_t(count));
    for (int64_t i = 0; i < count; ++i)
      state_[slots[size_t(i)]] = {scores[size_t(i)], boxes[size_t(i)]};
    order_.sort(scores.data(), count, single);
    sorted_.resize(size_t(count));
    for (int64_t k = 0; k < count; ++k) {
      const uint32_t i = order_.order()[size_t(k)];
      sorted_[size_t(k)] = {scores[i], i, slots[i]};
    }
    heap_.clear();
    size_t next = 0;
    for (;;) {
      // The head of the sorted boxes whose score is still their own.
      for (; next < sorted_.size(); ++next) {
        if (next + kAhead < sorted_.size())
          __builtin_prefetch(&state_[sorted_[next + kAhead].slot]);
        const Entry& head = sorted_[next];
        const double now = state_[head.slot].score;
        if (now == head.score)
          break;
        if (now > kGone)
          heap_.push({now, head.box, head.slot});
      }
      const bool has_head = next < sorted_.size();
      if (!heap_.empty() && (!has_head || before(heap_.top(), sorted_[next]))) {
        const Entry top = heap_.top();
        const double now = state_[top.slot].score;
        if (now == top.score) {
          heap_.pop();
          take<O>(top.slot, indices[top.box], rule, kept);
        } else if (now > kGone) {
          heap_.replace_top({now, top.box, top.slot});
        } else {
          heap_.pop();
        }
        continue;
      }
      if (!has_head)
        return;
      const Entry& head = sorted_[next++];
      take<O>(head.slot, indices[head.box], rule, kept);
    }
  }

 private:
  struct State {
    double score;
    Edges<E> box;
  };
  static constexpr size_t kAhead = 8;
  static constexpr uint32_t kTogether = 64;
  // The score of what is taken or dropped: below every score there is.
  static constexpr double kGone = -std::numeric_limits<double>::infinity();

  template <class O>
  void take(uint32_t slot, int64_t index, const Rule& rule, std::vector<Kept>& kept) {
    kept.push_back({index, state_[slot].score});
    state_[slot].score = kGone;
    const Edges<E> mine = state_[slot].box;
    State* const state = state_.data();
    grid_.near(mine, [&](uint32_t begin, uint32_t end) {
      // First the few that count, without a branch for each of the others.
      uint32_t found[kTogether];
      for (; begin < end; begin += kTogether) {
        const uint32_t stop = std::min(end - begin, kTogether) + begin;
        uint32_t many = 0;
        for (uint32_t other = begin; other < stop; ++other) {
          found[many] = other;
          many += uint32_t(touch(mine, state[other].box) & (state[other].score > kGone));
        }
        for (uint32_t f = 0; f < many; ++f)
          lower<O>(state[found[f]], mine, rule);
      }
    });
  }

  template <class O>
  static void lower(State& other, const Edges<E>& mine, const Rule& rule) {
    const auto shared = double(overlap<O>(mine, other.box));
    double now = other.score;
    switch (rule.method) {
      case Method::gaussian:
        now *= std::exp(-(shared * shared) / rule.sigma);
        break;
      case Method::linear:
        if (shared > rule.iou_threshold)
          now *= 1.0 - shared;
        break;
      case Method::hard:
        if (shared > rule.iou_threshold)
          now = kGone;
        break;
    }
    other.score = now < rule.score_threshold ? kGone : now;
  }

  BoxGrid grid_;
  ScoreOrder order_;
  std::vector<State> state_;
  std::vector<Entry> sorted_;
  Heap heap_;
};

// ---- arguments --------------------------------------------------------------

template <class E, class S>
void check_values(const Edges<E>* boxes, const S* scores, int64_t count) {
  // One pass that only finds out whether all is well; the message can take longer.
  bool well = true;
  for (int64_t i = 0; i < count; ++i) {
    const Edges<E>& b = boxes[i];
    well &= (b.x2 > b.x1) & (b.y2 > b.y1) & (std::abs(b.x1) < INFINITY) &
        (std::abs(b.y1) < INFINITY) & (std::abs(b.x2) < INFINITY) & (std::abs(b.y2) < INFINITY) &
        (std::abs(scores[i]) < INFINITY);
  }
  for (int64_t i = 0; !well && i < count; ++i) {
    const Edges<E>& b = boxes[i];
    if (!(std::isfinite(b.x1) && std::isfinite(b.y1) && std::isfinite(b.x2) &&
          std::isfinite(b.y2)))
      refuse("boxes: required finite; got NaN or infinity in row ", i);
    if (!(b.x2 > b.x1 && b.y2 > b.y1))
      refuse("boxes: required x2 > x1 and y2 > y1; got an empty box in row ", i);
    if (!std::isfinite(scores[i]))
      refuse("scores: required finite; got NaN or infinity in row ", i);
  }
}

// The boxes that can be kept, in groups that never meet: one a kind.
struct Groups {
  std::vector<uint32_t> members; // box numbers, group by group, in input order
  std::vector<int64_t> starts;
};

template <class S>
Groups make_groups(const S* scores, const int64_t* kinds, int64_t count, double threshold) {
  Groups groups;
  groups.members.reserve(size_t(count));
  for (int64_t i = 0; i < count; ++i)
    if (double(scores[i]) >= threshold)
      groups.members.push_back(uint32_t(i));
  groups.starts = {0};
  const auto kept = int64_t(groups.members.size());
  if (kinds != nullptr) {
    if (!std::is_sorted(groups.members.begin(), groups.members.end(), [&](uint32_t a, uint32_t b) {
          return kinds[a] < kinds[b];
        }))
      std::stable_sort(groups.members.begin(), groups.members.end(), [&](uint32_t a, uint32_t b) {
        return kinds[a] < kinds[b];
      });
    for (int64_t m = 1; m < kept; ++m)
      if (kinds[groups.members[size_t(m)]] != kinds[groups.members[size_t(m - 1)]])
        groups.starts.push_back(m);
  }
  if (kept)
    groups.starts.push_back(kept);
  return groups;
}

// O: the type overlaps are computed in. The scores of what is kept are not rounded to S.
template <class O, class E, class S>
std::vector<Kept> suppress(
    const Edges<E>* boxes, const S* scores, const int64_t* kinds, int64_t count, const Rule& rule) {
  check_values(boxes, scores, count);
  const Groups groups = make_groups(scores, kinds, count, rule.score_threshold);
  const auto pieces = int64_t(groups.starts.size()) - 1;
  struct Scratch {
    Suppressor<E> suppressor;
    std::vector<Edges<E>> boxes;
    std::vector<double> scores;
    std::vector<int64_t> indices;
  };
  std::vector<std::vector<Kept>> kept(size_t(std::max<int64_t>(pieces, 1)));
  for_each_piece(
      pieces, count > 2048, [] { return std::make_unique<Scratch>(); },
      [&](int64_t piece, std::unique_ptr<Scratch>& scratch) {
        auto& [suppressor, own_boxes, own_scores, own_indices] = *scratch;
        own_boxes.clear();
        own_scores.clear();
        own_indices.clear();
        for (int64_t m = groups.starts[size_t(piece)]; m < groups.starts[size_t(piece) + 1]; ++m) {
          const uint32_t i = groups.members[size_t(m)];
          own_boxes.push_back(boxes[i]);
          own_scores.push_back(double(scores[i]));
          own_indices.push_back(i);
        }
        kept[size_t(piece)].reserve(own_boxes.size());
        suppressor.template run<O>(
            own_boxes, own_scores, own_indices, std::is_same_v<S, float>, rule,
            kept[size_t(piece)]);
      });
  for (size_t piece = 1; piece < kept.size(); ++piece)
    kept[0].insert(kept[0].end(), kept[piece].begin(), kept[piece].end());
  if (pieces > 1)
    std::sort(kept[0].begin(), kept[0].end(), [](const Kept& a, const Kept& b) {
      return before(a.score, a.index, b.score, b.index);
    });
  return std::move(kept[0]);
}

// A rule as numbers, as callers give it.
inline Rule soft_rule(int64_t method, double sigma, double iou_threshold, double score_threshold) {
  if (method < 0 || method > 2)
    refuse("method: required 0, 1 or 2; got ", method);
  if (!(sigma > 0) || !(score_threshold >= 0))
    refuse("sigma, score_threshold: required positive, and not negative");
  return {Method(method), sigma, iou_threshold, score_threshold};
}

} // namespace skyduel

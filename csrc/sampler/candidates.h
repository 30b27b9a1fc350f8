// The tokens that can still be drawn, with their logits: what every step of the chain works on.
//
// Starts as the whole vocabulary, read in place; the first edit copies it, the first filter turns it
// into a list. The list is in one of two orders, whatever the standard library: by id, or best first.
// "Best first" is everywhere: higher logit first, and among equal logits the lower id.
// Logits stay float32, as the model's are; probabilities are computed in double.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <vector>

#include "sampler/token_table.h"

namespace tropilla {

// The masks of the request leave no token to draw.
struct NoCandidates : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr float kBanned = -std::numeric_limits<float>::infinity();

struct Candidate {
  int32_t id;
  float logit;
};

inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// Fills `best` with the k best tokens above -inf, best first. Cost: one pass and a little sorting.
void select_best(std::span<const float> logits, size_t k, std::vector<Candidate>& best);

// Visits items until visit(item) is false and returns how many were visited.
template <typename Visit>
size_t visit_sorted(std::span<Candidate> items, Visit visit) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (!visit(items[i])) return i + 1;
  }
  return items.size();
}

// The same in the order of `less`, sorting only as far as the visit comes: a prefix of some hundred
// tokens need not pay for sorting a vocabulary.
template <typename Item, typename Less, typename Visit>
size_t visit_in_order(std::span<Item> items, Less less, Visit visit) {
  size_t sorted = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i == sorted) {
      const auto first = items.begin() + static_cast<std::ptrdiff_t>(sorted);
      sorted = std::min(items.size(), std::max<size_t>(64, 4 * sorted));
      const auto last = items.begin() + static_cast<std::ptrdiff_t>(sorted);
      if (last != items.end()) std::nth_element(first, last, items.end(), less);
      std::sort(first, last, less);
    }
    if (!visit(items[i])) return i + 1;
  }
  return items.size();
}

// Rounds to float32 and keeps an edited logit finite: only a ban removes a token.
float finite_logit(double logit);

// Softmax before division: probability i is weights[i] / total.
struct Weights {
  std::span<double> weights;
  double total;
};

// A candidate's place in the list and what to rank it by.
struct Ranked {
  size_t index;
  double key;
};

// In nats.
double entropy(const Weights& weights);

class Candidates {
 public:
  explicit Candidates(int32_t vocab_size) : noted_(vocab_size) {}

  // Starts over with the whole vocabulary; logits must live until the next start().
  void start(std::span<const float> logits);

  // Edits of the whole vocabulary, before any other step.
  void ban(int32_t id);
  void allow_only(std::span<const int32_t> ids);
  void add_bias(int32_t id, double bias);

  // A cleared table for a penalty to note tokens in.
  TokenTable& fresh_table();
  // Replaces the logit x of each noted candidate by new_logit(entry, x).
  template <typename NewLogit>
  void edit_noted(NewLogit new_logit);
  // Bans the noted tokens, unless that would leave none.
  void ban_noted();

  // The surviving candidates. Throws NoCandidates if the masks left none.
  std::span<Candidate> list();
  size_t size() { return list().size(); }
  int32_t id(size_t i) const { return list_[i].id; }
  float max_logit();

  // Keeps the k best, best first.
  void keep_best(size_t k);
  // Keeps the first n; the list must be sorted at least that far.
  void cut(size_t n);
  // Puts the n best first, in order; only keep_best() may follow if n < size().
  void sort_prefix(size_t n);
  void sort() { sort_prefix(size()); }
  // Visits candidates best first until visit(candidate) is false; keeps those visited.
  template <typename Visit>
  void keep_prefix(Visit visit);
  // Keeps candidates i with keep(i), in their order; the best one if there is none.
  template <typename Keep>
  void keep_if(Keep keep);
  // Replaces the logit x of each candidate i by new_logit(i, x).
  template <typename NewLogit>
  void transform(NewLogit new_logit);
  // Weights in the order of list(), valid until the next call.
  Weights softmax();
  // Every candidate i with key(i), in the order of list(); valid until the next call.
  template <typename Key>
  std::span<Ranked> rank(Key key);

 private:
  std::span<const float> logits() const { return copied_ ? std::span<const float>(copy_) : raw_; }
  std::span<float> writable_logits();
  bool any_unnoted() const;
  void restore_order();

  std::span<const float> raw_;
  std::vector<float> copy_;
  bool copied_ = false;
  bool listed_ = false;
  bool sorted_ = false;
  std::vector<Candidate> list_;
  std::vector<double> weights_;
  std::vector<Ranked> ranking_;
  TokenTable noted_;
};

template <typename NewLogit>
void Candidates::edit_noted(NewLogit new_logit) {
  if (!listed_) {
    std::span<float> all = writable_logits();
    for (const TokenEntry& entry : noted_.entries()) {
      float& x = all[static_cast<size_t>(entry.id)];
      if (x != kBanned) x = finite_logit(new_logit(entry, x));
    }
    return;
  }
  for (Candidate& c : list_) {
    const TokenEntry* entry = noted_.find(c.id);
    if (entry != nullptr) c.logit = finite_logit(new_logit(*entry, c.logit));
  }
  restore_order();
}

template <typename Keep>
void Candidates::keep_if(Keep keep) {
  const std::span<const Candidate> before = list();
  const Candidate best = sorted_ ? before[0] : *std::min_element(before.begin(), before.end(), better);
  size_t kept = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    if (keep(i)) list_[kept++] = before[i];
  }
  if (kept == 0) list_[kept++] = best;
  list_.resize(kept);
}

template <typename Visit>
void Candidates::keep_prefix(Visit visit) {
  const size_t visited = sorted_ ? visit_sorted(list(), visit) : visit_in_order(list(), better, visit);
  list_.resize(visited);
  sorted_ = true;
}

template <typename NewLogit>
void Candidates::transform(NewLogit new_logit) {
  const std::span<Candidate> all = list();
  for (size_t i = 0; i < all.size(); ++i) all[i].logit = finite_logit(new_logit(i, all[i].logit));
  restore_order();
}

template <typename Key>
std::span<Ranked> Candidates::rank(Key key) {
  ranking_.clear();
  for (size_t i = 0; i < size(); ++i) ranking_.push_back({i, key(i)});
  return ranking_;
}

}  // namespace tropilla

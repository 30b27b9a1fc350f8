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
  // Keeps candidates i with keep(i), in their order; the best one if there is none.
  template <typename Keep>
  void keep_if(Keep keep);
  // Replaces the logit x of each candidate i by new_logit(i, x).
  template <typename NewLogit>
  void transform(NewLogit new_logit);
  // Weights in the order of list(), valid until the next call.
  Weights softmax();
  // Ranks candidate i by key(i) >= 0, the least first and best first among equals, and keeps the
  // shortest prefix whose cumulated softmax weight reaches what reached(weight) wants.
  template <typename Key, typename Reached>
  void keep_least(const Weights& softmax, Key key, Reached reached);

 private:
  std::span<const float> logits() const { return copied_ ? std::span<const float>(copy_) : raw_; }
  std::span<float> writable_logits();
  bool any_unnoted() const;
  void restore_order();
  template <typename Reached>
  void cut_boundary(const Weights& softmax, double cumulated, Reached reached);

  static constexpr size_t kBuckets = 1024;
  static constexpr double kBucketsPerUnit = 32;  // keys are in nats; 32 nats down, p is below 1e-13
  static constexpr double kDropped = -1;         // in place of a weight

  std::span<const float> raw_;
  std::vector<float> copy_;
  bool copied_ = false;
  bool listed_ = false;
  bool sorted_ = false;
  std::vector<Candidate> list_;
  std::vector<double> weights_;
  std::vector<double> bucket_weights_;
  std::vector<Ranked> boundary_;
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

template <typename NewLogit>
void Candidates::transform(NewLogit new_logit) {
  const std::span<Candidate> all = list();
  for (size_t i = 0; i < all.size(); ++i) all[i].logit = finite_logit(new_logit(i, all[i].logit));
  restore_order();
}

// Sorting a vocabulary to keep some hundred tokens would cost more than the model's own work on a
// small model. Weights are summed by bucket of the key instead, and only the bucket in which the sum
// is reached is sorted. Equal keys share a bucket.
template <typename Key, typename Reached>
void Candidates::keep_least(const Weights& softmax, Key key, Reached reached) {
  const auto bucket_of = [&](size_t i) {
    return static_cast<size_t>(std::min(key(i) * kBucketsPerUnit, static_cast<double>(kBuckets - 1)));
  };
  bucket_weights_.assign(kBuckets, 0);
  for (size_t i = 0; i < list_.size(); ++i) bucket_weights_[bucket_of(i)] += softmax.weights[i];
  double before = 0;  // the weight of the buckets that stay whole
  size_t boundary = 0;
  while (boundary + 1 < kBuckets && !reached(before + bucket_weights_[boundary])) {
    before += bucket_weights_[boundary++];
  }
  boundary_.clear();
  for (size_t i = 0; i < list_.size(); ++i) {
    const size_t bucket = bucket_of(i);
    if (bucket == boundary) boundary_.push_back({i, key(i)});
    if (bucket > boundary) softmax.weights[i] = kDropped;
  }
  cut_boundary(softmax, before, reached);
  keep_if([&](size_t i) { return softmax.weights[i] != kDropped; });
}

// Drops what the boundary bucket holds beyond the place where the sum is reached.
template <typename Reached>
void Candidates::cut_boundary(const Weights& softmax, double cumulated, Reached reached) {
  std::sort(boundary_.begin(), boundary_.end(), [&](const Ranked& a, const Ranked& b) {
    return a.key < b.key || (a.key == b.key && better(list_[a.index], list_[b.index]));
  });
  for (const Ranked& ranked : boundary_) {
    double& weight = softmax.weights[ranked.index];
    const bool beyond = reached(cumulated);
    cumulated += weight;
    if (beyond) weight = kDropped;
  }
}

}  // namespace tropilla

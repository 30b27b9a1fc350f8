#include "sampler/candidates.h"

#include <cmath>

namespace tropilla {
namespace {

constexpr size_t kLanes = 16;  // compared without a branch, which compilers turn into vector compares

bool any_above(const float* x, float floor) {
  uint32_t above = 0;
  for (size_t lane = 0; lane < kLanes; ++lane) above |= x[lane] > floor;
  return above != 0;
}

// Keeps the k best in no order and returns the worst logit among them.
float shrink(std::vector<Candidate>& best, size_t k) {
  std::nth_element(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(k - 1), best.end(), better);
  best.resize(k);
  return best.back().logit;
}

}  // namespace

void select_best(std::span<const float> logits, size_t k, std::vector<Candidate>& best) {
  best.clear();
  const size_t capacity = 2 * k + kLanes;
  float floor = kBanned;  // a later token with this logit ranks below the k best so far
  for (size_t block = 0; block < logits.size(); block += kLanes) {
    const size_t end = std::min(block + kLanes, logits.size());
    if (end - block == kLanes && !any_above(&logits[block], floor)) continue;
    for (size_t i = block; i < end; ++i) {
      if (!(logits[i] > floor)) continue;
      best.push_back({static_cast<int32_t>(i), logits[i]});
      if (best.size() >= capacity) floor = shrink(best, k);
    }
  }
  if (best.size() > k) shrink(best, k);
  std::sort(best.begin(), best.end(), better);
}

float finite_logit(double logit) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(logit, -kLargest, kLargest));
}

double entropy(const Weights& weights) {
  double sum = 0;
  for (const double w : weights.weights) {
    const double p = w / weights.total;
    if (p > 0) sum -= p * std::log(p);
  }
  return sum;
}

void Candidates::start(std::span<const float> logits) {
  raw_ = logits;
  copied_ = false;
  listed_ = false;
  sorted_ = false;
}

std::span<float> Candidates::writable_logits() {
  if (!copied_) copy_.assign(raw_.begin(), raw_.end());
  copied_ = true;
  return copy_;
}

void Candidates::ban(int32_t id) { writable_logits()[static_cast<size_t>(id)] = kBanned; }

void Candidates::allow_only(std::span<const int32_t> ids) {
  copy_.assign(raw_.size(), kBanned);
  copied_ = true;
  for (const int32_t id : ids) copy_[static_cast<size_t>(id)] = raw_[static_cast<size_t>(id)];
}

void Candidates::add_bias(int32_t id, double bias) {
  float& x = writable_logits()[static_cast<size_t>(id)];
  if (bias == kBanned) x = kBanned;
  if (x != kBanned) x = finite_logit(x + bias);
}

TokenTable& Candidates::fresh_table() {
  noted_.clear();
  return noted_;
}

bool Candidates::any_unnoted() const {
  const auto unnoted = [this](const Candidate& c) { return noted_.find(c.id) == nullptr; };
  if (listed_) return std::any_of(list_.begin(), list_.end(), unnoted);
  const std::span<const float> all = logits();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] != kBanned && unnoted({static_cast<int32_t>(i), all[i]})) return true;
  }
  return false;
}

void Candidates::ban_noted() {
  if (noted_.entries().empty() || !any_unnoted()) return;
  if (listed_) {
    std::erase_if(list_, [this](const Candidate& c) { return noted_.find(c.id) != nullptr; });
  } else {
    for (const TokenEntry& entry : noted_.entries()) ban(entry.id);
  }
}

std::span<Candidate> Candidates::list() {
  if (!listed_) {
    list_.clear();
    const std::span<const float> all = logits();
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i] != kBanned) list_.push_back({static_cast<int32_t>(i), all[i]});
    }
    listed_ = true;
  }
  if (list_.empty()) throw NoCandidates("the bans and allowed tokens of this request leave no token to draw");
  return list_;
}

float Candidates::max_logit() {
  const std::span<const Candidate> all = list();
  return sorted_ ? all[0].logit : std::min_element(all.begin(), all.end(), better)->logit;
}

void Candidates::keep_best(size_t k) {
  if (!listed_) {
    select_best(logits(), k, list_);
    listed_ = true;
  } else if (!sorted_) {
    if (k < list_.size()) shrink(list_, k);
    std::sort(list_.begin(), list_.end(), better);
  }
  sorted_ = true;
  cut(k);
}

void Candidates::cut(size_t n) { list_.resize(std::min(n, list().size())); }

void Candidates::sort_prefix(size_t n) {
  const std::span<Candidate> all = list();
  if (sorted_) return;
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min(n, all.size()));
  std::partial_sort(all.begin(), end, all.end(), better);
  sorted_ = n >= all.size();
}

Weights Candidates::softmax() {
  const double max = max_logit();
  weights_.clear();
  double total = 0;
  for (const Candidate& c : list_) {
    weights_.push_back(std::exp(c.logit - max));
    total += weights_.back();
  }
  return {weights_, total};
}

void Candidates::restore_order() {
  if (sorted_ && !std::is_sorted(list_.begin(), list_.end(), better)) {
    std::sort(list_.begin(), list_.end(), better);
  }
}

}  // namespace tropilla

#include "sampler/dry.h"

#include <algorithm>
#include <cmath>

namespace tropilla {

Dry::Dry(const SamplerParams& params)
    : multiplier_(params.dry_multiplier),
      base_(params.dry_base),
      allowed_length_(params.dry_allowed_length),
      range_(params.dry_range) {
  for (const std::vector<int32_t>& breaker : params.dry_breakers) {
    if (breaker.size() == 1) single_breakers_.insert(breaker[0]);
    if (breaker.size() > 1) longer_breakers_.push_back(breaker);
  }
}

void Dry::apply(Candidates& candidates, const History& history) {
  const std::span<const int32_t> window = history.last(range_);
  const size_t longest = tokens_since_breaker(window);
  if (static_cast<int64_t>(longest) < allowed_length_) return;
  match_suffixes(window);
  TokenTable& table = candidates.fresh_table();
  for (size_t back = 1; back < window.size(); ++back) {
    const auto repeated = static_cast<int64_t>(std::min(matches_[back], longest));
    const int32_t next = window[window.size() - back];
    if (repeated < allowed_length_ || single_breakers_.contains(next)) continue;
    TokenEntry& entry = table.note(next);
    entry.value = std::max(entry.value, repeated);
  }
  candidates.edit_noted([this](const TokenEntry& entry, float x) { return x - penalty(entry.value); });
}

size_t Dry::tokens_since_breaker(std::span<const int32_t> window) const {
  for (size_t since = 0; since < window.size(); ++since) {
    if (breaker_ends(window.first(window.size() - since))) return since;
  }
  return window.size();
}

bool Dry::breaker_ends(std::span<const int32_t> tokens) const {
  if (single_breakers_.contains(tokens.back())) return true;
  return std::any_of(longer_breakers_.begin(), longer_breakers_.end(), [&](const auto& breaker) {
    return breaker.size() <= tokens.size() &&
           std::equal(breaker.rbegin(), breaker.rend(), tokens.rbegin());
  });
}

// matches_[back] = how many tokens, read backwards, agree between the window's end and the place
// `back` tokens before it: the Z-array of the reversed window (Gusfield 1997, 1.4). The segment
// [left, right) is the match found so far that reaches furthest; inside it answers are copied.
void Dry::match_suffixes(std::span<const int32_t> window) {
  const size_t n = window.size();
  const auto reversed = [&](size_t i) { return window[n - 1 - i]; };
  matches_.assign(n, 0);
  size_t left = 0, right = 0;
  for (size_t i = 1; i < n; ++i) {
    size_t length = i < right ? std::min(right - i, matches_[i - left]) : 0;
    while (i + length < n && reversed(length) == reversed(i + length)) ++length;
    matches_[i] = length;
    if (i + length > right) {
      left = i;
      right = i + length;
    }
  }
}

double Dry::penalty(int64_t repeated) const {
  constexpr double kLargestExponent = 88.72;  // e to this is near the largest float32
  auto exponent = static_cast<double>(repeated - allowed_length_);
  if (base_ > 1) exponent = std::min(exponent, std::floor(kLargestExponent / std::log(base_)));
  return multiplier_ * std::pow(base_, exponent);
}

}  // namespace tropilla

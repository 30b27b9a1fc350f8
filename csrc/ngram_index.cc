#include "ngram_index.h"

#include <algorithm>
#include <stdexcept>

namespace tropilla {
namespace {

constexpr int32_t kNone = -1;
constexpr size_t kFirstHeads = 256;
// Places tried in a chain: a common pair of tokens must not make a step dear.
constexpr int kMostTried = 16;

}  // namespace

// Long runs first: where one recurs, the many places of its last pair need no look.
NgramIndex::NgramIndex() : chains_{Chain{8, {}, {}}, Chain{4, {}, {}}, Chain{2, {}, {}}} {
  for (Chain& chain : chains_) chain.heads.assign(kFirstHeads, kNone);
}

void NgramIndex::extend(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    tokens_.push_back(token);
    if (tokens_.size() > chains_.front().heads.size()) grow();
    for (Chain& chain : chains_) add(chain, size() - 1);
  }
}

void NgramIndex::rewind(int64_t n_tokens) {
  if (n_tokens < 0 || n_tokens > size()) throw std::invalid_argument("the index holds fewer tokens to take back");
  for (; n_tokens > 0; --n_tokens) {
    const int64_t place = size() - 1;
    for (Chain& chain : chains_) {
      if (place + 1 >= chain.n) chain.heads[slot(chain, place)] = chain.earlier.back();
      chain.earlier.pop_back();
    }
    tokens_.pop_back();
  }
}

int64_t NgramIndex::match() {
  found_ = kNone;
  for (const Chain& chain : chains_) {
    const int64_t n_matched = longest(chain);
    if (n_matched > 0) return n_matched;
  }
  return 0;
}

std::vector<int32_t> NgramIndex::following(int64_t most) const {
  std::vector<int32_t> tokens;
  if (found_ == kNone) return tokens;
  for (int64_t from = found_ + 1; from <= found_ + most; ++from) {
    tokens.push_back(from < size() ? tokens_[static_cast<size_t>(from)] : tokens[static_cast<size_t>(from - size())]);
  }
  return tokens;
}

void NgramIndex::add(Chain& chain, int64_t place) {
  if (place + 1 < chain.n) return chain.earlier.push_back(kNone);
  int32_t& head = chain.heads[slot(chain, place)];
  chain.earlier.push_back(head);
  head = static_cast<int32_t>(place);
}

// Keeps at least as many slots as tokens.
void NgramIndex::grow() {
  for (Chain& chain : chains_) {
    chain.heads.assign(2 * chain.heads.size(), kNone);
    chain.earlier.clear();
    for (int64_t place = 0; place + 1 < size(); ++place) add(chain, place);
  }
}

// Of the n tokens that end at a place.
size_t NgramIndex::slot(const Chain& chain, int64_t place) const {
  uint64_t hash = 0;
  for (int64_t i = place + 1 - chain.n; i <= place; ++i) {
    hash = (hash ^ static_cast<uint32_t>(tokens_[static_cast<size_t>(i)])) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
  }
  return hash % chain.heads.size();
}

// Finds the place up to which the most tokens agree with the last ones, n at least; returns how many.
int64_t NgramIndex::longest(const Chain& chain) {
  int64_t n_matched = 0;
  int32_t place = size() < chain.n ? kNone : chain.earlier.back();
  for (int tries = 0; place != kNone && tries < kMostTried; ++tries) {
    const int64_t n = agreement(place);
    if (n >= chain.n && n > n_matched) {
      found_ = place;
      n_matched = n;
      if (n == kLongestMatch) break;
    }
    place = chain.earlier[static_cast<size_t>(place)];
  }
  return n_matched;
}

int64_t NgramIndex::agreement(int64_t place) const {
  const int64_t last = size() - 1;
  const int64_t most = std::min(kLongestMatch, place + 1);
  int64_t n = 0;
  while (n < most && tokens_[static_cast<size_t>(place - n)] == tokens_[static_cast<size_t>(last - n)]) ++n;
  return n;
}

}  // namespace tropilla

// A small set of tokens, with what a penalty needs to know of each.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tropilla {

struct TokenEntry {
  int32_t id;
  int32_t count;  // how often noted
  int64_t value;  // free for the penalty; 0 at first
};

// Looks tokens up in constant time and is emptied in the time of its entries, not of the vocabulary.
class TokenTable {
 public:
  explicit TokenTable(int32_t vocab_size) : vocab_size_(static_cast<size_t>(vocab_size)) {}

  // Counts one more of a token and returns its entry, valid until the next call.
  TokenEntry& note(int32_t id) {
    if (slots_.empty()) slots_.resize(vocab_size_);  // most sequences penalise nothing
    int32_t& slot = slots_[static_cast<size_t>(id)];
    if (slot == 0) {
      entries_.push_back({id, 0, 0});
      slot = static_cast<int32_t>(entries_.size());
    }
    TokenEntry& entry = entries_[static_cast<size_t>(slot) - 1];
    ++entry.count;
    return entry;
  }

  const TokenEntry* find(int32_t id) const {
    if (entries_.empty()) return nullptr;
    const int32_t slot = slots_[static_cast<size_t>(id)];
    return slot == 0 ? nullptr : &entries_[static_cast<size_t>(slot) - 1];
  }

  std::span<const TokenEntry> entries() const { return entries_; }

  void clear() {
    for (const TokenEntry& entry : entries_) slots_[static_cast<size_t>(entry.id)] = 0;
    entries_.clear();
  }

 private:
  size_t vocab_size_;
  std::vector<int32_t> slots_;  // (V) index into entries_ + 1; 0: absent
  std::vector<TokenEntry> entries_;
};

}  // namespace tropilla

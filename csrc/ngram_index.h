// Where the last tokens of a sequence occurred before: what followed them there may follow again.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace tropilla {

class NgramIndex {
 public:
  // The longest agreement that is told apart from a longer one.
  static constexpr int64_t kLongestMatch = 32;

  NgramIndex();

  // Appends tokens to the sequence.
  void extend(std::span<const int32_t> tokens);
  // Takes back the last n tokens. Throws std::invalid_argument for more than there are.
  void rewind(int64_t n_tokens);

  // n_matched: how many tokens before the place agree with the sequence's last ones; 0: none found.
  struct Match {
    int64_t n_matched;
    std::vector<int32_t> next;  // what followed there
  };
  // The longest earlier occurrence of the last tokens, the latest of several, and `most` tokens from
  // there on. Where these reach the end of the sequence they go on with themselves: a text that
  // repeats with a period is taken to do so on.
  Match find(int64_t most) const;

  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  // For each n: the last place of every n tokens in a row, by hash, and from each place the one before.
  struct Chain {
    int64_t n;
    std::vector<int32_t> heads;
    std::vector<int32_t> earlier;
  };

  void add(Chain& chain, int64_t place);
  void grow();
  size_t slot(const Chain& chain, int64_t place) const;
  int64_t longest(const Chain& chain, int64_t& n_matched) const;
  int64_t agreement(int64_t place) const;

  std::vector<int32_t> tokens_;
  std::array<Chain, 3> chains_;  // longest n first
};

}  // namespace tropilla

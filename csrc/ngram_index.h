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

  // Looks for the longest earlier occurrence of the last tokens, the latest of several. Returns how
  // many tokens agree; 0 if none was found.
  int64_t match();
  // `most` tokens that followed where match() found that; none if it found nothing. Where these reach
  // the end of the sequence they go on with themselves: a text that repeats with a period is taken to
  // do so on. To be called before the sequence changes.
  std::vector<int32_t> following(int64_t most) const;

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
  int64_t longest(const Chain& chain);
  int64_t agreement(int64_t place) const;

  std::vector<int32_t> tokens_;
  std::array<Chain, 3> chains_;  // longest n first
  int64_t found_ = -1;           // the place that match() found
};

}  // namespace tropilla

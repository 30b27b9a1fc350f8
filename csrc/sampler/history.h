// The tokens of a sequence so far: the prompt and what was accepted after it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace tropilla {

struct History {
  std::vector<int32_t> tokens;
  size_t n_prompt;

  std::span<const int32_t> prompt() const { return std::span(tokens).first(n_prompt); }
  size_t n_generated() const { return tokens.size() - n_prompt; }

  // The last n tokens; all of them if n is negative.
  std::span<const int32_t> last(int64_t n) const {
    const size_t size = tokens.size();
    return std::span(tokens).last(n < 0 ? size : std::min(size, static_cast<size_t>(n)));
  }
};

}  // namespace tropilla

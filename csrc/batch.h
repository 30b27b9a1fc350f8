// One step's work: tokens of several sequences, side by side.
#pragma once

#include <cstdint>
#include <vector>

namespace tropilla {

// The tokens that one sequence adds in this step.
struct SequenceSpan {
  int64_t first_token = 0;       // index of the first of them in the batch
  int64_t n_tokens = 0;
  int64_t position = 0;          // of the first of them within the sequence
  std::vector<int32_t> blocks;   // KV blocks from position 0 to the last of them
};

struct Batch {
  std::vector<int32_t> token_ids;       // (T), sequence after sequence
  std::vector<SequenceSpan> sequences;
};

}  // namespace tropilla

// Chooses the next token of one sequence from the model's logits.
//
// All randomness is a function of (seed, position, purpose), so a sequence gets the same tokens alone
// and beside others, and again after a rewind. Each sequence owns one Sampler; a Sampler is used by
// one thread at a time. After the first draws it allocates nothing but the lists that it returns.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "sampler/adaptive.h"
#include "sampler/candidates.h"
#include "sampler/dry.h"
#include "sampler/history.h"
#include "sampler/rng.h"
#include "sampler/sampler_params.h"
#include "sampler/step.h"

namespace tropilla {

struct TokenLogprob {
  int32_t token;
  float logprob;
};

struct Draw {
  int32_t token;
  float logprob;                  // NaN unless params.logprobs is set
  std::vector<TokenLogprob> top;  // the most likely first, up to params.logprobs of them
};

struct TokenProbability {
  int32_t token;
  double probability;
};

// A logit is NaN or +inf: the model's weights are damaged.
struct BadLogits : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

class Sampler {
 public:
  // Throws std::invalid_argument for a token id outside the vocabulary or an unknown step.
  Sampler(const SamplerParams& params, int32_t vocab_size, std::span<const int32_t> prompt);

  // Draws the token at the current position from logits (V). Changes nothing that a later draw sees
  // until accept(). Throws BadLogits, or NoCandidates.
  Draw sample(std::span<const float> logits);

  // The distribution that sample() draws from: surviving candidates and their probabilities.
  std::vector<TokenProbability> probabilities(std::span<const float> logits);

  // Appends a token to the sequence. Mirostat and adaptive-p learn from it if it is the last draw.
  void accept(int32_t token);

  // Takes back the last n accepted tokens and the state they left behind, bans after them included.
  void rewind(int64_t n_tokens);

  // Bans ids at the current position until the sequence is rewound past it. The next draw uses fresh
  // randomness, so that the result has the exact conditional distribution.
  void ban_next(std::span<const int32_t> ids);

 private:
  struct PositionBan {
    size_t position;
    int32_t id;
  };

  // What earlier draws left for the next one: one per accepted token, so that a rewind drops them.
  struct Feedback {
    double mu;         // mirostat's
    ChosenMean chosen;  // adaptive-p's
  };

  // The last draw's token, with the probability that feedback goes by.
  struct Pending {
    int32_t token;
    double probability;
  };

  void require_token(int32_t id) const;
  void require_sane(std::span<const float> logits) const;
  RandomSite site() const;
  void mask();
  Weights run_chain(std::span<const float> logits);
  void aim();
  double feedback_probability(size_t chosen, const Weights& weights) const;
  Feedback next_feedback(double probability) const;
  void report_raw(std::span<const float> logits, Draw& draw);
  void report_final(const Weights& weights, size_t chosen, Draw& draw);

  SamplerParams params_;
  int32_t vocab_size_;
  History history_;
  std::vector<ApplyStep> steps_;
  Dry dry_;
  std::vector<Feedback> feedback_;
  std::optional<Pending> pending_;
  std::vector<PositionBan> position_bans_;
  Candidates candidates_;
  std::vector<TokenProbability> before_aim_;
  std::vector<Candidate> reported_;
};

}  // namespace tropilla

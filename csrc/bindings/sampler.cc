// Binds the sampler. The engine draws in C++; sample() on an array is for tests and tools.
#include "sampler/sampler.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cmath>

#include "bindings/bindings.h"
#include "sampler/chain.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace tropilla::bindings {
namespace {

using Logits = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::span<const float> span_of(const Logits& logits) { return {logits.data(), logits.size()}; }

std::optional<float> logprob_of(const Draw& draw) {
  return std::isnan(draw.logprob) ? std::nullopt : std::optional(draw.logprob);
}

std::vector<std::pair<int32_t, float>> top_of(const Draw& draw) {
  std::vector<std::pair<int32_t, float>> top;
  for (const TokenLogprob& t : draw.top) top.emplace_back(t.token, t.logprob);
  return top;
}

std::vector<std::pair<int32_t, double>> probabilities(Sampler& sampler, const Logits& logits) {
  std::vector<std::pair<int32_t, double>> result;
  for (const TokenProbability& p : sampler.probabilities(span_of(logits))) {
    result.emplace_back(p.token, p.probability);
  }
  return result;
}

// Both become errors that a caller of the package knows: which one says whose fault it is.
void translate(const std::exception_ptr& error, void*) {
  const auto raise = [](const char* name, const char* what) {
    PyErr_SetString(nb::module_::import_("tropilla.errors").attr(name).ptr(), what);
  };
  try {
    std::rethrow_exception(error);
  } catch (const NoCandidates& e) {
    raise("RequestError", e.what());
  } catch (const BadLogits& e) {
    raise("TropillaError", e.what());
  }
}

void bind_params(nb::module_& module) {
  using P = SamplerParams;
  nb::class_<P>(module, "SamplerParams", "What a sequence wants of its sampler; neutral when new.")
      .def(nb::init<>())
      .def(nb::init<const P&>(), "other"_a)
      .def_rw("seed", &P::seed)
      .def_rw("samplers", &P::samplers, nb::arg().none())
      .def_rw("logprobs", &P::logprobs, nb::arg().none())
      .def_rw("post_sampling_probs", &P::post_sampling_probs)
      .def_rw("logit_bias", &P::logit_bias)
      .def_rw("banned_tokens", &P::banned_tokens)
      .def_rw("allowed_token_ids", &P::allowed_token_ids)
      .def_rw("end_ids", &P::end_ids)
      .def_rw("stop_token_ids", &P::stop_token_ids)
      .def_rw("ignore_eos", &P::ignore_eos)
      .def_rw("min_tokens", &P::min_tokens)
      .def_rw("repetition_penalty", &P::repetition_penalty)
      .def_rw("repetition_window", &P::repetition_window)
      .def_rw("repetition_slope", &P::repetition_slope)
      .def_rw("repetition_decay", &P::repetition_decay)
      .def_rw("frequency_penalty", &P::frequency_penalty)
      .def_rw("presence_penalty", &P::presence_penalty)
      .def_rw("penalize_prompt", &P::penalize_prompt)
      .def_rw("encoder_repetition_penalty", &P::encoder_repetition_penalty)
      .def_rw("no_repeat_ngram", &P::no_repeat_ngram)
      .def_rw("dry_multiplier", &P::dry_multiplier)
      .def_rw("dry_base", &P::dry_base)
      .def_rw("dry_allowed_length", &P::dry_allowed_length)
      .def_rw("dry_range", &P::dry_range)
      .def_rw("dry_breakers", &P::dry_breakers)
      .def_rw("top_n_sigma", &P::top_n_sigma)
      .def_rw("top_k", &P::top_k)
      .def_rw("typical_p", &P::typical_p)
      .def_rw("top_p", &P::top_p)
      .def_rw("min_p", &P::min_p)
      .def_rw("top_a", &P::top_a)
      .def_rw("tail_free", &P::tail_free)
      .def_rw("epsilon_cutoff", &P::epsilon_cutoff)
      .def_rw("eta_cutoff", &P::eta_cutoff)
      .def_rw("xtc_probability", &P::xtc_probability)
      .def_rw("xtc_threshold", &P::xtc_threshold)
      .def_rw("temperature", &P::temperature)
      .def_rw("dynamic_temperature_range", &P::dynamic_temperature_range)
      .def_rw("dynamic_temperature_exponent", &P::dynamic_temperature_exponent)
      .def_rw("smoothing_factor", &P::smoothing_factor)
      .def_rw("smoothing_curve", &P::smoothing_curve)
      .def_rw("mirostat", &P::mirostat)
      .def_rw("mirostat_tau", &P::mirostat_tau)
      .def_rw("mirostat_eta", &P::mirostat_eta)
      .def_rw("mirostat_m", &P::mirostat_m)
      .def_rw("adaptive_target", &P::adaptive_target)
      .def_rw("adaptive_decay", &P::adaptive_decay)
      .def_rw("skew", &P::skew);
}

}  // namespace

void bind_sampler(nb::module_& module) {
  nb::register_exception_translator(translate);
  bind_params(module);
  nb::class_<Draw>(module, "Draw", "A drawn token; logprob and top are of the raw model.")
      .def_ro("token", &Draw::token)
      .def_prop_ro("logprob", logprob_of)
      .def_prop_ro("top", top_of);
  nb::class_<Sampler>(module, "Sampler", "Chooses the next token of one sequence.")
      .def(
          "__init__",
          [](Sampler* self, const SamplerParams& params, int32_t vocab_size,
             const std::vector<int32_t>& prompt_ids) { new (self) Sampler(params, vocab_size, prompt_ids); },
          "params"_a, "vocab_size"_a, "prompt_ids"_a)
      .def(nb::init<const Sampler&>(), "other"_a)
      .def("sample", [](Sampler& self, const Logits& logits) { return self.sample(span_of(logits)); },
           "logits"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("probabilities", probabilities, "logits"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("accept", &Sampler::accept, "token"_a)
      .def("rewind", &Sampler::rewind, "n_tokens"_a)
      .def("ban_next", [](Sampler& self, const std::vector<int32_t>& ids) { self.ban_next(ids); }, "ids"_a);
  module.def("philox_4x32_10", philox_4x32_10, "counter"_a, "key"_a, "Return four random words.");
  module.def("sampler_names", sampler_names, "Return the steps of the default chain, in order.");
}

}  // namespace tropilla::bindings

// What every step of the chain is given.
#pragma once

#include "sampler/candidates.h"
#include "sampler/dry.h"
#include "sampler/history.h"
#include "sampler/rng.h"
#include "sampler/sampler_params.h"

namespace tropilla {

struct Moment {
  const SamplerParams& params;
  const History& history;
  RandomSite site;
  Dry& dry;
};

using ApplyStep = void (*)(Candidates&, const Moment&);

}  // namespace tropilla

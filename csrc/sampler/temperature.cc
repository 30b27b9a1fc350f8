#include "sampler/temperature.h"

namespace tropilla {

void apply_temperature(Candidates& candidates, const Moment& moment) {
  const double temperature = moment.params.temperature;
  if (temperature <= 0) {
    candidates.keep_best(1);
  } else if (temperature != 1) {
    candidates.transform([=](size_t, float x) { return x / temperature; });
  }
}

}  // namespace tropilla

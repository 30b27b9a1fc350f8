// The K types: 256 weights share one or two float16 scales, which whole numbers of a few bits divide up
// among sub-blocks. Included by each instruction set's file.
//
// A sub-block's scale and minimum are fitted by least squares to weights rounded under several candidate
// scales; then the whole numbers nearest to them and their neighbours are compared by the error that they
// leave. formats/quantize_superblocks.py states the same search for NumPy, bit for bit.
#pragma once

#include "quantize/lanes.h"
#include "quantize/halves.h"

namespace tropilla {
namespace {

constexpr int kSuperblock = 256;

// Candidate scales: the range over a few more or fewer levels than there are.
constexpr int kFirstStep = -4, kLastStep = 4;
constexpr float kStep = 0.25f, kSignedStep = 0.25f;
// Rounds of: quants under the fitted scale, then the scale that fits them best.
constexpr int kRefinements = 2;
// How far from the nearest whole number a sub-block's scale is looked for.
constexpr int kNeighbours = 1;

TROPILLA_LANES_INLINE Floats clamp(Floats x, float least, float top) { return min(max(x, splat(least)), splat(top)); }

// How quants come about: (x + shift) * inverse, rounded and clamped.
struct Rounding {
  Floats inverse, shift;
  float least, top;

  TROPILLA_LANES_INLINE Floats operator()(Floats x) const { return clamp(round((x + shift) * inverse), least, top); }
};

// What least squares needs to know of the quants of n weights.
struct Sums {
  Floats q, qq, xq;
};

template <int n>
TROPILLA_LANES_INLINE Sums sums_of(const Floats* x, const Rounding& rounding) {
  Sums s{};
  for (int i = 0; i < n; ++i) {
    const Floats q = rounding(x[i]);
    s.q += q;
    s.qq += q * q;
    s.xq += x[i] * q;
  }
  return s;
}

template <int n>
TROPILLA_LANES_INLINE Floats sum_of(const Floats* x) {
  Floats sum{};
  for (int i = 0; i < n; ++i) sum += x[i];
  return sum;
}

// The squared error of scale * q - minimum.
template <int n>
TROPILLA_LANES_INLINE Floats error_of(const Floats* x, const Rounding& rounding, Floats scale, Floats minimum) {
  Floats sum{};
  for (int i = 0; i < n; ++i) {
    const Floats left = x[i] - (scale * rounding(x[i]) - minimum);
    sum += left * left;
  }
  return sum;
}

// --- weight = scale * quant - minimum, both at least 0 ---

struct Affine {
  Floats scale, minimum, gain;  // gain: by how much the squared error is below that of all zeros
};

// The best scale and minimum for given quants; sum_x is that of the n weights.
TROPILLA_LANES_INLINE Affine least_squares(const Sums& s, Floats sum_x, float n) {
  const Floats zero{};
  const Floats slope = max(ratio(n * s.xq - sum_x * s.q, n * s.qq - s.q * s.q), zero);
  const Floats offset = (slope * s.q - sum_x) / n;
  const Floats scale = offset < zero ? max(ratio(s.xq, s.qq), zero) : slope;
  const Floats minimum = max(offset, zero);
  return {scale, minimum, scale * s.xq - minimum * sum_x};
}

TROPILLA_LANES_INLINE void keep_better(Affine& best, const Affine& other) {
  const auto better = other.gain > best.gain;
  best.scale = better ? other.scale : best.scale;
  best.minimum = better ? other.minimum : best.minimum;
  best.gain = better ? other.gain : best.gain;
}

template <int n, int top>
TROPILLA_LANES_INLINE Affine fit_affine(const Floats* x, Floats sum_x) {
  Floats least{}, greatest = x[0];
  for (int i = 0; i < n; ++i) {
    least = min(x[i], least);
    greatest = max(x[i], greatest);
  }
  const Floats range = greatest - least;
  Affine best{Floats{}, -least, splat(-kLargestFloat)};
  for (int step = kFirstStep; step <= kLastStep; ++step) {
    const Floats inverse = inverse_of(range / (float(top) + kStep * float(step)));
    const Rounding rounding{inverse, -least, 0, top};
    keep_better(best, least_squares(sums_of<n>(x, rounding), sum_x, n));
  }
  for (int again = 0; again < kRefinements; ++again) {
    const Rounding rounding{inverse_of(best.scale), best.minimum, 0, top};
    keep_better(best, least_squares(sums_of<n>(x, rounding), sum_x, n));
  }
  return best;
}

// Chooses a sub-block's whole numbers, given the two scales that they multiply.
template <int n, int top>
TROPILLA_LANES_INLINE void choose_pair(const Floats* x, Floats sum_x, const Affine& fit, Floats d, Floats d_min,
                                       float limit, Floats& scale, Floats& minimum) {
  const Floats inverse_min = inverse_of(d_min);
  const Floats nearest = clamp(round(fit.scale * inverse_of(d)), 0, limit);
  const Floats nearest_min = clamp(round(fit.minimum * inverse_min), 0, limit);
  Floats least_error = splat(kLargestFloat);
  scale = nearest;
  minimum = nearest_min;
  for (int offset = -kNeighbours; offset <= kNeighbours; ++offset) {
    const Floats tried = clamp(nearest + float(offset), 0, limit);
    const Floats real = d * tried;
    const Floats inverse = inverse_of(real);
    const Sums s = sums_of<n>(x, {inverse, d_min * nearest_min, 0, top});
    const Floats fitted = (real * s.q - sum_x) / float(n);
    const Floats tried_min = clamp(round(fitted * inverse_min), 0, limit);
    const Floats real_min = d_min * tried_min;
    const Floats error = error_of<n>(x, {inverse, real_min, 0, top}, real, real_min);
    const auto better = error < least_error;
    least_error = better ? error : least_error;
    scale = better ? tried : scale;
    minimum = better ? tried_min : minimum;
  }
}

// One superblock in each lane, with n columns a sub-block.
template <int n>
struct AffineSuperblock {
  static constexpr int kParts = kSuperblock / n;
  Floats d, d_min;
  Floats scale[kParts], minimum[kParts];
};

template <int n, int top>
TROPILLA_LANES_INLINE Rounding rounding_of(const AffineSuperblock<n>& s, int part) {
  return {inverse_of(s.d * s.scale[part]), s.d_min * s.minimum[part], 0, top};
}

template <int n, int top>
TROPILLA_LANES_INLINE Floats error_of(const Floats* x, const AffineSuperblock<n>& s) {
  Floats sum{};
  for (int part = 0; part < s.kParts; ++part) {
    sum += error_of<n>(x + n * part, rounding_of<n, top>(s, part), s.d * s.scale[part], s.d_min * s.minimum[part]);
  }
  return sum;
}

// Fits the two scales anew to all 256 weights, given the whole numbers; keeps the old where they are better.
template <int n, int top>
TROPILLA_LANES_INLINE void refit(const Floats* x, const Floats* sum_x, AffineSuperblock<n>& s) {
  Floats ss{}, sm{}, mm{}, xs{}, xm{};
  for (int part = 0; part < s.kParts; ++part) {
    const Floats scale = s.scale[part], minimum = s.minimum[part];
    const Sums sums = sums_of<n>(x + n * part, rounding_of<n, top>(s, part));
    ss += scale * scale * sums.qq;
    sm += scale * minimum * sums.q;
    mm += minimum * minimum * float(n);
    xs += scale * sums.xq;
    xm += minimum * sum_x[part];
  }
  const Floats zero{};
  AffineSuperblock<n> other = s;
  const Floats both = ss * mm - sm * sm;
  const Floats d = both > zero ? ratio(xs * mm - xm * sm, both) : ratio(xs, ss);
  other.d = through_half(max(d, zero));
  other.d_min = through_half(max(ratio(other.d * sm - xm, mm), zero));
  const auto better = error_of<n, top>(x, other) < error_of<n, top>(x, s);
  s.d = better ? other.d : s.d;
  s.d_min = better ? other.d_min : s.d_min;
}

// top: the greatest quant; limit: the greatest whole number that scales one.
template <int n, int top, int limit>
TROPILLA_LANES_INLINE AffineSuperblock<n> search_affine(const Floats* x) {
  AffineSuperblock<n> s;
  Affine fits[s.kParts];
  Floats sum_x[s.kParts];
  Floats most{}, most_min{};
  for (int part = 0; part < s.kParts; ++part) {
    sum_x[part] = sum_of<n>(x + n * part);
    fits[part] = fit_affine<n, top>(x + n * part, sum_x[part]);
    most = max(most, fits[part].scale);
    most_min = max(most_min, fits[part].minimum);
  }
  s.d = through_half(most / float(limit));
  s.d_min = through_half(most_min / float(limit));
  for (int part = 0; part < s.kParts; ++part) {
    choose_pair<n, top>(x + n * part, sum_x[part], fits[part], s.d, s.d_min, limit, s.scale[part], s.minimum[part]);
  }
  refit<n, top>(x, sum_x, s);
  return s;
}

// --- weight = scale * quant, of either sign ---

struct Scaled {
  Floats scale, gain;
};

TROPILLA_LANES_INLINE void keep_better(Scaled& best, const Sums& s) {
  const Floats scale = ratio(s.xq, s.qq);
  const Floats gain = scale * s.xq;
  const auto better = gain > best.gain;
  best.scale = better ? scale : best.scale;
  best.gain = better ? gain : best.gain;
}

// Quants reach from -half to half - 1.
template <int n, int half>
TROPILLA_LANES_INLINE Scaled fit_scaled(const Floats* x) {
  Floats largest{}, most{};
  for (int i = 0; i < n; ++i) {
    const auto larger = magnitude(x[i]) > most;
    most = larger ? magnitude(x[i]) : most;
    largest = larger ? x[i] : largest;
  }
  Scaled best{Floats{}, Floats{}};
  for (int step = kFirstStep; step <= kLastStep; ++step) {
    const Floats levels = splat(float(half) + kSignedStep * float(step));
    keep_better(best, sums_of<n>(x, {-inverse_of(largest / levels), Floats{}, -half, half - 1}));
  }
  for (int again = 0; again < kRefinements; ++again) {
    keep_better(best, sums_of<n>(x, {inverse_of(best.scale), Floats{}, -half, half - 1}));
  }
  return best;
}

template <int n>
struct ScaledSuperblock {
  static constexpr int kParts = kSuperblock / n;
  Floats d;
  Floats scale[kParts];
};

template <int n, int half>
TROPILLA_LANES_INLINE Rounding rounding_of(const ScaledSuperblock<n>& s, int part) {
  return {inverse_of(s.d * s.scale[part]), Floats{}, -half, half - 1};
}

template <int n, int half>
TROPILLA_LANES_INLINE Floats choose_scale(const Floats* x, Floats fitted, Floats d, float limit) {
  const Floats nearest = clamp(round(fitted * inverse_of(d)), -limit, limit - 1);
  Floats least_error = splat(kLargestFloat);
  Floats scale = nearest;
  for (int offset = -kNeighbours; offset <= kNeighbours; ++offset) {
    const Floats tried = clamp(nearest + float(offset), -limit, limit - 1);
    const Floats real = d * tried;
    const Floats error = error_of<n>(x, {inverse_of(real), Floats{}, -half, half - 1}, real, Floats{});
    const auto better = error < least_error;
    least_error = better ? error : least_error;
    scale = better ? tried : scale;
  }
  return scale;
}

template <int n, int half>
TROPILLA_LANES_INLINE Floats error_of(const Floats* x, const ScaledSuperblock<n>& s) {
  Floats sum{};
  for (int part = 0; part < s.kParts; ++part) {
    sum += error_of<n>(x + n * part, rounding_of<n, half>(s, part), s.d * s.scale[part], Floats{});
  }
  return sum;
}

template <int n, int half>
TROPILLA_LANES_INLINE void refit(const Floats* x, ScaledSuperblock<n>& s) {
  Floats ss{}, xs{};
  for (int part = 0; part < s.kParts; ++part) {
    const Sums sums = sums_of<n>(x + n * part, rounding_of<n, half>(s, part));
    ss += s.scale[part] * s.scale[part] * sums.qq;
    xs += s.scale[part] * sums.xq;
  }
  ScaledSuperblock<n> other = s;
  other.d = through_half(ratio(xs, ss));
  const auto better = error_of<n, half>(x, other) < error_of<n, half>(x, s);
  s.d = better ? other.d : s.d;
}

// Whole numbers that scale a sub-block reach from -limit to limit - 1.
template <int n, int half, int limit>
TROPILLA_LANES_INLINE ScaledSuperblock<n> search_scaled(const Floats* x) {
  ScaledSuperblock<n> s;
  Floats fitted[s.kParts];
  Floats largest{};
  for (int part = 0; part < s.kParts; ++part) {
    fitted[part] = fit_scaled<n, half>(x + n * part).scale;
    largest = magnitude(fitted[part]) > magnitude(largest) ? fitted[part] : largest;
  }
  s.d = through_half(largest / float(-limit));
  for (int part = 0; part < s.kParts; ++part) {
    s.scale[part] = choose_scale<n, half>(x + n * part, fitted[part], s.d, limit);
  }
  refit<n, half>(x, s);
  return s;
}

}  // namespace
}  // namespace tropilla

//! How likely something is by chance.

/// Logarithm of a bound on the chance that some window with this value contains `cases` of `all`
/// ends, if each end falls into such a window with probability `one`. This value is one of the
/// `cases`, any of them may be the lowest, and the others can be any of the rest.
pub(super) fn ln_chance(all: usize, cases: usize, one: f64, ln_factorials: &[f64]) -> f64 {
    let ln = |count: usize| ln_factorials.get(count).copied().unwrap_or(0.0);
    let choices = ln(all - 1) - ln(cases - 1) - ln(all - cases);
    float(cases).ln() + choices + float(cases - 1) * one.min(1.0).ln()
}

pub(super) fn ln_factorials(most: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let terms = (1..=most).map(|number| {
        sum += float(number).ln();
        sum
    });
    std::iter::once(0.0).chain(terms).collect()
}

/// Converts the logarithm of a chance to "one case in N".
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is capped before, and never negative"
)]
pub(super) fn one_in(ln_chance: f64) -> u64 {
    /// A larger number does not help the reader.
    const MOST: f64 = 1e12;
    (-ln_chance).exp().min(MOST) as u64
}

/// Converts to `f64`, for sums of a few digits.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and milliseconds are far below 2^53"
)]
pub(super) fn float(value: impl TryInto<u64>) -> f64 {
    value.try_into().unwrap_or(u64::MAX) as f64
}

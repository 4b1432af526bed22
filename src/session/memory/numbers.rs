//! Small numbers for values that are compared often: equal values have equal numbers.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Identifies a value as long as somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(u32);

impl Number {
    /// Identifies every value that nobody holds.
    pub(super) const FOREIGN: Self = Self(u32::MAX);
}

/// The numbers of values. Only values that are held are kept.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    by_value: HashMap<T, Number>,
    held: Vec<Held<T>>,
    free: Vec<Number>,
}

#[derive(Debug)]
struct Held<T> {
    value: Option<T>,
    times: usize,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self {
            by_value: HashMap::new(),
            held: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    /// Returns the value's number and holds it once more.
    pub(super) fn hold<Q>(&mut self, value: &Q) -> Number
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        if let Some(number) = self.by_value.get(value).copied() {
            if let Some(held) = self.held.get_mut(number.0 as usize) {
                held.times += 1;
            }
            return number;
        }
        let owned = value.to_owned();
        let held = Held {
            value: Some(owned.clone()),
            times: 1,
        };
        let number = if let Some(number) = self.free.pop() {
            if let Some(place) = self.held.get_mut(number.0 as usize) {
                *place = held;
            }
            number
        } else {
            let Ok(number) = u32::try_from(self.held.len()) else {
                return Number::FOREIGN;
            };
            self.held.push(held);
            Number(number)
        };
        self.by_value.insert(owned, number);
        number
    }

    /// Releases one hold.
    pub(super) fn release(&mut self, number: Number) {
        let Some(held) = self.held.get_mut(number.0 as usize) else {
            return;
        };
        held.times = held.times.saturating_sub(1);
        if held.times == 0
            && let Some(value) = held.value.take()
        {
            self.by_value.remove(&value);
            self.free.push(number);
        }
    }

    /// The number of a value; [`Number::FOREIGN`] if nobody holds it.
    pub(super) fn of<Q>(&self, value: &Q) -> Number
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let known = self.by_value.get(value);
        known.copied().unwrap_or(Number::FOREIGN)
    }

    /// The value of a number.
    pub(super) fn value(&self, number: Number) -> Option<&T> {
        self.held.get(number.0 as usize)?.value.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_numbers_while_they_are_held() {
        let mut numbers = Numbers::<String>::default();
        let (a, b) = (numbers.hold("a"), numbers.hold("b"));
        assert_ne!(a, b);
        assert_eq!((numbers.hold("a"), numbers.of("a")), (a, a));
        assert_eq!(numbers.of("c"), Number::FOREIGN);
        numbers.release(a);
        assert_eq!(numbers.of("a"), a, "it was held twice");
        numbers.release(a);
        assert_eq!(numbers.of("a"), Number::FOREIGN);
        assert_eq!(numbers.hold("c"), a, "numbers are used again");
        assert_eq!(numbers.value(a).unwrap(), "c");
        assert_eq!((numbers.held.len(), numbers.by_value.len()), (2, 2));
    }
}

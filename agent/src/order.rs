//! One sort for things of all kinds: the standard library's is compiled anew for each kind of thing that is sorted, and
//! that is two to four kilobytes of the pushed agent each time.

use std::cmp::Ordering;

/// Sorts by an order; what is equal stays as it was. Takes n log n comparisons for n things.
pub fn sort_by<T>(things: &mut Vec<T>, order: impl Fn(&T, &T) -> Ordering) {
    let places = places(things.len(), &|one, other| order(&things[one], &things[other]));
    let mut old: Vec<Option<T>> = std::mem::take(things).into_iter().map(Some).collect();
    things.extend(places.into_iter().filter_map(|place| old[place].take()));
}

/// Sorts by the things' own order.
pub fn sort<T: Ord>(things: &mut Vec<T>) {
    sort_by(things, T::cmp);
}

/// Sorts pairs by what is first in them.
pub fn sort_pairs<K: Ord, T>(pairs: &mut Vec<(K, T)>) {
    sort_by(pairs, |(one, _), (other, _)| one.cmp(other));
}

fn places(count: usize, order: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|one, other| order(*one, *other));
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn things_are_sorted_as_the_standard_library_sorts_them(things in prop::collection::vec((0_u8..9, any::<u8>()), 0..40)) {
            let mut pairs = things.clone();
            sort_pairs(&mut pairs);
            let mut wanted = things.clone();
            wanted.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(&pairs, &wanted);
            sort(&mut pairs);
            wanted.sort();
            prop_assert_eq!(pairs, wanted);
        }
    }
}

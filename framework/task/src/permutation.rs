//! Seeded permutations that are the same on every machine and in every release.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The numbers below `length` in an order that is a function of the other arguments: Fisher-Yates
/// with a ChaCha8 stream under the key (seed, index, domain).
///
/// It is written out here because no crate promises that its shuffle stays the same, and a run that
/// goes on under a newer release must find its old order.
pub(crate) fn permutation(domain: &[u8; 16], seed: u64, index: u64, length: usize) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&index.to_le_bytes());
    key[16..].copy_from_slice(domain);
    let mut random = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..length).collect();
    for last in (1..length).rev() {
        order.swap(last, below(&mut random, last as u64 + 1) as usize);
    }
    order
}

/// A number below `bound`, all equally likely (Lemire, "Fast random integer generation in an
/// interval", 2019).
fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        if product as u64 >= bound.wrapping_neg() % bound {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOMAIN: &[u8; 16] = b"mobillm test    ";

    proptest! {
        #[test]
        fn every_number_is_there_once(seed: u64, index: u64, length in 0usize..300) {
            let mut order = permutation(DOMAIN, seed, index, length);
            order.sort_unstable();
            prop_assert_eq!(order, (0..length).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let order = permutation(DOMAIN, 1, 2, 50);
        assert_eq!(order, permutation(DOMAIN, 1, 2, 50));
        assert_ne!(order, permutation(DOMAIN, 2, 2, 50));
        assert_ne!(order, permutation(DOMAIN, 1, 3, 50));
        assert_ne!(order, permutation(b"mobillm other   ", 1, 2, 50));
    }

    #[test]
    fn all_orders_are_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for index in 0..6000 {
            *counts.entry(permutation(DOMAIN, 0, index, 3)).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        // 1000 expected, standard deviation 29.
        assert!(counts.values().all(|count| (870..1130).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_order_stays_the_same_in_every_release() {
        assert_eq!(permutation(DOMAIN, 7, 1, 8), [7, 0, 6, 2, 3, 1, 4, 5]);
    }
}

//! One number that stands for all rows of a table, kept up to date row by row.
//!
//! A row's seal says that the row is genuine. It does not say that none is missing, and none was
//! put back from last week. So the store's head, sealed and written in the same transaction, holds
//! the sum (modulo 2^256) of a keyed hash of each row: an additive multiset hash (Clarke and
//! others, "Incremental Multiset Hash Functions", 2003, section 5). Without the key nobody can find
//! another set of rows with the same sum.

use strongroom_crypto::symmetric::hmac_sha256;

use crate::sealing::Place;

/// The sum over the rows of one table, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    sum: [u8; 32],
    pub(crate) rows: u64,
}

/// What one row adds.
pub(crate) struct Share([u8; 32]);

impl Share {
    pub(crate) fn of(key: &[u8; 32], place: &Place<'_>, sealed: &[u8]) -> Self {
        let message = [
            &[place.table as u8][..],
            &place.version.to_be_bytes(),
            &(place.key.len() as u64).to_be_bytes(),
            place.key,
            sealed,
        ]
        .concat();
        Self(hmac_sha256(key, &message))
    }

    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Tally {
    pub(crate) fn from_parts(sum: &[u8], rows: u64) -> Option<Self> {
        Some(Self { sum: sum.try_into().ok()?, rows })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.sum
    }

    /// Counts a row in.
    pub(crate) fn add(&mut self, share: &Share) {
        self.rows = self.rows.wrapping_add(1);
        let mut carry = 0;
        for (sum, byte) in self.sum.iter_mut().zip(share.0) {
            let total = u16::from(*sum) + u16::from(byte) + carry;
            *sum = total as u8;
            carry = total >> 8;
        }
    }

    /// Counts a row out.
    pub(crate) fn remove(&mut self, share: &Share) {
        self.rows = self.rows.wrapping_sub(1);
        let mut borrow = 0;
        for (sum, byte) in self.sum.iter_mut().zip(share.0) {
            let difference = i16::from(*sum) - i16::from(byte) - borrow;
            *sum = difference as u8;
            borrow = i16::from(difference < 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sealing::Table;

    fn share(key: &[u8], version: u64, sealed: &[u8]) -> Share {
        Share::of(&[7; 32], &Place { table: Table::Records, key, version }, sealed)
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter_and_removal_undoes(
            one in any::<[u8; 32]>(), two in any::<[u8; 32]>(), sum in any::<[u8; 32]>(),
        ) {
            let (one, two) = (Share(one), Share(two));
            let start = Tally { sum, rows: 7 };
            let mut forth = start;
            forth.add(&one);
            forth.add(&two);
            let mut back = start;
            back.add(&two);
            back.add(&one);
            prop_assert_eq!(forth, back);
            back.remove(&one);
            back.remove(&two);
            prop_assert_eq!(back, start);
        }
    }

    #[test]
    fn a_share_depends_on_every_part_of_a_row() {
        let base = share(b"key", 1, b"sealed").0;
        assert_ne!(base, share(b"kez", 1, b"sealed").0);
        assert_ne!(base, share(b"key", 2, b"sealed").0);
        assert_ne!(base, share(b"key", 1, b"sealee").0);
        assert_ne!(base, share(b"keys", 1, b"ealed").0);
    }

    #[test]
    fn a_tally_counts_how_often() {
        let mut tally = Tally::default();
        tally.add(&share(b"key", 1, b"sealed"));
        let once = tally;
        tally.add(&share(b"key", 1, b"sealed"));
        assert_ne!(tally, once);
    }
}

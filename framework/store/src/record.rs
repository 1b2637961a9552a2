//! A sample as bytes.
//!
//! All numbers are little-endian, of 4 bytes if nothing else is said:
//!
//! ```text
//! id (8) | code of the supervision | rows | taps | a position for each row
//! | bytes of each tap | the taps | the supervision's numbers, to the end
//! ```

use bytes::Bytes;
use mobillm_core::privacy::Supervision;
use mobillm_core::sample::{EncodedSample, SampleId};

use crate::error::StoreError;

/// id, code, rows and taps.
const HEADER_BYTES: usize = 20;

/// What the index has of each sample.
pub const ENTRY_BYTES: usize = 12;

/// Bytes that a store counts for one sample of `rows` rows of `row_bytes` bytes in each of `taps` taps,
/// with `supervision_numbers` numbers to train on
/// ([`SupervisionKind::numbers`](mobillm_core::privacy::SupervisionKind::numbers)). Exact: so many
/// bytes are on the disk, and so many count towards the limit.
pub fn record_bytes(rows: usize, row_bytes: usize, taps: usize, supervision_numbers: usize) -> u64 {
    let [rows, row_bytes, taps, numbers] =
        [rows, row_bytes, taps, supervision_numbers].map(|number| number as u64);
    let words = rows.saturating_add(taps).saturating_add(numbers).saturating_mul(4);
    let taps = taps.saturating_mul(rows).saturating_mul(row_bytes);
    (HEADER_BYTES as u64 + ENTRY_BYTES as u64).saturating_add(words).saturating_add(taps)
}

/// Samples as the records that they become, end to end.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
}

impl Records {
    /// Makes these the records of `samples`, in the memory of those before.
    pub fn encode(&mut self, samples: &[EncodedSample]) -> Result<(), StoreError> {
        self.bytes.clear();
        self.lengths.clear();
        for sample in samples {
            let start = self.bytes.len();
            write(sample, &mut self.bytes);
            let bytes = self.bytes.len() - start;
            // What is in the record fits 4 bytes if all of it does.
            let length = u32::try_from(bytes).map_err(|_| StoreError::TooLarge { bytes })?;
            self.lengths.push(length);
        }
        Ok(())
    }

    /// All of them, end to end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a store counts for them.
    pub fn counted(&self) -> u64 {
        (self.bytes.len() + self.lengths.len() * ENTRY_BYTES) as u64
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |&length| {
            let (record, after) = rest.split_at(length as usize);
            rest = after;
            record
        })
    }
}

fn write(sample: &EncodedSample, out: &mut Vec<u8>) {
    let lengths = sample.taps.iter().map(Bytes::len);
    let counts = [sample.supervision.code().into(), sample.positions.len(), sample.taps.len()];
    out.extend(sample.id.0.to_le_bytes());
    out.extend(counts.into_iter().flat_map(|count| (count as u32).to_le_bytes()));
    out.extend(sample.positions.iter().copied().flat_map(u32::to_le_bytes));
    out.extend(lengths.flat_map(|length| (length as u32).to_le_bytes()));
    sample.taps.iter().for_each(|tap| out.extend_from_slice(tap));
    sample.supervision.write(out);
}

/// The sample of `record`, whose taps share its memory; `None` if it is no record.
pub fn read(record: &Bytes) -> Option<EncodedSample> {
    let mut at = 0_usize;
    let mut take = |count: usize| {
        let start = at;
        at = start.checked_add(count)?;
        record.get(start..at).map(|_| start..at)
    };
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes.as_chunks::<4>().0.iter().copied().map(u32::from_le_bytes).collect()
    };
    let id = u64::from_le_bytes(record[take(8)?].try_into().ok()?);
    let counts = words(&record[take(12)?]);
    let [code, rows, taps] = counts[..] else { return None };
    let positions = words(&record[take((rows as usize).checked_mul(4)?)?]);
    let lengths = words(&record[take((taps as usize).checked_mul(4)?)?]);
    let taps = lengths
        .into_iter()
        .map(|length| Some(record.slice(take(length as usize)?)))
        .collect::<Option<Vec<_>>>()?;
    let supervision = Supervision::read(u8::try_from(code).ok()?, &record[at..])?;
    Some(EncodedSample { id: SampleId(id), positions, taps, supervision })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::samples::{encoded_sample, sample};

    fn record(sample: EncodedSample) -> Bytes {
        let mut records = Records::default();
        records.encode(&[sample]).unwrap();
        Bytes::copy_from_slice(records.bytes())
    }

    proptest! {
        #[test]
        fn a_sample_is_read_as_it_was_written(sample in encoded_sample()) {
            prop_assert_eq!(read(&record(sample.clone())), Some(sample));
        }

        #[test]
        fn any_bytes_are_a_sample_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            read(&bytes.into());
        }

        #[test]
        fn a_record_is_as_long_as_was_foretold(
            rows in 0_usize..9, row_bytes in 0_usize..9, taps in 0_usize..4, outputs in 1_usize..5,
        ) {
            let sample = EncodedSample {
                positions: vec![0; rows],
                taps: vec![vec![0; rows * row_bytes].into(); taps],
                supervision: Supervision::Difference(vec![0.5; outputs]),
                ..sample(0)
            };
            let foretold = record_bytes(rows, row_bytes, taps, outputs);
            prop_assert_eq!((record(sample).len() + ENTRY_BYTES) as u64, foretold);
        }
    }

    #[test]
    fn what_is_cut_is_no_sample() {
        let whole = record(sample(3));
        // Without the last number of several, what is left is still a difference.
        for end in 0..whole.len() - 8 {
            assert_eq!(read(&whole.slice(..end)), None, "{end}");
        }
    }

    #[test]
    fn sizes_that_no_memory_holds_do_not_overflow() {
        assert_eq!(record_bytes(usize::MAX, usize::MAX, 2, 1), u64::MAX);
    }
}

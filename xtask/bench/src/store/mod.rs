//! The store on disk, against what its disk does with a plain file.
//!
//! A round writes a plain file and ingests as many bytes of samples, then reads the samples' file from
//! its begin to its end and reads them back shuffled, both with a cold page cache: each pair sees the
//! same disk a moment apart. A figure is the median of the rounds' ratios.

mod disk;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mobillm_core::fingerprint::Fingerprint;
use mobillm_core::privacy::Supervision;
use mobillm_core::sample::{EncodedSample, SampleId};
use mobillm_store::{
    Fsync, GROUP_BYTES, Identity, RESIDENT_BYTES, Store, StoreConfig, record_bytes,
};

use crate::Error;
use crate::figure::Figure;

const ROUNDS: usize = 5;
/// Samples of a micro-batch and of a training step.
const BATCH: usize = 32;
/// Rows of a sample, bytes of a row and taps: 10 kB.
const ROWS: usize = 8;
const ROW_BYTES: usize = 310;
const TAPS: usize = 4;

/// How much is written and read.
struct Size {
    samples: u64,
    rounds: usize,
}

/// The figures of a store of 2 GB.
pub fn run() -> Result<Vec<Figure>, Error> {
    let size = Size { samples: 200_000, rounds: ROUNDS };
    let folder = tempfile::tempdir()?;
    disk::check(folder.path())?;
    figures(&measure(folder.path(), &size)?, &size)
}

/// What one round took, and the most memory that it held beside what was there before.
struct Round {
    write: Duration,
    ingest: Duration,
    read: Duration,
    shuffled: Duration,
    resident: u64,
}

fn figures(rounds: &[Round], size: &Size) -> Result<Vec<Figure>, Error> {
    let bytes = (size.samples * sample_bytes()) as f64;
    let rate = |time: fn(&Round) -> Duration| {
        let mut rates = rounds.iter().map(|round| bytes / time(round).as_secs_f64() / 1e6);
        let first = rates.next().unwrap_or_default();
        let (least, most) =
            rates.fold((first, first), |(least, most), rate| (rate.min(least), rate.max(most)));
        format!("{least:.0} to {most:.0} MB/s")
    };
    let ratio = |reference: fn(&Round) -> Duration, time: fn(&Round) -> Duration| {
        let ratio = |round| reference(round).as_secs_f64() / time(round).as_secs_f64();
        median(rounds.iter().map(ratio).collect())
    };
    let limit = RESIDENT_BYTES + size.samples * 24 + 3 * BATCH as u64 * sample_bytes();
    let resident = rounds.iter().map(|round| round.resident).max().unwrap_or_default();
    let what = format!("{} samples of {} bytes", size.samples, sample_bytes());
    Ok(vec![
        Figure::new("ingest", ratio(|round| round.write, |round| round.ingest), "of a plain file")
            .at_least(0.6)
            .note(format!(
                "{what}, fsync group: {}; a file written and synced in pieces of 8 MiB: {}",
                rate(|round| round.ingest),
                rate(|round| round.write)
            )),
        Figure::new(
            "read back shuffled, cold",
            ratio(|round| round.read, |round| round.shuffled),
            "of a sequential read",
        )
        .at_least(0.4)
        .note(format!(
            "{}; the same file from begin to end, cold too: {}",
            rate(|round| round.shuffled),
            rate(|round| round.read)
        )),
        Figure::new("resident memory", resident as f64 / limit as f64, "of its limit")
            .at_most(1.0)
            .note(format!(
                "at most {:.1} MB of {:.1} MB",
                resident as f64 / 1e6,
                limit as f64 / 1e6
            )),
    ])
}

fn sample_bytes() -> u64 {
    record_bytes(ROWS, ROW_BYTES, TAPS, 1)
}

fn measure(folder: &Path, size: &Size) -> Result<Vec<Round>, Error> {
    let content = Content::new();
    (0..size.rounds).map(|round| content.round(round, folder, size)).collect()
}

/// What the samples' taps are cut from: bytes that no disk can make smaller.
struct Content(Bytes);

impl Content {
    fn new() -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let words = (0..GROUP_BYTES / 8).flat_map(|_| random.next().to_le_bytes());
        Self(words.collect::<Vec<u8>>().into())
    }

    fn sample(&self, number: u64) -> EncodedSample {
        let tap_bytes = ROWS * ROW_BYTES;
        let places = self.0.len() - tap_bytes;
        let tap = |tap: usize| {
            let at = (number as usize * TAPS + tap) * 4099 % places;
            self.0.slice(at..at + tap_bytes)
        };
        EncodedSample {
            id: SampleId(number),
            positions: (0..ROWS as u32).collect(),
            taps: (0..TAPS).map(tap).collect(),
            supervision: Supervision::Label(number as u32),
        }
    }

    /// Every other round ingests first: what comes second meets a disk that is still busy with what
    /// came first.
    fn round(&self, round: usize, folder: &Path, size: &Size) -> Result<Round, Error> {
        let (plain, folder) = (folder.join("plain"), folder.join("store"));
        let is_second = !round.is_multiple_of(2);
        let mut write = Duration::ZERO;
        if !is_second {
            write = self.write_plain(&plain, size)?;
        }
        let before = disk::reset_peak()?;
        let (store, ingest) = self.ingest(&folder, size)?;
        let ingest_peak = disk::peak()?;
        if is_second {
            write = self.write_plain(&plain, size)?;
        }

        let file = File::open(folder.join("samples"))?;
        let read = read_plain(&file)?;
        disk::reset_peak()?;
        let shuffled = self.read_shuffled(&store, &file, round as u64, size)?;
        let resident = ingest_peak.max(disk::peak()?).saturating_sub(before);
        fs::remove_file(plain)?;
        fs::remove_dir_all(folder)?;
        Ok(Round { write, ingest, read, shuffled, resident })
    }

    /// As many bytes as the samples have.
    fn write_plain(&self, path: &Path, size: &Size) -> Result<Duration, Error> {
        let mut file = File::create(path)?;
        let start = Instant::now();
        let mut left = (size.samples * sample_bytes()) as usize;
        while left > 0 {
            let piece = left.min(self.0.len());
            file.write_all(&self.0[..piece])?;
            file.sync_data()?;
            left -= piece;
        }
        Ok(start.elapsed())
    }

    fn ingest(&self, folder: &Path, size: &Size) -> Result<(Store, Duration), Error> {
        let config = StoreConfig::Disk { limit_mib: 1 << 20, fsync: Fsync::Group };
        let start = Instant::now();
        let mut store = Store::open(&config, folder, &identity())?;
        while store.len() < size.samples {
            let end = size.samples.min(store.len() + BATCH as u64);
            let batch: Vec<_> = (store.len()..end).map(|number| self.sample(number)).collect();
            store.append(&batch)?;
            if store.is_sync_due() {
                store.sync()?;
            }
        }
        store.sync()?;
        Ok((store, start.elapsed()))
    }

    /// One epoch; each sample is looked at, so that it is what it is to be.
    fn read_shuffled(
        &self,
        store: &Store,
        file: &File,
        seed: u64,
        size: &Size,
    ) -> Result<Duration, Error> {
        let order = shuffled(size.samples, seed);
        disk::make_cold(file)?;
        let start = Instant::now();
        let mut numbers = order.iter();
        let mut epoch = store.prefetch(order.clone());
        loop {
            let samples = epoch.next(BATCH)?;
            if samples.is_empty() {
                break;
            }
            for (sample, &number) in samples.iter().zip(numbers.by_ref()) {
                if *sample != self.sample(number) {
                    return Err(format!("sample {number} is not what was written").into());
                }
            }
        }
        match numbers.next() {
            None => Ok(start.elapsed()),
            Some(number) => Err(format!("the epoch ended before sample {number}").into()),
        }
    }
}

/// From begin to end in large pieces, as the system likes it best.
fn read_plain(file: &File) -> Result<Duration, Error> {
    disk::make_cold(file)?;
    let mut piece = vec![0; 1 << 20];
    let mut reader = file;
    let start = Instant::now();
    while reader.read(&mut piece)? > 0 {}
    Ok(start.elapsed())
}

fn identity() -> Identity {
    Identity {
        run: "benchmark".into(),
        bundle: Fingerprint([0; 32]),
        pipeline: Fingerprint([0; 32]),
        quantizer: "int8".into(),
        taps: (0..TAPS).collect(),
        hidden: ROW_BYTES - 4,
    }
}

fn shuffled(samples: u64, seed: u64) -> Vec<u64> {
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ seed);
    let mut order: Vec<u64> = (0..samples).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, (random.next() % (at as u64 + 1)) as usize);
    }
    order
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside this program: the system's temporary folder may be no disk.
    fn folder_on_disk() -> tempfile::TempDir {
        let program = std::env::current_exe().unwrap();
        tempfile::tempdir_in(program.parent().unwrap()).unwrap()
    }

    #[test]
    fn a_round_checks_every_sample_and_leaves_nothing() {
        let size = Size { samples: 1000, rounds: 2 };
        let folder = folder_on_disk();
        let rounds = measure(folder.path(), &size).unwrap();
        assert_eq!(rounds.len(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_store_that_gives_other_samples_has_no_figure() {
        let (folder, content) = (folder_on_disk(), Content::new());
        let size = Size { samples: 40, rounds: 1 };
        let (mut store, _) = content.ingest(folder.path(), &size).unwrap();
        let file = File::open(folder.path().join("samples")).unwrap();
        let refusal = |store: &Store, size: &Size| {
            content.read_shuffled(store, &file, 1, size).unwrap_err().to_string()
        };
        let longer = Size { samples: 41, ..size };
        assert_eq!(refusal(&store, &longer), "there is no sample 40: the store holds 40");
        store.truncate(39).unwrap();
        store.append(&[content.sample(7)]).unwrap();
        store.sync().unwrap();
        assert_eq!(refusal(&store, &size), "sample 39 is not what was written");
    }

    #[test]
    fn a_figure_is_the_median_of_how_fast_the_store_is_for_a_plain_file() {
        let size = Size { samples: 1000, rounds: 3 };
        let limit = RESIDENT_BYTES + 1000 * 24 + 3 * 32 * 10_004;
        // Seconds of a plain write, an ingest, a plain read and a shuffled read; halves of the limit.
        let rounds = [[4, 5, 1, 4, 1], [1, 2, 1, 2, 0], [1, 4, 9, 10, 2]];
        let rounds = rounds.map(|[write, ingest, read, shuffled, halves]| {
            let [write, ingest, read, shuffled] =
                [write, ingest, read, shuffled].map(Duration::from_secs);
            Round { write, ingest, read, shuffled, resident: halves * limit / 2 }
        });
        let figures = figures(&rounds, &size).unwrap();
        let measured: Vec<_> =
            figures.iter().map(|figure| (figure.measured.number, figure.met)).collect();
        assert_eq!(measured, [(0.5, Some(false)), (0.5, Some(true)), (1.0, Some(true))]);
        let rates = ["group: 2 to 5 MB/s; a file written", "8 MiB: 3 to 10 MB/s"];
        let expected = ["1000 samples of 10004 bytes"].into_iter().chain(rates);
        for part in expected {
            assert!(figures[0].note.contains(part), "{}", figures[0].note);
        }
        let expected = "1 to 5 MB/s; the same file from begin to end, cold too: 1 to 10 MB/s";
        assert_eq!(figures[1].note, expected);
    }
}

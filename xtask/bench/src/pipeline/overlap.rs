//! Device and server at the same time over one after the other.
//!
//! * *Device* seconds are the summary's `device.forward_seconds`, *server* seconds its
//!   `server.train_seconds`; neither has waiting in it.
//! * *Wall* seconds go from the first micro-batch to the last step's acknowledgement. The held-out
//!   rows' forward passes come before, the epoch's evaluation after.
//! * In the *serial* run `link.ahead` is 1: a window goes out when all steps before it are trained.
//!   A window is one step here, so the two ends take turns, and its device and server seconds are
//!   those of an undisturbed machine. They are what the overlapped run is measured by; its own are
//!   longer where two busy cores share caches and memory.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mobillm::Stop;
use mobillm::pipeline::{RunOptions, run};
use mobillm::progress::{News, Observer, Phase, Watch};

use super::load::quietest;
use super::walk::Setup;
use super::{median, spread};
use crate::Error;
use crate::figure::Figure;

const ROWS: usize = 400;
const TUNING_ROWS: usize = 160;
const ROUNDS: usize = 5;
const MOST_ROUNDS: usize = 8;
/// The default of `link.ahead`.
const AHEAD: usize = 32;
const FIRST_RANK: usize = 512;
/// The side network's ranks go up and down by this, and up to this.
const RANK_STEP: usize = 16;
const MAX_RANK: usize = 4096;

/// Seconds of a run.
struct Seconds {
    device: f64,
    server: f64,
    wall: f64,
}

impl Seconds {
    fn sum(&self) -> f64 {
        self.device + self.server
    }
}

/// The two runs, one right after the other.
struct Round {
    serial: Seconds,
    overlapped: Seconds,
}

/// Wall over device and server, overlapped and serial, at a rank that makes both equally busy.
pub fn figures(setup: &Setup) -> Result<Vec<Figure>, Error> {
    let rank = tune(setup)?;
    let (rounds, choice) = quietest(ROUNDS, MOST_ROUNDS, |_| {
        let serial = measure(setup, rank, ROWS, 1)?;
        Ok(Round { serial, overlapped: measure(setup, rank, ROWS, AHEAD)? })
    })?;
    let of = |value: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(value).collect() };
    let figure = |name: &str, unit: &str, value: fn(&Round) -> f64, note: String| {
        let note = format!("{note}; median of {choice} ({})", spread(&of(value)));
        Figure::new(name, median(of(value)), unit).note(note)
    };
    let seconds = |run: fn(&Round) -> &Seconds| {
        let middle = |part: fn(&Seconds) -> f64| {
            median(rounds.iter().map(|round| part(run(round))).collect())
        };
        let (device, server, wall) =
            (middle(|s| s.device), middle(|s| s.server), middle(|s| s.wall));
        format!("device {device:.2} s, server {server:.2} s, wall {wall:.2} s")
    };
    let (serial, overlapped) = (seconds(|round| &round.serial), seconds(|round| &round.overlapped));
    const UNIT: &str = "of device + server";
    Ok(vec![
        figure(
            "balance: server",
            "of device",
            |round| round.serial.server / round.serial.device,
            format!("seconds of the serial run at rank {rank}"),
        )
        .within(0.8, 1.25),
        figure(
            "overlapped run: wall",
            UNIT,
            |round| round.overlapped.wall / round.serial.sum(),
            format!("device + server of the serial run beside it; here {overlapped}"),
        )
        .at_most(0.65),
        figure(
            "overlapped run: wall, by its own device + server",
            UNIT,
            |round| round.overlapped.wall / round.overlapped.sum(),
            "two busy cores slow each other down, so its own seconds are longer".into(),
        ),
        figure("serial run: wall", UNIT, |round| round.serial.wall / round.serial.sum(), serial),
    ])
}

/// The rank at which the server takes as long as the device.
fn tune(setup: &Setup) -> Result<usize, Error> {
    let mut rank = FIRST_RANK;
    for _ in 0..5 {
        let Seconds { device, server, .. } = measure(setup, rank, TUNING_ROWS, 1)?;
        let wanted =
            (rank as f64 * device / server / RANK_STEP as f64).round() as usize * RANK_STEP;
        if (0.93..1.07).contains(&(server / device)) || wanted == rank {
            return Ok(rank);
        }
        rank = wanted.clamp(RANK_STEP, MAX_RANK);
    }
    Ok(rank)
}

/// A run of `rows` rows with at most `ahead` steps between device and server.
fn measure(setup: &Setup, rank: usize, rows: usize, ahead: usize) -> Result<Seconds, Error> {
    let loaded = setup.load(&[
        format!("task.limit={rows}"),
        format!("link.ahead={ahead}"),
        "device.window=1".into(),
        format!("server.side_network.architecture={{type='parallel-adapter',rank={rank}}}"),
    ])?;
    let folder = setup.run_folder()?;
    let options = RunOptions {
        out: folder.path().to_owned(),
        variant: "bench".into(),
        fresh: false,
        leave: false,
    };
    let clock = Clock::default();
    let watch = Watch { observer: &clock, stop: Stop::default() };
    let summary = run(&loaded, &setup.environment, &options, &watch)?;
    let wall = clock.seconds().ok_or("the run has trained nothing")?;
    Ok(Seconds {
        device: summary.device.forward_seconds,
        server: summary.server.train_seconds,
        wall,
    })
}

/// Notes when training began and when its last step was acknowledged.
#[derive(Default)]
struct Clock(Mutex<(Option<Instant>, Option<Instant>)>);

impl Clock {
    fn seconds(&self) -> Option<f64> {
        let (began, ended) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some((ended? - began?).as_secs_f64())
    }
}

impl Observer for Clock {
    fn news(&self, news: News) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Begin { phase: Phase::Train, .. } => times.0 = Some(Instant::now()),
            News::Step { .. } => times.1 = Some(Instant::now()),
            _ => {}
        }
    }
}

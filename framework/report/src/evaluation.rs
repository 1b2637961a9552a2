//! The evaluations of a run, and the curves that they make.

use mobillm::run::summary::Summary;

/// What a run had spent when an epoch was evaluated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Evaluation {
    /// Wall time since the first micro-batch.
    pub(crate) seconds: f64,
    /// Bytes from device to server.
    pub(crate) bytes_up: f64,
    /// The main metric.
    pub(crate) score: f64,
}

impl Evaluation {
    /// Those of `run`, one for each epoch.
    pub(crate) fn each(run: &Summary) -> impl Iterator<Item = Self> {
        let (mut seconds, mut bytes_up) = (0.0, 0);
        run.epochs.iter().map(move |epoch| {
            seconds += epoch.seconds;
            bytes_up += epoch.bytes_up;
            Self { seconds, bytes_up: bytes_up as f64, score: epoch.eval.main().1 }
        })
    }

    /// The mean over `runs`, epoch by epoch, as far as all of them have come.
    pub(crate) fn mean(runs: &[Vec<Self>]) -> Vec<Self> {
        let epochs = runs.iter().map(Vec::len).min().unwrap_or(0);
        let mean = |epoch: usize, figure: fn(&Self) -> f64| {
            runs.iter().map(|run| figure(&run[epoch])).sum::<f64>() / runs.len() as f64
        };
        let at = |epoch| Self {
            seconds: mean(epoch, |at| at.seconds),
            bytes_up: mean(epoch, |at| at.bytes_up),
            score: mean(epoch, |at| at.score),
        };
        (0..epochs).map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_goes_as_far_as_every_run() {
        let at = |seconds, score| Evaluation { seconds, bytes_up: 10.0, score };
        let runs = [vec![at(1.0, 0.5), at(2.0, 0.75)], vec![at(3.0, 0.75)]];
        assert_eq!(Evaluation::mean(&runs), [at(2.0, 0.625)]);
        assert_eq!(Evaluation::mean(&[]), []);
    }
}

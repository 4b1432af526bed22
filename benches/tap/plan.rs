//! How much is measured: what fits into a few minutes, and what needs a quiet hour.

use std::time::Duration;

/// How long a run may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Length {
    /// Under five minutes with all peers.
    #[default]
    Short,
    /// Everything: ten thousand sessions, and the tap's other settings.
    Full,
    /// Seconds, and figures that say nothing: whether the bench works at all.
    Smoke,
}

/// The amounts of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Turns that every target gets; they alternate.
    pub rounds: usize,
    /// Sizes of echoed messages, and round trips of one turn.
    pub trips: Vec<(usize, usize)>,
    /// One turn of full speed.
    pub storm: Duration,
    /// Round trips whose system calls are counted.
    pub calls: usize,
    /// Frames that are sent in pieces, each way.
    pub frames: usize,
    /// Between two pieces.
    pub pause: Duration,
    /// Sessions that do nothing.
    pub idle: Vec<usize>,
    /// Sessions that talk.
    pub growth: Vec<usize>,
    /// Also the tap's other settings, at so many sessions.
    pub settings: Vec<usize>,
}

impl Plan {
    pub fn of(length: Length) -> Self {
        let full = Self {
            rounds: 30,
            trips: vec![
                (32, 400),
                (1024, 400),
                (16 * 1024, 200),
                (64 * 1024, 80),
                (1024 * 1024, 8),
            ],
            storm: Duration::from_millis(500),
            calls: 1000,
            frames: 60,
            pause: Duration::from_millis(25),
            idle: vec![2_000, 10_000],
            growth: vec![1, 100, 1_000, 10_000],
            settings: vec![1, 100, 1_000],
        };
        match length {
            Length::Full => full,
            Length::Short => Self {
                rounds: 8,
                storm: Duration::from_millis(250),
                calls: 300,
                frames: 12,
                idle: vec![2_000],
                growth: vec![1, 100, 1_000],
                settings: vec![100],
                ..full
            },
            Length::Smoke => Self {
                rounds: 1,
                trips: vec![(32, 2), (16 * 1024, 2), (1024 * 1024, 1)],
                storm: Duration::from_millis(5),
                calls: 20,
                frames: 1,
                pause: Duration::from_millis(5),
                idle: vec![4],
                growth: vec![1, 3],
                settings: vec![1],
            },
        }
    }
}

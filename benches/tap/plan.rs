//! How much is measured: a plan for a few minutes, and one for an hour on a quiet machine.

use std::time::Duration;

/// How long a run may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Length {
    /// Under five minutes with all peers.
    #[default]
    Short,
    /// Everything: ten thousand sessions, and the tap's other settings.
    Full,
    /// A few seconds, only to test the bench itself; the figures mean nothing.
    Smoke,
}

/// Round trips of messages of one size: many short turns, so that noise hits all targets alike.
#[derive(Clone, Copy, Debug)]
pub struct Trips {
    pub size: usize,
    /// Turns of each target.
    pub rounds: usize,
    pub a_turn: usize,
}

impl Trips {
    const fn of(size: usize, rounds: usize, a_turn: usize) -> Self {
        Self {
            size,
            rounds,
            a_turn,
        }
    }
}

/// The amounts of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Turns that every target gets; they alternate.
    pub rounds: usize,
    /// Echoed messages.
    pub trips: Vec<Trips>,
    /// Duration of one turn at full speed.
    pub storm: Duration,
    /// Round trips whose system calls are counted.
    pub calls: usize,
    /// Number of frames that are sent in pieces, each way.
    pub frames: usize,
    /// Pause between two pieces.
    pub pause: Duration,
    /// Numbers of idle sessions.
    pub idle: Vec<usize>,
    /// Numbers of open sessions for the growth figures.
    pub growth: Vec<usize>,
    /// Numbers of active sessions through the tap with other settings.
    pub settings: Vec<usize>,
    /// Number of idle sessions for each of these settings.
    pub settings_idle: usize,
}

impl Plan {
    /// Turns for figures that have many rows.
    pub fn few_rounds(&self) -> usize {
        (self.rounds / 2).clamp(1, 10)
    }

    pub fn of(length: Length) -> Self {
        let full = Self {
            rounds: 30,
            trips: vec![
                Trips::of(32, 120, 100),
                Trips::of(1024, 120, 100),
                Trips::of(16 * 1024, 120, 50),
                Trips::of(64 * 1024, 160, 15),
                Trips::of(1024 * 1024, 300, 4),
            ],
            storm: Duration::from_millis(500),
            calls: 1000,
            frames: 60,
            pause: Duration::from_millis(25),
            idle: vec![2_000, 10_000],
            growth: vec![1, 100, 1_000, 10_000],
            settings: vec![1, 100, 1_000],
            settings_idle: 2_000,
        };
        match length {
            Length::Full => full,
            Length::Short => Self {
                rounds: 8,
                trips: vec![
                    Trips::of(32, 32, 100),
                    Trips::of(1024, 32, 100),
                    Trips::of(16 * 1024, 32, 50),
                    Trips::of(64 * 1024, 64, 10),
                    Trips::of(1024 * 1024, 100, 4),
                ],
                storm: Duration::from_millis(250),
                calls: 300,
                frames: 12,
                idle: vec![2_000],
                growth: vec![1, 100, 1_000],
                settings: vec![100],
                settings_idle: 500,
                ..full
            },
            Length::Smoke => Self {
                rounds: 1,
                trips: vec![
                    Trips::of(32, 1, 300),
                    Trips::of(16 * 1024, 2, 1),
                    Trips::of(1024 * 1024, 1, 1),
                ],
                storm: Duration::from_millis(5),
                calls: 20,
                frames: 1,
                pause: Duration::from_millis(5),
                idle: vec![4],
                growth: vec![1, 3],
                settings: vec![1],
                settings_idle: 3,
            },
        }
    }
}

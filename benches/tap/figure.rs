//! The figures that can be measured.

use clap::ValueEnum;

use crate::bench::Bench;
use crate::support::Fallible;
use crate::{buffering, calls, cost, growth, handshakes, idle, latency, settings};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    Buffering,
    Latency,
    Cost,
    Calls,
    Handshakes,
    Idle,
    Growth,
    Settings,
}

impl Figure {
    pub const ALL: [Self; 8] = [
        Self::Buffering,
        Self::Latency,
        Self::Cost,
        Self::Calls,
        Self::Handshakes,
        Self::Idle,
        Self::Growth,
        Self::Settings,
    ];

    /// The name that `--only` uses.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub fn measure(self, bench: &mut Bench) -> Fallible<()> {
        match self {
            Self::Buffering => buffering::measure(bench),
            Self::Latency => latency::measure(bench),
            Self::Cost => cost::measure(bench),
            Self::Calls => calls::measure(bench),
            Self::Handshakes => handshakes::measure(bench),
            Self::Idle => idle::measure(bench),
            Self::Growth => growth::measure(bench),
            Self::Settings => settings::measure(bench),
        }
    }
}

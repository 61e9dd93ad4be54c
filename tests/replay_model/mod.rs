//! A model of the replay layer: what may happen to it, and what must be true of it then.

mod audit;
mod client;
mod judge;
pub(crate) mod op;
mod oracle;
mod request;
mod run;
mod slow;
pub(crate) mod tally;
mod truth;
mod upstream;
mod world;

pub(crate) use self::run::{run, run_alone};

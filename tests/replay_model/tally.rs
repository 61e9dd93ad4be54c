//! What was done how often.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Open,
    Say,
    End,
    Read,
    Cut,
    Resume,
    SecondAttach,
    Evict,
    Request,
    Settle,
    Elapse,
    Slow,
    Delete,
    Dismiss,
    Shutdown,
}

const ALL: [What; 15] = [
    What::Open,
    What::Say,
    What::End,
    What::Read,
    What::Cut,
    What::Resume,
    What::SecondAttach,
    What::Evict,
    What::Request,
    What::Settle,
    What::Elapse,
    What::Slow,
    What::Delete,
    What::Dismiss,
    What::Shutdown,
];

/// Operations that had something to be done to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    counts: [u64; ALL.len()],
    lengths: Vec<u64>,
    /// What responses to cursors came to.
    pub(crate) outcomes: std::collections::BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, what: What) {
        self.counts[what as usize] += 1;
    }

    pub(crate) fn outcome(&mut self, what: &'static str) {
        *self.outcomes.entry(what).or_default() += 1;
    }

    /// Adds a history.
    pub(crate) fn add(&mut self, other: &Self) {
        for (all, one) in self.counts.iter_mut().zip(other.counts) {
            *all += one;
        }
        for (what, count) in &other.outcomes {
            *self.outcomes.entry(what).or_default() += count;
        }
        self.lengths.push(other.total());
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn share(&self, what: What) -> f64 {
        self.counts[what as usize] as f64 / self.total().max(1) as f64
    }

    pub(crate) fn median(&self) -> u64 {
        let mut lengths = self.lengths.clone();
        lengths.sort_unstable();
        lengths.get(lengths.len() / 2).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (histories, total, median) = (self.lengths.len(), self.total(), self.median());
        writeln!(
            f,
            "{histories} histories, {total} operations, median {median}"
        )?;
        for what in ALL {
            let share = 100.0 * self.share(what);
            write!(f, "{what:?} {share:.1} %, ")?;
        }
        write!(f, "\nresponses: {:?}", self.outcomes)
    }
}

//! Whether everything happens often enough.

/// What happened how often.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) given: u32,
    pub(crate) served: u32,
    pub(crate) foreign: u32,
    pub(crate) deleted: u32,
    pub(crate) forgotten: u32,
    pub(crate) terminated: u32,
    pub(crate) expired: u32,
    pub(crate) cut: u32,
    pub(crate) refused: u32,
    pub(crate) clashes: u32,
    pub(crate) given_up: u32,
}

impl Tally {
    fn all(&self) -> [(&'static str, u32); 11] {
        let Self {
            given,
            served,
            foreign,
            deleted,
            forgotten,
            terminated,
            expired,
            cut,
            refused,
            clashes,
            given_up,
        } = *self;
        [
            ("given", given),
            ("served", served),
            ("foreign", foreign),
            ("deleted", deleted),
            ("forgotten", forgotten),
            ("terminated", terminated),
            ("expired", expired),
            ("cut", cut),
            ("refused", refused),
            ("clashes", clashes),
            ("given_up", given_up),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.given += other.given;
        self.served += other.served;
        self.foreign += other.foreign;
        self.deleted += other.deleted;
        self.forgotten += other.forgotten;
        self.terminated += other.terminated;
        self.expired += other.expired;
        self.cut += other.cut;
        self.refused += other.refused;
        self.clashes += other.clashes;
        self.given_up += other.given_up;
    }

    pub(crate) fn assert_that_all_happens(&self) {
        for (what, count) in self.all() {
            assert!(count >= 10, "too few are {what}: {self:?}");
        }
    }
}

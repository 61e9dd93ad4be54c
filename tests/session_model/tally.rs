//! Whether everything happens often enough.

use std::fmt;

macro_rules! tally {
    ($($name:ident),* $(,)?) => {
        /// What happened how often.
        #[derive(Default)]
        pub(crate) struct Tally {
            pub(crate) histories: u32,
            $(pub(crate) $name: u32,)*
        }

        impl Tally {
            fn all(&self) -> Vec<(&'static str, u32)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            pub(crate) fn add(&mut self, other: &Self) {
                self.histories += other.histories;
                $(self.$name += other.$name;)*
            }
        }
    };
}

tally! {
    // Openings.
    given, refused, clashes, failed, given_up,
    // Requests.
    served, foreign, gone, repeated, batches, responses, stateless, abandoned, missing,
    // Interleavings: answered after the session had ended, or another was asked to end it.
    answered_late, second_deletes, beside_delete,
    // Ends.
    deleted, forgotten, terminated, terminated_busy, told_after_delete, expired, kept_by_stream,
    // Streams.
    streams, cut, resumed, resumed_old, taken_over, cursors_elsewhere, cursors_gone,
}

impl Tally {
    /// Each of these is to be expected in one of a thousand histories, at the very least, and most in
    /// each.
    pub(crate) fn assert_that_all_happens(&self) {
        for (what, count) in self.all() {
            assert!(
                count * 1_000 >= self.histories,
                "too few are {what}: {self:?}"
            );
        }
        assert!(self.served > 2 * self.histories, "{self:?}");
        assert!(self.given > self.histories, "{self:?}");
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        map.entry(&format_args!("histories"), &self.histories);
        for (name, count) in self.all() {
            map.entry(&format_args!("{name}"), &count);
        }
        map.finish()
    }
}

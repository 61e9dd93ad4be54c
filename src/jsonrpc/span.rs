use std::ops::Range;

/// Where something stands in a body. The empty span at 0 stands for nothing.
///
/// Half the size of a `Range<usize>`, because a message carries a dozen of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The longest body that spans can point into.
    pub(super) const MAX: usize = u32::MAX as usize;

    /// Both ends are at most `MAX`, because the body is.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "checked before the scan")]
    pub(super) const fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= Self::MAX);
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    #[inline]
    pub(super) const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Where it is in the body.
    #[cfg(feature = "intercept")]
    #[inline]
    pub(super) const fn range(self) -> Range<usize> {
        Range {
            start: self.start as usize,
            end: self.end as usize,
        }
    }

    /// The bytes, if there are any.
    #[inline]
    pub(super) fn of(self, body: &[u8]) -> Option<&[u8]> {
        if self.is_empty() {
            return None;
        }
        body.get(Range {
            start: self.start as usize,
            end: self.end as usize,
        })
    }
}

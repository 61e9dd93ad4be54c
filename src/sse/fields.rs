use super::line::Field;

/// Where a value lies in its block. No value starts at 0, because its name comes first, so
/// the span at 0 stands for "no such line".
///
/// 32 bits suffice: the decoder's cap is at most `u32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Offsets past `u32::MAX` wrap, but only in a block that the cap refuses.
    #[inline]
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    #[inline]
    pub(super) fn get(self, raw: &[u8]) -> Option<&[u8]> {
        if self.start == 0 {
            return None;
        }
        raw.get(self.start as usize..self.end as usize)
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    /// The start of the line that this value stands in: before it come the name and, if present, a
    /// colon and one space.
    pub(super) fn line_start(self, raw: &[u8], name: &[u8]) -> usize {
        let before = &raw[..self.start as usize];
        let before = before.strip_suffix(b" ").unwrap_or(before);
        let before = before.strip_suffix(b":").unwrap_or(before);
        before.len().saturating_sub(name.len())
    }
}

/// What the lines of a block contain, recorded while they are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// The last id without NUL.
    pub(super) id: Span,
    /// The last event type.
    pub(super) event: Span,
    /// The value of the *first* data line.
    pub(super) data: Span,
    /// The last value that is a number.
    pub(super) retry: Span,
    /// All id lines, ignored ones too.
    pub(super) id_lines: u32,
    pub(super) data_lines: u32,
}

impl Fields {
    pub(super) const NONE: Self = {
        let none = Span { start: 0, end: 0 };
        Self {
            id: none,
            event: none,
            data: none,
            retry: none,
            id_lines: 0,
            data_lines: 0,
        }
    };

    /// Records the line `bytes[start..end]`; `end` is where its terminator starts.
    // Always, so that the fields of an event that lies in one chunk are never in memory before they
    // are returned.
    #[inline(always)]
    pub(super) fn record(&mut self, bytes: &[u8], start: usize, end: usize) {
        let line = &bytes[start..end];
        let (field, value) = Field::parse(line);
        let span = Span::new(start + value, end);
        match field {
            Field::Data => {
                if self.data_lines == 0 {
                    self.data = span;
                }
                self.data_lines = self.data_lines.saturating_add(1);
            }
            Field::Id => {
                self.id_lines = self.id_lines.saturating_add(1);
                // SWF-6, S04: an id with NUL does not count, and does not undo an earlier one.
                if !line[value..].contains(&0) {
                    self.id = span;
                }
            }
            Field::Event => self.event = span,
            Field::Retry => {
                // SWF-7, S07.
                if value < line.len() && line[value..].iter().all(u8::is_ascii_digit) {
                    self.retry = span;
                }
            }
            Field::Comment | Field::Blank | Field::Other => {}
        }
    }
}

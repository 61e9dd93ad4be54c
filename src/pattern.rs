//! Names that a policy is about: of methods, tools, prompts and resources.

/// A text, or what texts begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<str>,
    is_prefix: bool,
}

impl Pattern {
    /// A star at the end stands for anything.
    pub(crate) fn new(text: &str) -> Self {
        let prefix = text.strip_suffix('*');
        Self {
            text: prefix.unwrap_or(text).into(),
            is_prefix: prefix.is_some(),
        }
    }

    /// Whether it stands for every text.
    #[cfg(feature = "intercept")]
    pub(crate) const fn is_any(&self) -> bool {
        self.is_prefix && self.text.is_empty()
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let pattern = self.text.as_bytes();
        if self.is_prefix {
            text.starts_with(pattern)
        } else {
            text == pattern
        }
    }
}

use std::{error::Error, fmt};

/// A list cannot have this entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    kind: ConfigErrorKind,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// Not an origin: `null`, or a scheme, `://` and a host, with a port if it needs one, and
    /// nothing else. There are no wildcards.
    Origin,
    /// Not a host: a name or an address (IPv6 in brackets), with a port if it needs one, and nothing
    /// else. There are no wildcards.
    Host,
}

impl ConfigError {
    pub(super) const fn new(kind: ConfigErrorKind) -> Self {
        Self { kind }
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> ConfigErrorKind {
        self.kind
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ConfigErrorKind::Origin => {
                "an origin is scheme://host or scheme://host:port, without a path or a wildcard"
            }
            ConfigErrorKind::Host => {
                "a host is a name or an address, with or without :port, and no wildcard"
            }
        })
    }
}

impl Error for ConfigError {}

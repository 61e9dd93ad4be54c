use std::{error::Error, fmt};

/// Something that clients are to be told cannot be said, or is not to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    kind: ConfigErrorKind,
}

/// What cannot be said or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// The resource is no absolute `https` URL, or has user information, a query or a fragment
    /// (AUT-11).
    Resource,
    /// An authorization server is no absolute `https` URL, or has user information, a query or a
    /// fragment (AUT-13).
    AuthorizationServer,
    /// No authorization server is named (AUT-3).
    NoAuthorizationServer,
    /// The documentation is no absolute `https` URL.
    Documentation,
    /// The metadata are at no absolute `https` URL, or `http` one of this machine.
    MetadataUrl,
    /// A leeway is longer than a minute (AUT-10).
    Leeway,
}

impl ConfigError {
    pub(super) const fn new(kind: ConfigErrorKind) -> Self {
        Self { kind }
    }

    /// What cannot be said.
    #[must_use]
    pub const fn kind(&self) -> ConfigErrorKind {
        self.kind
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ConfigErrorKind::Resource => {
                "the resource has to be an absolute https URL without query and fragment"
            }
            ConfigErrorKind::AuthorizationServer => {
                "an authorization server has to be an absolute https URL without query and fragment"
            }
            ConfigErrorKind::NoAuthorizationServer => "no authorization server is named",
            ConfigErrorKind::Documentation => {
                "the documentation has to be at an absolute https URL"
            }
            ConfigErrorKind::MetadataUrl => "the metadata have to be at an absolute https URL",
            ConfigErrorKind::Leeway => "the leeway is longer than a minute",
        })
    }
}

impl Error for ConfigError {}

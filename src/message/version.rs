use super::{Classified, Fault, fields::Fields};
use crate::protocol::{Era, ProtocolVersion, is_modern_version};

/// The version header.
#[derive(Clone, Copy)]
pub(super) struct VersionHeader<'a> {
    pub(super) version: Version,
    /// The text, without the white space around it; `None` also if there are several.
    pub(super) text: Option<&'a [u8]>,
    pub(super) fault: Option<Fault>,
}

/// What the version header says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Nothing, or nothing known.
    Unknown,
    /// One of the known revisions with sessions.
    Known(ProtocolVersion),
    /// A date of the stateless era.
    Modern,
}

impl<'a> VersionHeader<'a> {
    #[inline]
    pub(super) fn of(fields: &Fields<'a>) -> Self {
        let unknown = |text, fault| Self {
            version: Version::Unknown,
            text,
            fault,
        };
        let Some(value) = fields.version else {
            return unknown(None, None);
        };
        // Optional white space is no part of a value, and not everything in front of us has cut
        // it off (HDR-3).
        let text = value.as_bytes().trim_ascii();
        if fields.is_version_repeated {
            return unknown(None, Some(Fault::DuplicateVersionHeader));
        }
        let version = match ProtocolVersion::parse(text).map(Era::from) {
            Some(Era::Session(version)) => Version::Known(version),
            Some(Era::Stateless) => Version::Modern,
            None if is_modern_version(text) => Version::Modern,
            None if text.contains(&b',') => {
                return unknown(None, Some(Fault::DuplicateVersionHeader));
            }
            None if !text.iter().all(u8::is_ascii_graphic) => {
                return unknown(Some(text), Some(Fault::InvalidVersionHeader));
            }
            None => Version::Unknown,
        };
        Self {
            version,
            text: Some(text),
            fault: None,
        }
    }

    /// In a session, of the header's revision if it is one.
    pub(super) fn session(&self) -> Classified {
        Classified::fine(Era::Session(match self.version {
            Version::Known(version) => version,
            Version::Unknown | Version::Modern => ProtocolVersion::ASSUMED,
        }))
    }

    /// For want of anything in the body.
    pub(super) fn alone(&self) -> Classified {
        match self.version {
            Version::Modern => Classified::fine(Era::Stateless),
            Version::Known(_) | Version::Unknown => self.session(),
        }
    }
}

use crate::protocol::{Era, ProtocolVersion};

/// Which revisions are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// If not, then no revision with sessions is (ERA-5).
    pub(super) sessions: bool,
    /// `None` lets the upstream judge (VER-2, VER-5).
    pub(super) versions: Option<Versions>,
}

/// A set of known revisions, as bits in the order of [`ProtocolVersion::ALL`]: a layer with a list
/// is as cheap to clone as one without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions(u8);

impl Policy {
    /// Everything, as far as the upstream takes it.
    pub(super) const ANY: Self = Self {
        sessions: true,
        versions: None,
    };

    /// Whether any revision with sessions is served.
    pub(super) fn serves_sessions(self) -> bool {
        let has_session = |versions: Versions| {
            let served = ProtocolVersion::ALL.iter().copied();
            let mut served = served.filter(|version| versions.has(*version));
            served.any(|version| Era::from(version) != Era::Stateless)
        };
        self.sessions && self.versions.is_none_or(has_session)
    }

    /// Whether the revision is served that `text` names.
    pub(super) fn serves(self, text: &[u8]) -> bool {
        self.versions.is_none_or(|versions| {
            ProtocolVersion::parse(text).is_some_and(|version| versions.has(version))
        })
    }

    /// The dates of what is served, newest first; without a list, of all that is known.
    #[cfg(feature = "message")]
    pub(super) fn supported(self) -> Vec<&'static str> {
        let is_served = |version: &ProtocolVersion| {
            (self.sessions || Era::from(*version) == Era::Stateless)
                && self.versions.is_none_or(|versions| versions.has(*version))
        };
        let newest_first = ProtocolVersion::ALL.iter().rev().copied();
        let served = newest_first.filter(is_served);
        served.map(ProtocolVersion::as_str).collect()
    }
}

impl Versions {
    #[cfg(feature = "message")]
    pub(super) const fn of(versions: &[ProtocolVersion]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < versions.len() {
            bits |= Self::bit(versions[index]);
            index += 1;
        }
        Self(bits)
    }

    const fn bit(version: ProtocolVersion) -> u8 {
        1 << version as u8
    }

    const fn has(self, version: ProtocolVersion) -> bool {
        self.0 & Self::bit(version) != 0
    }
}

use http::{HeaderMap, Method};

use super::{
    Fault, mirror,
    policy::Policy,
    version::{Version, VersionHeader},
};
use crate::{
    jsonrpc::{Claim, Envelope, Kind, Peek, PeekError, PeekErrorKind},
    protocol::{Era, ProtocolVersion, is_client_request, is_modern_claim},
};

/// What [`classify`] found out about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// How the request is to be treated, also if it is forwarded despite a fault.
    pub era: Era,
    /// The first rule that the request breaks.
    pub fault: Option<Fault>,
}

/// The most messages in a batch (A47).
const MAX_BATCH: usize = 50;

/// The longest id, as JSON text: whoever waits for its answer has to keep it (A49).
const MAX_ID_BYTES: usize = 1024;

/// The longest method (A56).
const MAX_METHOD_BYTES: usize = 256;

/// Decides a request's era, and finds what is wrong with it.
///
/// The body decides and the header is a cross-check, so that a hop which drops or adds a header
/// cannot turn a request of one era into one of the other (ERA-2). `body` is `None` if it was not
/// read; then there is only the header to go by. What is wrong is looked for in the order of
/// HDR-16: the message's shape, its `_meta`, the version header, and the headers that mirror the
/// body.
///
/// Nothing is allocated, unless a method or a name is written with escapes.
#[must_use]
pub fn classify(
    method: &Method,
    headers: &HeaderMap,
    body: Option<Result<&Peek<'_>, &PeekError>>,
) -> Classified {
    judge(method, headers, body, Policy::ANY)
}

/// [`classify`], where not every revision is served.
pub(super) fn judge(
    method: &Method,
    headers: &HeaderMap,
    body: Option<Result<&Peek<'_>, &PeekError>>,
    policy: Policy,
) -> Classified {
    let head = Head {
        headers,
        version: VersionHeader::of(headers),
        policy,
    };
    match body {
        _ if matches!(*method, Method::GET | Method::DELETE) => head.without_body(),
        Some(Ok(body)) if *method == Method::POST => match body.single() {
            Some(message) => head.single(&message),
            None => head.batch(body),
        },
        Some(Err(error)) if *method == Method::POST => {
            head.version.session().or_fault(|| Some(unread(error)))
        }
        _ => head.version.alone().or_fault(|| head.version.fault),
    }
}

/// The rest of a request.
struct Head<'a> {
    headers: &'a HeaderMap,
    version: VersionHeader<'a>,
    policy: Policy,
}

impl Head<'_> {
    fn without_body(&self) -> Classified {
        let classified = self.version.alone();
        classified.or_fault(|| match classified.era {
            Era::Stateless => Some(Fault::MethodNotAllowed),
            Era::Session(_) if !self.policy.serves_sessions() => Some(Fault::MethodNotAllowed),
            Era::Session(version) => self
                .version
                .fault
                .or_else(|| mirror::duplicate(self.headers))
                .or_else(|| self.unserved(version)),
        })
    }

    fn batch(&self, body: &Peek<'_>) -> Classified {
        let allowed = match self.version.version {
            Version::Modern => None,
            Version::Known(version) => Some(version),
            Version::Unknown => Some(ProtocolVersion::ASSUMED),
        };
        let allowed = allowed.filter(|version| {
            Era::from(*version).allows_batches()
                && self.policy.serves_sessions()
                && self.unserved(*version).is_none()
        });
        let classified = Classified::fine(Era::Session(ProtocolVersion::ASSUMED));
        classified.or_fault(|| {
            match body.envelopes().len() {
                0 => return Some(Fault::EmptyBatch),
                _ if allowed.is_none() => return Some(Fault::BatchNotAllowed),
                1..=MAX_BATCH => {}
                _ => return Some(Fault::BatchTooLong),
            }
            elements(body)
                .or(self.version.fault)
                .or_else(|| mirror::duplicate(self.headers))
                .or_else(|| mirror::unmirrored(self.headers))
        })
    }

    fn single(&self, message: &Envelope<'_>) -> Classified {
        let claim = message.claim();
        let classified = self.era_of(message, &claim);
        // A message that is none says more than a bad header does.
        let malformed = malformed(message);
        if malformed.is_some() {
            return Classified {
                fault: malformed,
                ..classified
            };
        }
        classified.or_fault(|| match classified.era {
            Era::Stateless => self.stateless(message, &claim),
            Era::Session(version) => self.in_session(message, &claim, version),
        })
    }

    /// The table of the requirements, section 1.5.
    fn era_of(&self, message: &Envelope<'_>, claim: &Claim<'_>) -> Classified {
        let stateless = Classified::fine(Era::Stateless);
        let header = &self.version;
        match (message.kind(), claim, header.version) {
            (Kind::Response, _, Version::Modern) => header.session().but(Fault::ResponseNotAllowed),
            (Kind::Response, ..) => header.session(),
            (_, Claim::NotAString, _) => stateless.but(Fault::MissingMeta),
            (_, claim @ Claim::Version(_), _) if is_modern(claim) => stateless,
            (_, Claim::Version(_), _) => header.session(),
            (_, Claim::Absent, _) if is_initialize(message) => self.initialize(message),
            (Kind::Request, Claim::Absent, Version::Modern) => stateless.but(Fault::MissingMeta),
            (_, Claim::Absent, _) => header.alone(),
        }
    }

    fn initialize(&self, message: &Envelope<'_>) -> Classified {
        let header = &self.version;
        let asked = message.handshake_version();
        let asked = asked.and_then(|version| ProtocolVersion::parse(version.as_bytes()));
        match (asked.map(Era::from), header.version) {
            // A notification cannot open anything: it is whatever its header says.
            _ if message.kind() != Kind::Request => header.alone(),
            (Some(era @ Era::Session(_)), Version::Modern) => {
                Classified::fine(era).but(Fault::InitializeHeaderMismatch)
            }
            (_, Version::Modern) => header.session().but(Fault::InitializeHeaderMismatch),
            (Some(era @ Era::Session(_)), _) => Classified::fine(era),
            _ => header.session(),
        }
    }

    /// What is wrong with a well-formed message of the stateless era.
    fn stateless(&self, message: &Envelope<'_>, claim: &Claim<'_>) -> Option<Fault> {
        // Of a notification the revision requires neither the header nor a claim (AMB-29).
        let is_request = message.kind() == Kind::Request;
        let capabilities = message.client_capabilities_raw();
        if is_request && !capabilities.is_some_and(|text| text.starts_with('{')) {
            return Some(Fault::MissingMeta);
        }
        if self.version.fault.is_some() {
            return self.version.fault;
        }
        let version = match (claim, self.version.text) {
            (Claim::Version(claim), None) if !is_request => claim.as_bytes(),
            (Claim::Version(claim), Some(header)) if claim.as_bytes() == header => header,
            (Claim::Absent, Some(header)) => header,
            _ => return Some(Fault::VersionMismatch),
        };
        if !self.policy.serves(version) {
            return Some(Fault::UnsupportedVersion);
        }
        mirror::duplicate(self.headers)
            .or_else(|| mirror::disagreement(self.headers, message, is_request))
    }

    /// What is wrong with a well-formed message of a session.
    fn in_session(
        &self,
        message: &Envelope<'_>,
        claim: &Claim<'_>,
        version: ProtocolVersion,
    ) -> Option<Fault> {
        if self.version.fault.is_some() {
            return self.version.fault;
        }
        let has_claim = *claim != Claim::Absent;
        if has_claim && self.version.version == Version::Modern {
            return Some(Fault::VersionMismatch);
        }
        if !self.policy.serves_sessions() {
            return Some(if message.kind() == Kind::Response {
                Fault::ResponseNotAllowed
            } else if has_claim || self.version.text.is_some() || is_initialize(message) {
                Fault::SessionsNotServed
            } else {
                Fault::VersionMismatch
            });
        }
        // The version that an `initialize` asks for is negotiated: the server may offer another.
        let unserved = if is_initialize(message) {
            None
        } else {
            self.unserved(version)
        };
        unserved
            .or_else(|| mirror::duplicate(self.headers))
            .or_else(|| mirror::disagreement(self.headers, message, false))
    }

    /// The fault of a session's revision that is not served: of the header's, even where nobody
    /// knows it, or else of the one that is assumed.
    fn unserved(&self, version: ProtocolVersion) -> Option<Fault> {
        let text = self.version.text.unwrap_or(version.as_str().as_bytes());
        (!self.policy.serves(text)).then_some(Fault::UnsupportedVersion)
    }
}

/// What is wrong with a body that could not be read.
fn unread(error: &PeekError) -> Fault {
    match error.kind() {
        PeekErrorKind::TooManyMessages => Fault::BatchTooLong,
        _ => Fault::NotJson,
    }
}

/// What is wrong with the messages of a batch.
fn elements(body: &Peek<'_>) -> Option<Fault> {
    for (index, message) in body.envelopes().enumerate() {
        if is_modern(&message.claim()) {
            return Some(Fault::BatchNotAllowed);
        }
        if is_initialize(&message) {
            return Some(Fault::InitializeInBatch);
        }
        if let Some(fault) = malformed(&message) {
            return Some(fault);
        }
        // The ids of requests and those of responses are two sets (JRP-9).
        let mut before = body.envelopes().take(index);
        if before.any(|other| other.kind() == message.kind() && other.has_id_of(&message)) {
            return Some(Fault::DuplicateId);
        }
    }
    None
}

/// What is wrong with a message in any era.
fn malformed(message: &Envelope<'_>) -> Option<Fault> {
    if message.kind() == Kind::Invalid || !message.is_jsonrpc_2() {
        return Some(Fault::InvalidMessage);
    }
    if let Some(key) = message.duplicate() {
        return Some(Fault::DuplicateKey(key));
    }
    if message.id_raw().is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Some(Fault::IdTooLong);
    }
    let method = message.method()?;
    if !is_usable(&method) {
        return Some(Fault::InvalidMethod);
    }
    let is_notification = message.kind() == Kind::Notification;
    (is_notification && is_client_request(&method)).then_some(Fault::MissingId)
}

fn is_usable(method: &str) -> bool {
    (1..=MAX_METHOD_BYTES).contains(&method.len())
        && !method.starts_with("rpc.")
        && !method.chars().any(char::is_control)
}

fn is_initialize(message: &Envelope<'_>) -> bool {
    message.method().as_deref() == Some("initialize")
}

fn is_modern(claim: &Claim<'_>) -> bool {
    match claim {
        Claim::Absent => false,
        Claim::Version(version) => is_modern_claim(version.as_bytes()),
        Claim::NotAString => true,
    }
}

impl Classified {
    pub(super) const fn fine(era: Era) -> Self {
        Self { era, fault: None }
    }

    const fn but(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }

    /// Looks for a fault, if there is none yet.
    fn or_fault(self, look: impl FnOnce() -> Option<Fault>) -> Self {
        Self {
            fault: self.fault.or_else(look),
            ..self
        }
    }
}

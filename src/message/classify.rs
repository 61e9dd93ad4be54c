use std::borrow::Cow;

use http::{HeaderMap, Method};

use super::{
    Fault,
    fields::Fields,
    mirror,
    policy::Policy,
    version::{Version, VersionHeader},
};
use crate::{
    jsonrpc::{Envelope, Kind, Peek, PeekError, PeekErrorKind},
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
    let fields = Fields::of(headers);
    let head = Head {
        version: VersionHeader::of(&fields),
        fields: &fields,
        policy,
    };
    match body {
        _ if matches!(*method, Method::GET | Method::DELETE) => head.without_body(),
        Some(Ok(body)) if *method == Method::POST => match body.as_single() {
            Some(message) => head.single(&Read::new(message)),
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
    fields: &'a Fields<'a>,
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
                .or(self.fields.repeated)
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
                .or(self.fields.repeated)
                .or_else(|| mirror::unmirrored(self.fields))
        })
    }

    #[inline]
    fn single(&self, message: &Read<'_, '_>) -> Classified {
        let classified = self.era_of(message);
        // A message that is none says more than a bad header does.
        if let Some(fault) = message.malformed() {
            return classified.but(fault);
        }
        classified.or_fault(|| match classified.era {
            Era::Stateless => self.stateless(message),
            Era::Session(version) => self.in_session(message, version),
        })
    }

    /// The table of the requirements, section 1.5.
    #[inline]
    fn era_of(&self, message: &Read<'_, '_>) -> Classified {
        let stateless = Classified::fine(Era::Stateless);
        let header = &self.version;
        let is_modern = header.version == Version::Modern;
        match message.kind {
            Kind::Response if is_modern => header.session().but(Fault::ResponseNotAllowed),
            Kind::Response => header.session(),
            _ if message.has_claim && message.claim.is_none() => stateless.but(Fault::MissingMeta),
            _ if message.is_modern() => stateless,
            _ if message.has_claim => header.session(),
            _ if message.is_initialize() => self.initialize(message),
            Kind::Request if is_modern => stateless.but(Fault::MissingMeta),
            _ => header.alone(),
        }
    }

    fn initialize(&self, message: &Read<'_, '_>) -> Classified {
        let header = &self.version;
        let asked = message.envelope.handshake_version();
        let asked = asked.and_then(|version| ProtocolVersion::parse(version.as_bytes()));
        match (asked.map(Era::from), header.version) {
            // A notification cannot open anything: it is whatever its header says.
            _ if message.kind != Kind::Request => header.alone(),
            (Some(era @ Era::Session(_)), Version::Modern) => {
                Classified::fine(era).but(Fault::InitializeHeaderMismatch)
            }
            (_, Version::Modern) => header.session().but(Fault::InitializeHeaderMismatch),
            (Some(era @ Era::Session(_)), _) => Classified::fine(era),
            _ => header.session(),
        }
    }

    /// What is wrong with a well-formed message of the stateless era.
    #[inline]
    fn stateless(&self, message: &Read<'_, '_>) -> Option<Fault> {
        // Of a notification the revision requires neither the header nor a claim (AMB-29).
        let is_request = message.kind == Kind::Request;
        if is_request && !message.envelope.has_client_capabilities() {
            return Some(Fault::MissingMeta);
        }
        if self.version.fault.is_some() {
            return self.version.fault;
        }
        let claim = message.claim.as_deref();
        let version = match self.version.text {
            None if is_request => None,
            None => claim,
            Some(header) => Some(header).filter(|_| claim.is_none_or(|claim| claim == header)),
        };
        let Some(version) = version else {
            return Some(Fault::VersionMismatch);
        };
        if !self.policy.serves(version) {
            return Some(Fault::UnsupportedVersion);
        }
        self.fields
            .repeated
            .or_else(|| self.disagreement(message, is_request))
    }

    /// What is wrong with a well-formed message of a session.
    fn in_session(&self, message: &Read<'_, '_>, version: ProtocolVersion) -> Option<Fault> {
        if self.version.fault.is_some() {
            return self.version.fault;
        }
        if message.has_claim && self.version.version == Version::Modern {
            return Some(Fault::VersionMismatch);
        }
        if !self.policy.serves_sessions() {
            return Some(if message.kind == Kind::Response {
                Fault::ResponseNotAllowed
            } else if message.has_claim || self.version.text.is_some() || message.is_initialize() {
                Fault::SessionsNotServed
            } else {
                Fault::VersionMismatch
            });
        }
        // The version that an `initialize` asks for is negotiated: the server may offer another.
        let unserved = if message.is_initialize() {
            None
        } else {
            self.unserved(version)
        };
        unserved
            .or(self.fields.repeated)
            .or_else(|| self.disagreement(message, false))
    }

    #[inline]
    fn disagreement(&self, message: &Read<'_, '_>, is_required: bool) -> Option<Fault> {
        let method = message.method.as_deref();
        mirror::disagreement(self.fields, message.envelope, method, is_required)
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
    for (index, envelope) in body.envelopes().enumerate() {
        let message = Read::new(&envelope);
        if message.is_modern() {
            return Some(Fault::BatchNotAllowed);
        }
        if message.is_initialize() {
            return Some(Fault::InitializeInBatch);
        }
        if let Some(fault) = message.malformed() {
            return Some(fault);
        }
        // The ids of requests and those of responses are two sets (JRP-9).
        let mut before = body.envelopes().take(index);
        if before.any(|other| other.kind() == message.kind && other.has_id_of(&envelope)) {
            return Some(Fault::DuplicateId);
        }
    }
    None
}

/// A message, and what of it is looked at more than once.
struct Read<'m, 'a> {
    envelope: &'m Envelope<'a>,
    kind: Kind,
    has_claim: bool,
    /// What the claim says; `None` also if it is no string.
    claim: Option<Cow<'a, [u8]>>,
    method: Option<Cow<'a, [u8]>>,
}

impl<'m, 'a> Read<'m, 'a> {
    #[inline]
    fn new(envelope: &'m Envelope<'a>) -> Self {
        let (has_claim, claim) = envelope.claim_bytes();
        Self {
            envelope,
            kind: envelope.kind(),
            has_claim,
            claim,
            method: envelope.method_bytes(),
        }
    }

    #[inline]
    fn is_initialize(&self) -> bool {
        self.method.as_deref() == Some(b"initialize")
    }

    #[inline]
    fn is_modern(&self) -> bool {
        match &self.claim {
            Some(claim) => is_modern_claim(claim),
            None => self.has_claim,
        }
    }

    /// What is wrong with it in any era.
    #[inline]
    fn malformed(&self) -> Option<Fault> {
        if self.kind == Kind::Invalid || !self.envelope.is_jsonrpc_2() {
            return Some(Fault::InvalidMessage);
        }
        if let Some(key) = self.envelope.duplicate() {
            return Some(Fault::DuplicateKey(key));
        }
        if let Some(key) = self.envelope.ambiguous() {
            return Some(Fault::AmbiguousKey(key));
        }
        if self.envelope.id_len() > MAX_ID_BYTES {
            return Some(Fault::IdTooLong);
        }
        let method = self.method.as_deref()?;
        if !is_usable(method) {
            return Some(Fault::InvalidMethod);
        }
        let is_notification = self.kind == Kind::Notification;
        (is_notification && is_client_request(method)).then_some(Fault::MissingId)
    }
}

#[inline]
fn is_usable(method: &[u8]) -> bool {
    let is_visible = method.iter().all(|byte| matches!(byte, b' '..=b'~'))
        || str::from_utf8(method).is_ok_and(|text| !text.chars().any(char::is_control));
    (1..=MAX_METHOD_BYTES).contains(&method.len()) && !method.starts_with(b"rpc.") && is_visible
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

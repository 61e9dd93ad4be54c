use http::{HeaderMap, Method, StatusCode};

use crate::{
    header::MCP_PROTOCOL_VERSION,
    jsonrpc::{Claim, Envelope, Kind, Peek, PeekError, code},
    protocol::{Era, ProtocolVersion, is_modern_claim, is_modern_version},
};

/// What [`classify`] found out about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// How the request is to be treated, also if it is forwarded despite a fault.
    pub era: Era,
    /// The first rule that the request breaks.
    pub fault: Option<Fault>,
}

/// A reason to refuse a request.
///
/// A request with a fault still has an era, the one in which forwarding it does no harm. Either
/// its body or its method makes it a stateless request, and then session headers mean nothing and
/// are stripped (ERA-3); or it is treated as part of a session, and then the session's owner is
/// checked. What the era of each is, is said with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The version header came more than once, or as a list that joins several (AMB-31). It then
    /// counts as absent, and the body decides.
    DuplicateVersionHeader,
    /// The version header has bytes that no version has (HDR-6). It counts as unknown.
    InvalidVersionHeader,
    /// The body is not JSON (A40 to A43), or has more levels or messages than are read. In a
    /// session, whatever the header says.
    NotJson,
    /// The body is JSON, but no JSON-RPC 2.0 message (JRP-1, A48). Of the era that its claim makes
    /// it, or else the header.
    InvalidMessage,
    /// A key that decides something came twice (JRP-10). Of the era that the last one makes it.
    DuplicateKey(&'static str),
    /// The body is an empty array. In a session.
    EmptyBatch,
    /// The body is an array, and the header's revision, or a message's claim, is one without
    /// batches (JRP-7). In a session, since only sessions ever had them.
    BatchNotAllowed,
    /// An `initialize` within a batch (JRP-6). In a session.
    InitializeInBatch,
    /// A response, with a modern version header (JRP-8). In a session: that is where a server
    /// that takes it would look for its request.
    ResponseNotAllowed,
    /// A request with a modern version header and no claim in its body, or none that is a string
    /// (VER-6). Stateless.
    MissingMeta,
    /// An `initialize` with a modern version header and no claim (AMB-1). In a session: should a
    /// server answer it with one, then somebody has to own it.
    InitializeHeaderMismatch,
    /// GET or DELETE with a modern version header (AMB-33). Stateless.
    MethodNotAllowed,
}

impl Fault {
    /// The HTTP status of the refusal.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The JSON-RPC code of the refusal to a request of that era.
    ///
    /// `None` where revisions with sessions have no code for it and want a plain 400.
    #[must_use]
    pub const fn code(self, era: Era) -> Option<i32> {
        Some(match self {
            Self::NotJson => code::PARSE_ERROR,
            Self::DuplicateVersionHeader | Self::InvalidVersionHeader => match era {
                Era::Stateless => code::HEADER_MISMATCH,
                Era::Session(_) => return None,
            },
            Self::InitializeHeaderMismatch => code::HEADER_MISMATCH,
            Self::MissingMeta => code::INVALID_PARAMS,
            Self::InvalidMessage
            | Self::DuplicateKey(_)
            | Self::EmptyBatch
            | Self::BatchNotAllowed
            | Self::InitializeInBatch
            | Self::ResponseNotAllowed
            | Self::MethodNotAllowed => code::INVALID_REQUEST,
        })
    }
}

/// Decides a request's era, and finds what is wrong with it.
///
/// The body decides and the header is a cross-check, so that a hop which drops or adds a header
/// cannot turn a request of one era into one of the other (ERA-2). `body` is `None` if it was not
/// read; then there is only the header to go by.
#[must_use]
pub fn classify(
    method: &Method,
    headers: &HeaderMap,
    body: Option<Result<&Peek<'_>, &PeekError>>,
) -> Classified {
    let (header, header_fault) = Version::of(headers);
    let mut classified = match body {
        _ if matches!(*method, Method::GET | Method::DELETE) => dead_if_modern(header),
        Some(Ok(body)) if *method == Method::POST => post(body, header),
        Some(Err(_)) if *method == Method::POST => header.session().but(Fault::NotJson),
        _ => header.alone(),
    };
    // An unreadable body, or a message that is none, says more than a bad header does.
    classified.fault = classified.fault.or(header_fault);
    classified
}

fn dead_if_modern(header: Version) -> Classified {
    match header {
        Version::Modern => header.alone().but(Fault::MethodNotAllowed),
        _ => header.alone(),
    }
}

fn post(body: &Peek<'_>, header: Version) -> Classified {
    match body.single() {
        Some(message) => single(&message, header),
        None => batch(body, header),
    }
}

fn batch(body: &Peek<'_>, header: Version) -> Classified {
    let assumed = Era::Session(ProtocolVersion::ASSUMED);
    let allowed = match header {
        Version::Modern => false,
        Version::Known(version) => Era::from(version).allows_batches(),
        Version::Unknown => true,
    };
    let mut fault = match body.envelopes().len() {
        0 => Some(Fault::EmptyBatch),
        _ if !allowed => Some(Fault::BatchNotAllowed),
        _ => None,
    };
    if fault.is_none() {
        fault = body.envelopes().find_map(|message| {
            if is_modern(&message.claim()) {
                Some(Fault::BatchNotAllowed)
            } else if message.method().as_deref() == Some("initialize") {
                Some(Fault::InitializeInBatch)
            } else {
                malformed(&message)
            }
        });
    }
    Classified {
        era: assumed,
        fault,
    }
}

fn single(message: &Envelope<'_>, header: Version) -> Classified {
    let by_rules = match (message.kind(), message.claim(), header) {
        (Kind::Response, _, Version::Modern) => header.session().but(Fault::ResponseNotAllowed),
        (Kind::Response, ..) => header.session(),
        (_, Claim::NotAString, _) => stateless().but(Fault::MissingMeta),
        (_, claim @ Claim::Version(_), _) if is_modern(&claim) => stateless(),
        (_, Claim::Version(_), _) => header.session(),
        (_, Claim::Absent, _) if message.method().as_deref() == Some("initialize") => {
            initialize(message, header)
        }
        (Kind::Request, Claim::Absent, Version::Modern) => stateless().but(Fault::MissingMeta),
        (_, Claim::Absent, _) => header.alone(),
    };
    match malformed(message) {
        Some(fault) => by_rules.but(fault),
        None => by_rules,
    }
}

fn initialize(message: &Envelope<'_>, header: Version) -> Classified {
    let asked = message.handshake_version();
    let asked = asked.and_then(|version| ProtocolVersion::parse(version.as_bytes()));
    match (asked.map(Era::from), header) {
        // A notification cannot open anything: it is whatever its header says.
        _ if message.kind() != Kind::Request => header.alone(),
        (Some(era @ Era::Session(_)), Version::Modern) => {
            fine(era).but(Fault::InitializeHeaderMismatch)
        }
        (_, Version::Modern) => header.session().but(Fault::InitializeHeaderMismatch),
        (Some(era @ Era::Session(_)), _) => fine(era),
        _ => header.session(),
    }
}

/// What is wrong with a message in any era.
fn malformed(message: &Envelope<'_>) -> Option<Fault> {
    if message.kind() == Kind::Invalid || !message.is_jsonrpc_2() {
        return Some(Fault::InvalidMessage);
    }
    message.duplicate().map(Fault::DuplicateKey)
}

fn is_modern(claim: &Claim<'_>) -> bool {
    match claim {
        Claim::Absent => false,
        Claim::Version(version) => is_modern_claim(version.as_bytes()),
        Claim::NotAString => true,
    }
}

/// What the version header says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Nothing, or nothing known.
    Unknown,
    /// One of the known revisions with sessions.
    Known(ProtocolVersion),
    /// A date of the stateless era.
    Modern,
}

impl Version {
    fn of(headers: &HeaderMap) -> (Self, Option<Fault>) {
        let mut values = headers.get_all(MCP_PROTOCOL_VERSION).iter();
        let Some(value) = values.next() else {
            return (Self::Unknown, None);
        };
        // Optional white space is no part of a value, and not everything in front of us has cut
        // it off (HDR-3).
        let value = value.as_bytes().trim_ascii();
        if values.next().is_some() || value.contains(&b',') {
            return (Self::Unknown, Some(Fault::DuplicateVersionHeader));
        }
        if !value.iter().all(u8::is_ascii_graphic) {
            return (Self::Unknown, Some(Fault::InvalidVersionHeader));
        }
        let version = match ProtocolVersion::parse(value).map(Era::from) {
            Some(Era::Session(version)) => Self::Known(version),
            _ if is_modern_version(value) => Self::Modern,
            _ => Self::Unknown,
        };
        (version, None)
    }

    /// In a session, of the header's revision if it is one.
    fn session(self) -> Classified {
        fine(Era::Session(match self {
            Self::Known(version) => version,
            Self::Unknown | Self::Modern => ProtocolVersion::ASSUMED,
        }))
    }

    /// For want of anything in the body.
    fn alone(self) -> Classified {
        match self {
            Self::Modern => stateless(),
            Self::Known(_) | Self::Unknown => self.session(),
        }
    }
}

impl Classified {
    fn but(self, fault: Fault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }
}

const fn fine(era: Era) -> Classified {
    Classified { era, fault: None }
}

const fn stateless() -> Classified {
    fine(Era::Stateless)
}

//! What becomes of a request whose body was read, or has none.

use http::{HeaderValue, Method, header::ALLOW, request::Parts};

use super::{Fault, Message, classify::judge, policy::Policy};
use crate::{
    header::{LAST_EVENT_ID, MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    jsonrpc::{Claim, Envelope, ErrorObject, code},
    protocol::Era,
    refusal::{Recipient, Refusal},
};

/// A refusal, and to whom. Boxed, because few requests are refused, and all keep the place.
pub(super) type Refused = Box<(Refusal, Recipient)>;

/// Judges a request, and tells the layers inside which era it is of.
///
/// # Errors
///
/// If it has a fault.
pub(super) fn admit(
    parts: &mut Parts,
    message: Option<&Message>,
    policy: Policy,
) -> Result<Era, Refused> {
    let peek = message.map(Message::peek);
    let body = peek.as_ref().map(|peek| peek.as_ref().map_err(|e| *e));
    let classified = judge(&parts.method, &parts.headers, body, policy);
    if let Some(fault) = classified.fault {
        tracing::debug!(?fault, "refusing a request");
        return Err(refused(fault, classified.era, parts, message, policy));
    }
    if classified.era == Era::Stateless {
        // They mean nothing there; but a server that goes by them first would take the request for
        // part of a session whose owner nobody has checked (ERA-3, AMB-2).
        parts.headers.remove(MCP_SESSION_ID);
        parts.headers.remove(LAST_EVENT_ID);
    }
    Ok(classified.era)
}

fn refused(
    fault: Fault,
    era: Era,
    parts: &Parts,
    message: Option<&Message>,
    policy: Policy,
) -> Refused {
    let code = fault.code(era);
    let mut error = match message.map(Message::peek) {
        // Where in the body, and why.
        Some(Err(error)) => ErrorObject::new(code, error.to_string()),
        _ => ErrorObject::new(code, fault.to_string()),
    };
    if code == code::UNSUPPORTED_PROTOCOL_VERSION {
        error = error
            .add_texts("supported", &policy.supported())
            .add_text("requested", &requested(parts, message));
    }
    let mut refusal = Refusal::new(fault.status(), error);
    if fault == Fault::MethodNotAllowed {
        refusal = refusal.with_header(ALLOW, HeaderValue::from_static(Method::POST.as_str()));
    }
    let recipient = match fault {
        // Not a message of the revision, so nothing in it is one with an id.
        Fault::EmptyBatch | Fault::BatchTooLong | Fault::BatchNotAllowed => Recipient::default(),
        _ => Recipient::from(message),
    };
    Box::new((refusal, recipient))
}

/// The longest version that is repeated to who asked for it, in characters: no date is as long.
const MAX_REQUESTED: usize = 64;

/// The version that a request follows, as it says itself; empty if it does not.
fn requested(parts: &Parts, message: Option<&Message>) -> String {
    let peek = message.and_then(|message| message.peek().ok());
    let said = peek.and_then(|peek| said(&peek.single()?));
    let header = || {
        let header = parts.headers.get(MCP_PROTOCOL_VERSION)?.to_str().ok()?;
        Some(header.trim().to_owned())
    };
    let requested = said.or_else(header).unwrap_or_default();
    requested.chars().take(MAX_REQUESTED).collect()
}

fn said(message: &Envelope<'_>) -> Option<String> {
    match message.claim() {
        Claim::Version(claim) => Some(claim.into_owned()),
        Claim::Absent | Claim::NotAString => Some(message.handshake_version()?.into_owned()),
    }
}

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG},
};
use http_body::Body;

use super::{
    Links, ResponseBody, begin::Watch, context::Exchange, framing::Framing, inspect::Inspector,
    interest::Sorts, layer::Shared, values::Values,
};
use crate::{
    BoxError,
    header::is_of_type,
    jsonrpc::{ErrorObject, code},
    refusal::{Recipient, Refusal},
    sse::Decoder,
};

/// What clients take a body for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Events,
    Json,
    Other,
    /// For events or for something else.
    Unclear,
}

const EVENTS: &[u8] = b"text/event-stream";
const JSON: &[u8] = b"application/json";

/// Has a response inspected on its way, if it may hold messages.
pub(super) fn respond<B, L>(
    response: Response<B>,
    watch: Option<Box<Watch<L>>>,
) -> Response<ResponseBody<B>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    L: Links,
{
    let body = response.body();
    let is_empty = body.is_end_stream() || body.size_hint().exact() == Some(0);
    let Some(watch) = watch.filter(|_| !is_empty) else {
        return response.map(ResponseBody::passing);
    };
    let Watch {
        shared,
        exchange,
        wants,
    } = *watch;
    let max = shared.config.max_message_bytes;
    let headers = response.headers();
    let media = if shared.config.refuses_unreadable && has_several_types(headers) {
        Media::Unclear
    } else {
        Media::of(headers)
    };
    let (framing, sorts) = match media {
        Media::Events => (
            Framing::Events(Decoder::with_max_event_bytes(max)),
            wants.in_events,
        ),
        Media::Json => (Framing::Values(Values::new(max)), wants.in_replies),
        Media::Other if !shared.config.refuses_unreadable => (Framing::Nothing, Sorts::NONE),
        // Many servers do not say how long nothing is, but of nothing nobody says what it is.
        Media::Other if !headers.contains_key(CONTENT_TYPE) => (Framing::Nothing, wants.in_replies),
        Media::Other if wants.in_replies == Sorts::NONE => (Framing::Nothing, Sorts::NONE),
        Media::Other | Media::Unclear => return refuse(&shared, &exchange),
    };
    if sorts == Sorts::NONE {
        return response.map(ResponseBody::passing);
    }
    if !is_identity(headers) {
        return refuse(&shared, &exchange);
    }
    let (mut parts, body) = response.into_parts();
    // It may change, and hyper tells how long a body is by itself.
    parts.headers.remove(CONTENT_LENGTH);
    forget_validators(&mut parts.headers);
    let inspect = Box::pin(Inspector::new(shared, exchange, sorts, framing));
    Response::from_parts(parts, ResponseBody::inspected(body, inspect))
}

/// Answers in place of what nobody can look at.
#[cold]
fn refuse<B, L>(shared: &Shared<L>, exchange: &Exchange) -> Response<ResponseBody<B>> {
    shared.state.note_refused();
    let error = ErrorObject::new(code::INTERNAL_ERROR, "the response cannot be inspected");
    Refusal::new(StatusCode::BAD_GATEWAY, error)
        .into_bytes(&Recipient::from(exchange.body()))
        .map(ResponseBody::fixed)
}

/// Removes what tells of a body that may change (RFC 9110 §8.8.3, RFC 9530).
pub(super) fn forget_validators(headers: &mut HeaderMap) {
    const DIGESTS: [HeaderName; 4] = [
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("content-md5"),
    ];
    headers.remove(ETAG);
    for name in &DIGESTS {
        headers.remove(name);
    }
}

impl Media {
    /// Some clients look for a type anywhere in what may be several fields, and for events first.
    fn of(headers: &HeaderMap) -> Self {
        let kinds = || headers.get_all(CONTENT_TYPE).iter();
        let any_says = |media: &[u8]| {
            kinds().any(|kind| {
                let mut parts = kind.as_bytes().windows(media.len());
                parts.any(|part| part.eq_ignore_ascii_case(media))
            })
        };
        let are_events = || kinds().all(|kind| is_of_type(kind.as_bytes(), EVENTS));
        match (any_says(EVENTS), any_says(JSON)) {
            (false, false) => Self::Other,
            (false, true) => Self::Json,
            (true, false) if are_events() => Self::Events,
            (true, _) => Self::Unclear,
        }
    }
}

fn has_several_types(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().nth(1).is_some()
}

fn is_identity(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    codings.all(|coding| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().copied().map(HeaderValue::from_static);
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn media_are_what_a_client_may_take_them_for() {
        use Media::{Events, Json, Other, Unclear};
        for (values, expected) in [
            (&["text/event-stream"][..], Events),
            (&["Text/Event-Stream ;charset=utf-8"], Events),
            (&["text/event-stream", "text/event-stream"], Events),
            (&["application/json"], Json),
            (&["Application/JSON; charset=utf-8"], Json),
            (&["application/json-rpc"], Json),
            (&["text/plain, application/json"], Json),
            (&["text/plain", "application/json"], Json),
            (&["text/plain, text/event-stream"], Unclear),
            (&["text/plain", "text/event-stream"], Unclear),
            (&["application/json;x=text/event-stream"], Unclear),
            (&["application/json", "text/event-stream"], Unclear),
            (&["text/event-streams"], Unclear),
            (&["text/plain"], Other),
            (&["application/x-ndjson"], Other),
            (&[""], Other),
            (&[], Other),
        ] {
            assert_eq!(
                Media::of(&headers(&CONTENT_TYPE, values)),
                expected,
                "{values:?}"
            );
        }
        assert!(has_several_types(&headers(&CONTENT_TYPE, &["a/b", "a/b"])));
        assert!(!has_several_types(&headers(&CONTENT_TYPE, &["a/b"])));
    }

    #[test]
    fn only_identity_is_not_compressed() {
        for (values, expected) in [
            (&[][..], true),
            (&["identity"], true),
            (&["Identity", " identity , "], true),
            (&["gzip"], false),
            (&["identity, br"], false),
            (&["identity", "x"], false),
        ] {
            assert_eq!(
                is_identity(&headers(&CONTENT_ENCODING, values)),
                expected,
                "{values:?}"
            );
        }
    }
}

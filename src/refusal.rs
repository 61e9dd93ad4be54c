//! An answer given instead of calling the inner service.
//!
//! A layer never changes the error type of what it wraps: it answers. A [`Refusal`] is that
//! answer: a status, header fields if it needs any, and a JSON-RPC error that a client of any
//! protocol revision understands (PRX-12), carrying the request's `id` when that was readable
//! (JRP-5).
//!
//! ```
//! use bytes::Bytes;
//! use http::StatusCode;
//! use http_body_util::{BodyExt, Empty};
//! use shadowcat::{jsonrpc::ErrorObject, refusal::{Recipient, Refusal}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let refusal = Refusal::new(
//!     StatusCode::PAYLOAD_TOO_LARGE,
//!     ErrorObject::new(-31413, "the request body is larger than 4 MiB"),
//! );
//! let response = refusal.into_response::<Empty<Bytes>>(&Recipient::default());
//!
//! assert_eq!(response.status(), 413);
//! assert_eq!(response.headers()["content-type"], "application/json");
//! let body = response.into_body().collect().await.unwrap().to_bytes();
//! assert!(body.starts_with(br#"{"jsonrpc":"2.0","error":{"code":-31413,"#));
//! # }
//! ```

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};

use crate::{
    body::ResponseBody,
    jsonrpc::{ErrorObject, Kind, Peek, RequestId},
    message::Message,
};

/// A status, header fields and a JSON-RPC error.
///
/// See the [module docs](crate::refusal).
#[derive(Clone, Debug)]
#[must_use = "a refusal does nothing until it is made a response"]
pub struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    error: ErrorObject,
}

/// Left in the extensions of a refusing response, so that an outer layer can log or count *why*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    code: i32,
}

impl Refused {
    #[cfg(feature = "intercept")]
    pub(crate) const fn new(code: i32) -> Self {
        Self { code }
    }

    /// The JSON-RPC error code that went with the refusal.
    #[must_use]
    pub const fn code(&self) -> i32 {
        self.code
    }
}

impl Refusal {
    /// Refuses with `status`, and with `error` where the client can read one.
    pub fn new(status: StatusCode, error: ErrorObject) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            error,
        }
    }

    /// Sends a header field along, in place of any of that name.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The status it answers with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The error it answers with.
    pub const fn error(&self) -> &ErrorObject {
        &self.error
    }

    /// The response to whoever sent what is refused.
    #[must_use]
    pub fn into_response<B>(self, recipient: &Recipient) -> Response<ResponseBody<B>> {
        self.into_bytes(recipient).map(ResponseBody::fixed)
    }

    /// The same, for who still looks at it.
    pub(crate) fn into_bytes(self, recipient: &Recipient) -> Response<Bytes> {
        let Self {
            status,
            headers,
            error,
        } = self;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
            .extensions_mut()
            .insert(Refused { code: error.code() });
        if let Some(body) = recipient.answer(&error) {
            *response.body_mut() = body;
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // What a client sent can stand in the body: it must not be sniffed as HTML (B49).
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        response
    }
}

/// To whom a refusal answers: the ids of the requests in a message, without the message.
///
/// A [`ReverseProxy`](crate::proxy::ReverseProxy) leaves one in the extensions of a 401 that it relays,
/// for whoever outside refuses in its place.
///
/// | made from | body of the refusal |
/// |---|---|
/// | a request | the error, with the request's `id` |
/// | a batch | an array of errors, one per request in it |
/// | notifications and responses only | none: nobody waits for an answer (JRP-3) |
/// | anything else, or [`default`](Self::default) | the error without an `id`: never `null` (JRP-5) |
#[derive(Clone, Debug, Default)]
pub struct Recipient {
    kind: RecipientKind,
}

#[derive(Clone, Debug, Default)]
enum RecipientKind {
    #[default]
    Unknown,
    Nobody,
    Request(RequestId),
    Batch(Box<[Option<RequestId>]>),
}

impl From<&Message> for Recipient {
    fn from(message: &Message) -> Self {
        let kind = match message.peek() {
            Err(_) => RecipientKind::Unknown,
            Ok(peek) => match peek.single() {
                Some(envelope) => match (envelope.kind(), envelope.id()) {
                    (Kind::Notification | Kind::Response, _) => RecipientKind::Nobody,
                    (Kind::Request | Kind::Invalid, Some(id)) => RecipientKind::Request(id),
                    (Kind::Request | Kind::Invalid, None) => RecipientKind::Unknown,
                },
                None => batch(&peek),
            },
        };
        Self { kind }
    }
}

impl From<Option<&Message>> for Recipient {
    fn from(message: Option<&Message>) -> Self {
        message.map_or_else(Self::default, Self::from)
    }
}

fn batch(peek: &Peek<'_>) -> RecipientKind {
    if peek.envelopes().next().is_none() {
        return RecipientKind::Unknown;
    }
    let ids: Box<[_]> = peek
        .envelopes()
        .filter(|one| matches!(one.kind(), Kind::Request | Kind::Invalid))
        .map(|one| one.id())
        .collect();
    if ids.is_empty() {
        RecipientKind::Nobody
    } else {
        RecipientKind::Batch(ids)
    }
}

impl Recipient {
    fn answer(&self, error: &ErrorObject) -> Option<Bytes> {
        match &self.kind {
            RecipientKind::Unknown => Some(error.to_response(None)),
            RecipientKind::Nobody => None,
            RecipientKind::Request(id) => Some(error.to_response(Some(id))),
            RecipientKind::Batch(ids) => {
                let mut body = BytesMut::from("[");
                for (index, id) in ids.iter().enumerate() {
                    if index > 0 {
                        body.extend_from_slice(b",");
                    }
                    body.extend_from_slice(&error.to_response(id.as_ref()));
                }
                body.extend_from_slice(b"]");
                Some(body.freeze())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::{BodyExt, Empty};
    use tokio_test::{assert_ready, task::spawn};

    use super::*;
    use crate::jsonrpc::code;

    fn refuse(body: &'static str) -> (Response<ResponseBody<Empty<Bytes>>>, String) {
        let message = Message::new(Bytes::from_static(body.as_bytes()));
        let refusal = Refusal::new(
            StatusCode::BAD_GATEWAY,
            ErrorObject::new(code::BAD_GATEWAY, "down"),
        );
        let (parts, body) = refusal
            .into_response::<Empty<Bytes>>(&Recipient::from(&message))
            .into_parts();
        let size = body.size_hint().exact();
        let bytes = assert_ready!(spawn(body.collect()).poll())
            .expect("fixed bytes cannot fail")
            .to_bytes();
        assert_eq!(size, Some(bytes.len() as u64));
        let text = String::from_utf8(bytes.to_vec()).expect("JSON is UTF-8");
        (Response::from_parts(parts, ResponseBody::default()), text)
    }

    const ERROR: &str =
        r#""error":{"code":-31502,"message":"down","data":{"source":"shadowcat"}}}"#;

    #[test]
    fn request_gets_its_id_back_byte_for_byte() {
        for id in [
            "7",
            r#""7""#,
            "-0",
            "123456789012345678901234567890",
            r#""\u0061""#,
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#).leak();
            let (response, text) = refuse(body);
            assert_eq!(text, format!(r#"{{"jsonrpc":"2.0","id":{id},{ERROR}"#));
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
            let refused = response.extensions().get::<Refused>();
            assert_eq!(refused.map(Refused::code), Some(-31502));
        }
    }

    #[test]
    fn notifications_and_responses_get_a_status_only() {
        for body in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#,
        ] {
            let (response, text) = refuse(body);
            assert_eq!(text, "", "{body}");
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
            assert!(!response.headers().contains_key("content-type"));
        }
    }

    #[test]
    fn unreadable_body_gets_an_error_without_id_never_null() {
        for body in ["", "{", "[]", "{}", "42", r#"{"id":null,"method":"ping"}"#] {
            let (_, text) = refuse(body);
            assert_eq!(text, format!(r#"{{"jsonrpc":"2.0",{ERROR}"#), "{body}");
        }
    }

    #[test]
    fn batch_gets_an_error_for_each_request_in_it() {
        let (_, text) = refuse(
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"method":"notifications/x"},
               {"jsonrpc":"2.0","id":"b","method":"ping"},7]"#,
        );
        let open = r#"{"jsonrpc":"2.0","#;
        assert_eq!(
            text,
            format!(r#"[{open}"id":1,{ERROR},{open}"id":"b",{ERROR},{open}{ERROR}]"#)
        );
    }

    #[test]
    fn header_fields_go_along() {
        let refusal = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorObject::new(code::SERVICE_UNAVAILABLE, "later"),
        )
        .with_header(http::header::RETRY_AFTER, HeaderValue::from_static("3"));
        let response = refusal.into_response::<Empty<Bytes>>(&Recipient::default());
        assert_eq!(response.headers()["retry-after"], "3");
    }
}

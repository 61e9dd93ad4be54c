use http::{HeaderMap, header};

use crate::header::is_of_type;

/// Whether the body that comes with these is a stream of server-sent events (SWF-1).
#[cfg(any(
    feature = "auth",
    feature = "proxy",
    feature = "replay",
    feature = "session"
))]
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| is_of_type(kind.as_bytes(), b"text/event-stream"))
}

/// Whether whoever sends these takes such a stream for an answer, and says so: `*/*` says nothing.
#[cfg(any(feature = "rate-limit", feature = "replay"))]
pub(crate) fn accepts_event_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut kinds = accepted.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    kinds.any(|kind| is_of_type(kind, b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn swf_1_an_event_stream_is_known_by_its_media_type() {
        let of = |value: Option<&'static str>| {
            let value = value.map(|value| (header::CONTENT_TYPE, HeaderValue::from_static(value)));
            is_event_stream(&value.into_iter().collect())
        };
        for (value, expected) in [
            ("text/event-stream", true),
            (" Text/Event-Stream; charset=utf-8", true),
            ("text/event-stream ;x", true),
            ("text/event-streams", false),
            ("text/event-stream-v2", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(of(Some(value)), expected, "{value:?}");
        }
        assert!(!of(None));
    }

    #[cfg(any(feature = "rate-limit", feature = "replay"))]
    #[test]
    fn an_event_stream_is_accepted_by_name_in_any_of_several_fields() {
        let of = |values: &[&'static str]| {
            let values = values.iter().copied().map(HeaderValue::from_static);
            accepts_event_stream(&values.map(|value| (header::ACCEPT, value)).collect())
        };
        assert!(!of(&[]));
        assert!(!of(&["*/*, text/*"]));
        assert!(!of(&["application/json, text/event-streams"]));
        assert!(of(&["application/json,text/event-stream;q=0.5"]));
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.append(
            header::ACCEPT,
            HeaderValue::from_static("Text/Event-Stream"),
        );
        assert!(accepts_event_stream(&headers));
    }
}

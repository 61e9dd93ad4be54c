use http::{HeaderMap, header::CONTENT_TYPE};

use crate::header::is_of_type;

/// Whether the body that comes with these is a stream of server-sent events (SWF-1).
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| is_of_type(kind.as_bytes(), b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn swf_1_an_event_stream_is_known_by_its_media_type() {
        let of = |value: Option<&'static str>| {
            let value = value.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value)));
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
}

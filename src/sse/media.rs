use http::{HeaderMap, header::CONTENT_TYPE};

/// Whether a response says that it is a stream of server-sent events (SWF-1).
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    const ESSENCE: &[u8] = b"text/event-stream";
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    // Nearly all responses differ in their first bytes.
    let kind = kind.as_bytes().trim_ascii_start();
    let Some((essence, parameters)) = kind.split_at_checked(ESSENCE.len()) else {
        return false;
    };
    essence.eq_ignore_ascii_case(ESSENCE)
        && matches!(parameters.trim_ascii_start().first(), None | Some(b';'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn event_stream_is_known_by_its_media_type_swf_1() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event-stream ;x", true),
            (" text/event-stream", true),
            ("text/event-streams", false),
            ("application/json", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_event_stream(&headers), expected, "{value:?}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}

use http::{HeaderValue, Method, Request, header::CONTENT_TYPE};

use super::Message;
use crate::header::is_of_type;

/// Whether the body may be a message that nobody has read.
///
/// Not as strict as the layer that reads messages and refuses the rest: of several types a server may
/// take any for the one that counts.
pub(crate) fn is_unread<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST
        && request.extensions().get::<Message>().is_none()
        && request.headers().get_all(CONTENT_TYPE).iter().any(is_json)
}

fn is_json(value: &HeaderValue) -> bool {
    let mut kinds = value.as_bytes().split(|byte| *byte == b',');
    kinds.any(|kind| is_of_type(kind, b"application/json"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_post_of_json_is_unread_until_its_message_is_known() {
        let request = |method: Method, kinds: &[&'static str]| {
            let mut request = Request::new(());
            *request.method_mut() = method;
            for kind in kinds {
                let kind = HeaderValue::from_static(kind);
                request.headers_mut().append(CONTENT_TYPE, kind);
            }
            request
        };
        for (kinds, expected) in [
            (&["application/json"][..], true),
            (&["Application/JSON ; charset=utf-8"], true),
            (&["text/plain, application/json"], true),
            (&["text/plain", "application/json"], true),
            (&["application/jsonl"], false),
            (&["application/json-seq"], false),
            (&["text/plain; a=application/json"], false),
            (&[], false),
        ] {
            assert_eq!(
                is_unread(&request(Method::POST, kinds)),
                expected,
                "{kinds:?}"
            );
            assert!(!is_unread(&request(Method::PUT, kinds)), "{kinds:?}");
        }
        let mut read = request(Method::POST, &["application/json"]);
        read.extensions_mut().insert(Message::new(Bytes::new()));
        assert!(!is_unread(&read));
    }
}

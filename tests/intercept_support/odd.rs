//! Responses that nobody expects, and what a client has of them.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use shadowcat::intercept::{InterceptLayer, Interest, Links, Redact};
use tower::{Layer, ServiceExt, service_fn};

use super::{Chunks, Inner};

pub(crate) const SECRET: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"token":"s3cret"}}"#;

pub(crate) fn redact(interest: Interest) -> InterceptLayer<Redact> {
    let redact = Redact::new(interest).add_pointer("/result/token");
    InterceptLayer::new(redact.expect("a pointer"))
}

/// A response with these headers, in chunks of that length.
pub(crate) fn response(
    headers: &[(&'static str, &str)],
    body: &[u8],
    cut: usize,
) -> Response<Chunks> {
    let chunks = body.chunks(cut).map(Bytes::copy_from_slice);
    let mut response = Response::new(Chunks(chunks.collect()));
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("valid");
        response.headers_mut().append(*name, value);
    }
    response
}

/// What a client has of an answer, if it breaks off too.
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) is_whole: bool,
}

pub(crate) async fn through<L: Links>(
    layer: &InterceptLayer<L>,
    request: Inner,
    response: Response<Chunks>,
) -> Got {
    let response = Arc::new(Mutex::new(Some(response)));
    let inner = service_fn(move |request: Inner| {
        assert_eq!(request.headers()["accept-encoding"], "identity");
        let response = response.lock().expect("no panic").take();
        std::future::ready(Ok::<_, Infallible>(response.expect("asked once")))
    });
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let (parts, mut body) = response.into_parts();
    let (mut had, mut is_whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => had.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => is_whole = false,
        }
    }
    Got {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&had).into_owned(),
        is_whole,
    }
}

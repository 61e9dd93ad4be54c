use bytes::Bytes;
use http::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;

use super::{
    Links, ResponseBody,
    begin::Watch,
    inspect::{Framing, Inspector},
    values::Values,
};
use crate::{
    BoxError,
    header::is_of_type,
    jsonrpc::{ErrorObject, code},
    refusal::{Recipient, Refusal},
    sse::{Decoder, is_event_stream},
};

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
    let Some(watch) = watch.filter(|_| !response.body().is_end_stream()) else {
        return response.map(ResponseBody::passing);
    };
    let Watch {
        shared,
        exchange,
        wants,
    } = *watch;
    let max = shared.config.max_message_bytes;
    let headers = response.headers();
    let framing = if is_event_stream(headers) && response.status().is_success() {
        Framing::Events(Decoder::with_max_event_bytes(max))
    } else if is_json(headers) {
        Framing::Values(Values::new(max))
    } else {
        return response.map(ResponseBody::passing);
    };
    if !is_identity(headers) {
        shared.state.tally.unreadable.add();
        if !shared.config.refuses_unreadable {
            return response.map(ResponseBody::passing);
        }
        let error = ErrorObject::new(code::INTERNAL_ERROR, "the response cannot be inspected");
        return Refusal::new(StatusCode::BAD_GATEWAY, error)
            .into_bytes(&Recipient::from(exchange.body()))
            .map(ResponseBody::fixed);
    }
    let (mut parts, body) = response.into_parts();
    // It may change, and hyper tells how long a body is by itself.
    parts.headers.remove(CONTENT_LENGTH);
    let inspect = Box::pin(Inspector::new(shared, exchange, wants, framing));
    Response::from_parts(parts, ResponseBody::inspected(body, inspect))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| is_of_type(kind.as_bytes(), b"application/json"))
}

fn is_identity(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

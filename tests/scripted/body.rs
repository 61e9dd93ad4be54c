use std::{error::Error, pin::pin};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use shadowcat::proxy::{BodyError, BodyErrorKind};

/// What came out of a response body.
#[derive(Debug, PartialEq)]
pub(crate) struct Relayed {
    pub(crate) data: Bytes,
    pub(crate) end: End,
}

#[derive(Debug, PartialEq)]
pub(crate) enum End {
    Clean,
    Trailers(HeaderMap),
    Broken,
    Idle,
}

/// Reads `body` to its end, whatever that is.
pub(crate) async fn relayed<B>(body: B) -> Relayed
where
    B: Body<Data = Bytes, Error = BodyError>,
{
    let mut body = pin!(body);
    let mut data = Vec::new();
    let end = loop {
        match body.frame().await {
            None => break End::Clean,
            Some(Err(error)) => break broken(&error),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => break End::Trailers(frame.into_trailers().expect("trailers")),
            },
        }
    };
    assert!(body.frame().await.is_none(), "nothing follows the end");
    assert!(body.is_end_stream());
    Relayed {
        data: data.into(),
        end,
    }
}

fn broken(error: &BodyError) -> End {
    match error.kind() {
        BodyErrorKind::Broken => {
            assert!(error.source().is_some(), "the cause is kept");
            End::Broken
        }
        BodyErrorKind::Idle(_) => End::Idle,
        other => panic!("unexpected: {other:?}"),
    }
}

/// Reads `len` bytes of data, and no further.
pub(crate) async fn read_exactly<B>(body: &mut B, len: usize) -> Vec<u8>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let mut data = Vec::new();
    while data.len() < len {
        let frame = body.frame().await.expect("more data");
        data.extend_from_slice(frame.expect("no error").data_ref().expect("data"));
    }
    assert_eq!(data.len(), len);
    data
}
